"""`masklet eval clicks`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masklet.cli.app import Device, Dtype, Json, Model, progress_bar
from masklet.cli.evaluate import eval_app, finish, load, table_lines
from masklet.errors import InputError
from masklet.files import write_atomically

if TYPE_CHECKING:
    from masklet.eval.reports.click_report import Plot
    from masklet.eval.reports.page import Report

ROUNDS = {"images": 10, "videos": 8, "exemplars": 5}  # clicks, frames clicked on, examples
HELP_GT = "Labels in COCO or SA-Co JSON; for videos the folder of DAVIS annotations, one folder in it for each."


@eval_app.command("clicks")
def clicks(  # noqa: PLR0913 - one argument for each option
    *,
    gt: Annotated[Path, typer.Option(help=HELP_GT, show_default=False)],
    images: Annotated[Path, typer.Option(help="Folder of the images, or of a folder of frames for each video.")],
    mode: Annotated[str, typer.Option(help="What the user does: images, videos or exemplars.")] = "images",
    rounds: Annotated[int | None, typer.Option(help="Clicks, frames clicked on, or examples.", min=1)] = None,
    limit: Annotated[int | None, typer.Option(help="This many images or objects, drawn by chance.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn by chance.", min=0)] = 0,
    model: Model = "tiny",
    device: Device = "auto",
    dtype: Dtype = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder for scores.json, report.html and curve.svg.")] = None,
    json: Json = False,
) -> None:
    """Score a model in the hands of simulated users: clicks on objects of images or videos, examples of concepts."""
    if mode not in ROUNDS:
        raise InputError(f"unknown mode {mode!r}: choose from {', '.join(ROUNDS)}")
    for path in (gt, images):
        if not path.exists():
            raise InputError(f"no such file or folder: {path}")
    steps = rounds or ROUNDS[mode]
    measure = {"images": _click_images, "videos": _click_videos, "exemplars": _give_examples}[mode]
    figures = measure(gt, images, lambda: load(model, device, dtype), steps, limit, seed)
    from masklet.eval.reports.click_report import PLOTS

    plots = PLOTS[mode](figures)
    settings = {"gt": str(gt), "images": str(images), "mode": mode, "rounds": steps, "limit": limit, "seed": seed}
    scores = {"settings": settings | {"model": model}, "figures": figures}
    subtitle = f"{model} on {gt.name}: {_describe(figures)}"
    finish(out, scores, [subtitle, *_lines(plots)], lambda: _page(mode, subtitle, figures, plots, out), json=json)


def _click_images(gt: Path, images: Path, load: Any, rounds: int, limit: int | None, seed: int) -> dict[str, Any]:
    from masklet.eval.predict.labelled import LabelledImages
    from masklet.eval.users.interactive import click_images, image_figures

    labelled = LabelledImages(gt, images, seed=seed, limit=limit)
    with progress_bar(len(labelled), "images") as advance:
        objects = list(click_images(labelled, load(), num_clicks=rounds, seed=seed, advance=advance))
    if not objects:
        raise InputError(f"{gt} has no object with a mask to click on")
    return image_figures(objects, rounds)


def _click_videos(gt: Path, images: Path, load: Any, rounds: int, limit: int | None, seed: int) -> dict[str, Any]:
    import numpy as np

    from masklet.eval.users.interactive_video import find_objects, follow_objects, video_figures

    if not gt.is_dir():
        raise InputError(f"{gt} is not a folder: videos need a folder of annotations for each")
    every = find_objects(gt, images)
    drawn = np.random.default_rng(seed).permutation(len(every))[:limit]
    chosen = [every[place] for place in sorted(drawn.tolist())]
    with progress_bar(len(chosen), "objects") as advance:
        objects = list(follow_objects(chosen, load(), num_frames=rounds, advance=advance))
    return video_figures(objects)


def _give_examples(gt: Path, images: Path, load: Any, rounds: int, limit: int | None, seed: int) -> dict[str, Any]:
    from masklet.eval.predict.labelled import LabelledImages
    from masklet.eval.users.exemplars import correct_concepts

    labelled = LabelledImages(gt, images, seed=seed, limit=limit)
    with progress_bar(len(labelled), "images") as advance:
        curves = correct_concepts(labelled, load(), rounds=rounds, seed=seed, advance=advance)
    if not curves.words.scores[0]:
        raise InputError(f"{gt} has no phrase whose instances are all labelled")
    return curves.figures()


def _describe(figures: dict[str, Any]) -> str:
    """How much was measured: "38 objects"."""
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in figures.items() if isinstance(count, int))


def _lines(plots: "list[Plot]") -> list[str]:
    lines = []
    for plot in plots:
        table = plot.table()
        rows = [["" if cell is None else f"{cell:.1f}" for cell in row] for row in table.rows]
        rows = [[str(row[0]), *cells[1:]] for row, cells in zip(table.rows, rows, strict=True)]
        lines += ["", plot.title, *table_lines(list(table.columns), rows)]
    return lines


def _page(mode: str, subtitle: str, figures: dict[str, Any], plots: "list[Plot]", out: Path | None) -> "Report":
    """The page; its first drawing also becomes a file of its own."""
    from masklet.eval.reports.click_report import make_page

    page = make_page(mode, subtitle, figures, plots)
    if out is not None:
        write_atomically(out / "curve.svg", plots[0].draw().svg)
    return page
