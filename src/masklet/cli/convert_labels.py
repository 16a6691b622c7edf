"""`masklet convert-labels`."""

import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.app import Json, command
from masklet.workflows.convert_labels import LABEL_FORMATS, ConvertLabelsJob
from masklet.workflows.convert_labels import convert_labels as run


@command("convert-labels", "convert-labels labelme/ coco/ --to coco")
def convert_labels(
    *,
    path_in: Annotated[Path, typer.Argument(metavar="IN", show_default=False, help="Labels: a file or a folder.")],
    path_out: Annotated[Path, typer.Argument(metavar="OUT", show_default=False, help="A folder.")],
    to: Annotated[str, typer.Option(help=f"Any of {', '.join(LABEL_FORMATS)}.", show_default=False)],
    images: Annotated[Path | None, typer.Option(help="Folder of the images; looked for beside the labels.")] = None,
    json: Json = False,
) -> None:
    """Rewrite labels of any known layout in another, such as LabelMe's files as COCO's."""
    done = run(ConvertLabelsJob(labels=path_in, folder=path_out, to=to, images=images))
    typer.echo(jsonlib.dumps(done.to_json()) if json else str(done))
