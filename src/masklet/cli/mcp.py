"""`masklet mcp`."""

import os
import secrets
from pathlib import Path
from typing import Annotated

import typer

from masklet import __version__
from masklet.cli.app import Device, Dtype, Model, WrongUsage, command
from masklet.workflows.model_choice import ModelChoice

TOKEN_VARIABLE = "MASKLET_MCP_TOKEN"


@command("mcp", "mcp --folder photos", "mcp --http --port 8766 --folder photos")
def mcp(
    *,
    folder: Annotated[
        Path | None, typer.Option(help="Images and videos that clients may open by name.", show_default=False)
    ] = None,
    project: Annotated[
        Path | None,
        typer.Option(help="A data-engine project whose open questions may be answered.", show_default=False),
    ] = None,
    reviewer: Annotated[str, typer.Option(help="Under whose name verdicts are entered; needed with --project.")] = "",
    http: Annotated[
        bool, typer.Option("--http", help="Speak HTTP on this machine instead of standard streams.")
    ] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of --http.")] = 8766,
    model: Model = "tiny",
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Offer masklet's tools to a language model by the Model Context Protocol.

    Clients get handles of images, never paths. With --http a bearer token is needed: MASKLET_MCP_TOKEN, or the one that
    is printed.
    """
    if folder is not None and not folder.is_dir():
        raise WrongUsage(f"{folder} is no folder")
    if project is not None and not reviewer.strip():
        raise WrongUsage("--project needs --reviewer: the name under which verdicts are entered")
    try:
        from masklet.mcp.server import http_app, make_server, run_stdio
    except ImportError as error:
        raise ImportError("masklet mcp needs the extra mcp: pip install 'masklet[mcp]'") from error
    from masklet.mcp.reviewing import ReviewQueues
    from masklet.mcp.toolbox import Toolbox

    reviews = None if project is None else ReviewQueues(folder=project, reviewer=reviewer)
    choice = ModelChoice(name=model, device=device, dtype=dtype)
    server = make_server(Toolbox(model=choice.load(), folder=folder, reviews=reviews), __version__)
    if not http:
        run_stdio(server)
        return
    import uvicorn

    token = os.environ.get(TOKEN_VARIABLE) or secrets.token_urlsafe(24)
    if TOKEN_VARIABLE not in os.environ:
        typer.echo(f"token: {token}", err=True)
    typer.echo(f"http://127.0.0.1:{port}/mcp", err=True)
    uvicorn.run(http_app(server, token), host="127.0.0.1", port=port, log_level="warning")  # type: ignore[arg-type]
