"""`masklet eval agent`."""

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.app import Device, Dtype, Json, Model, WrongUsage, command
from masklet.cli.ask import CallMode, EffortLevel, Llm, PlannerUrl, Remote, planner_of
from masklet.cli.display import Display
from masklet.cli.evaluation.evaluate import eval_app
from masklet.workflows.model_choice import ModelChoice

BENCHMARKS = ("reasonseg", "refcoco", "grefcoco", "omnilabel", "own")  # readers are not loaded for help


@command(
    "agent",
    "eval agent own --out own",
    "eval agent reasonseg --gt val --images val --planner http://127.0.0.1:8080/v1",
    of=eval_app,
)
def agent(  # noqa: PLR0913 - one argument for each option
    *,
    benchmark: Annotated[str, typer.Argument(help=f"One of {', '.join(BENCHMARKS)}.", show_default=False)],
    gt: Annotated[
        Path | None, typer.Option(help="A folder of ReasonSeg, refs(...).p beside instances.json, or a file.")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="The folder of the images.")] = None,
    split: Annotated[str, typer.Option(help="Split of a file of references.")] = "val",
    planner: PlannerUrl = "rules",
    llm: Llm = "default",
    mode: CallMode = "two-call",
    effort: EffortLevel = "normal",
    allow_remote: Remote = False,
    model: Model = "tiny",
    device: Device = "auto",
    dtype: Dtype = "auto",
    out: Annotated[Path, typer.Option(help="Where answers and figures go; a second run goes on.")] = Path("out"),
    json: Json = False,
) -> None:
    """Score the agent on sentences about images: regions, exact sets or boxes, refusals, and what they cost.

    `own` needs no files: our 300 sentences with negations, orders and counts are written into the folder of the run.
    """
    from masklet.workflows.evaluation.agent import AgentEvalJob, evaluate_agent
    from masklet.workflows.evaluation.own_set import write_own_set

    if benchmark == "own" and gt is None:
        gt = write_own_set(out / "set")
        images = gt.parent
    if gt is None or images is None:
        raise WrongUsage("give the labels with --gt and the folder of the images with --images")
    job = AgentEvalJob(
        benchmark=benchmark,
        labels=gt,
        images=images,
        out=out,
        split=split,
        model=ModelChoice(name=model, device=device, dtype=dtype),
        planner=planner_of(planner or "rules", llm, mode, effort, allow_remote=allow_remote),
    )
    with Display(json=json) as display:
        figures = evaluate_agent(job, display)
    if json:
        typer.echo(json_module.dumps(figures))
        return
    typer.echo("\n".join(f"{name:20} {value:.3f}" for name, value in figures.items()))
