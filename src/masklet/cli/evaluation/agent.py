"""`masklet eval agent`."""

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.app import Device, Dtype, Json, Model, command
from masklet.cli.ask import CallMode, Llm, PlannerUrl, Remote, planner_of
from masklet.cli.display import Display
from masklet.cli.evaluation.evaluate import eval_app
from masklet.workflows.model_choice import ModelChoice


@command("agent", "eval agent reasonseg --gt val --images val --planner http://127.0.0.1:8080/v1", of=eval_app)
def agent(  # noqa: PLR0913 - one argument for each option
    *,
    benchmark: Annotated[str, typer.Argument(help="reasonseg, refcoco or grefcoco.", show_default=False)],
    gt: Annotated[Path, typer.Option(help="A folder of ReasonSeg, or refs(...).p beside instances.json.")],
    images: Annotated[Path, typer.Option(help="The folder of the images.")],
    split: Annotated[str, typer.Option(help="Split of a file of references.")] = "val",
    planner: PlannerUrl = "rules",
    llm: Llm = "default",
    mode: CallMode = "two-call",
    allow_remote: Remote = False,
    model: Model = "tiny",
    device: Device = "auto",
    dtype: Dtype = "auto",
    out: Annotated[Path, typer.Option(help="Where answers and figures go; a second run goes on.")] = Path("out"),
    json: Json = False,
) -> None:
    """Score the agent on sentences that mean regions: gIoU, cIoU, refusals, and what they cost."""
    from masklet.workflows.evaluation.agent import AgentEvalJob, evaluate_agent

    job = AgentEvalJob(
        benchmark=benchmark,
        labels=gt,
        images=images,
        out=out,
        split=split,
        model=ModelChoice(name=model, device=device, dtype=dtype),
        planner=planner_of(planner or "rules", llm, mode, allow_remote=allow_remote),
    )
    with Display(json=json) as display:
        figures = evaluate_agent(job, display)
    if json:
        typer.echo(json_module.dumps(figures))
        return
    typer.echo("\n".join(f"{name:20} {value:.3f}" for name, value in figures.items()))
