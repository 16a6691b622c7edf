"""`masklet eval`: the family of commands that score; each file `eval_*.py` adds its own."""

import typer

from masklet.cli.app import app

eval_app = typer.Typer(no_args_is_help=True, help="Score predictions, and see where they fail.")
app.add_typer(eval_app, name="eval")
