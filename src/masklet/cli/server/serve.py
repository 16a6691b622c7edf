"""`masklet serve`."""

from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.app import Device, Dtype, Json, Model, command
from masklet.workflows.model_choice import ModelChoice

FOLDER = Path.home() / ".cache" / "masklet" / "serve"


@command(
    "serve",
    "serve",
    "serve --project project",
    "serve --host 0.0.0.0 --tokens people.json",
    "serve --private-host localhost --label coin",
)
def serve(  # noqa: PLR0913 - one argument for each option
    *,
    model: Model = "tiny",
    device: Device = "auto",
    dtype: Dtype = "auto",
    project: Annotated[Path | None, typer.Option(metavar="FOLDER", help="A data-engine project to review.")] = None,
    host: Annotated[str, typer.Option(help="Where to listen; others than this machine need a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8765,
    folder: Annotated[Path, typer.Option(metavar="FOLDER", help="Where sessions are kept.")] = FOLDER,
    tokens: Annotated[
        Path | None, typer.Option(metavar="FILE", help="People by token, as JSON; see docs/serve.md.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="A host that images may be fetched from.")
    ] = None,
    private_host: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="The same, with a private address.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="PHRASE", help="A phrase that CVAT's detector offers; repeatable.")
    ] = None,
    log: Annotated[bool, typer.Option("--log", help="Write a line of JSON a request.")] = False,
    json: Json = False,
) -> None:
    """Serve a page for photos, videos and reviews, and the protocols of labelling tools."""
    from masklet.serve.launch import read_people, run_server, to_line
    from masklet.serve.settings import ServeSettings

    settings = ServeSettings(
        folder=folder,
        model=ModelChoice(name=model, device=device, dtype=dtype),
        project=project,
        host=host,
        port=port,
        people={} if tokens is None else read_people(tokens),
        hosts=tuple([*(allow_host or []), *(private_host or [])]),
        private_hosts=tuple(private_host or []),
        labels=tuple(label or []),
    )
    run_server(settings, lambda address: typer.echo(to_line(address) if json else f"open {address}"), log=log)
