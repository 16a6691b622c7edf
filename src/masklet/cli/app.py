"""The application, the options and errors that all commands share."""

from typing import Annotated, Any

import typer

from masklet.errors import InputError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Say what to look for, get a mask for every instance of it.",
)

# Newer versions of typer carry a copy of click, so the class is found by its name.
USAGE_ERROR: Any = next(each for each in typer.BadParameter.__mro__ if each.__name__ == "ClickException")

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Model = Annotated[str, typer.Option(help="Name or path of a model; see `masklet models`.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16, float16.")]


class Stopped(Exception):
    """The user stopped the run; the message says how far it got."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, 1 for a failure, 2 for wrong usage, 130 when stopped."""
    command = typer.main.get_command(app)
    try:
        status = command.main(arguments, prog_name="masklet", standalone_mode=False)
    except USAGE_ERROR as error:
        message = error.format_message()
        if error.__class__.__name__ == "NoArgsIsHelpError":  # the message is the help, which plain `masklet` prints
            typer.echo(message)
            return 2
        return complain(message, 2)
    except (KeyboardInterrupt, typer.Abort, Stopped) as error:
        return complain(str(error) or "stopped", 130)
    except (InputError, ImportError, MemoryError, RuntimeError) as error:
        return complain(_sentence(error))
    if status == 130:  # newer typer turns the interrupt into a status by itself
        return complain("stopped", 130)
    return status if isinstance(status, int) else 0


def _sentence(error: Exception) -> str:
    """The message for the user; other run-time errors are faults of masklet and are raised with their traceback."""
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "out of memory" in str(error)):
        return "out of memory: use a smaller image or model, or --device cpu"
    if isinstance(error, RuntimeError):
        raise error
    return str(error)


def complain(message: str, status: int = 1) -> int:
    """Prints one line on stderr and returns the exit status."""
    typer.echo(f"masklet: {' '.join(message.split())}", err=True)
    return status
