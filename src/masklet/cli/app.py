"""What every command shares: the application, its common options, the progress bar, one line for an error."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from masklet.errors import InputError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Say what to look for, get a mask for every instance of it.",
)

USAGE_ERROR: Any = typer.BadParameter.__mro__[2]  # click's ClickException, of which typer may carry a copy

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Model = Annotated[str, typer.Option(help="Name or path of a model; see `masklet models`.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16, float16.")]


class Stopped(Exception):
    """The user stopped the run, of which this says how far it came."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, 1 for a failure, 2 for wrong usage, 130 when stopped."""
    command = typer.main.get_command(app)
    try:
        status = command.main(arguments, prog_name="masklet", standalone_mode=False)
    except USAGE_ERROR as error:
        if error.__class__.__name__ == "NoArgsIsHelpError":  # its message is the help, as plain `masklet` should print
            typer.echo(error.format_message())
            return 2
        return complain(error.format_message(), 2)
    except (KeyboardInterrupt, typer.Abort, Stopped) as error:
        return complain(str(error) or "stopped", 130)
    except (InputError, ImportError, MemoryError, RuntimeError) as error:
        return complain(_sentence(error))
    if status == 130:  # newer typer turns the interrupt into a status by itself
        return complain("stopped", 130)
    return status if isinstance(status, int) else 0


def _sentence(error: Exception) -> str:
    """What to tell a user; an error that is ours to mend is raised again, with its traceback."""
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "out of memory" in str(error)):
        return "out of memory: use a smaller image or model, or --device cpu"
    if isinstance(error, RuntimeError):
        raise error
    return str(error)


def complain(message: str, status: int = 1) -> int:
    """One line on stderr; gives the exit status back."""
    typer.echo(f"masklet: {' '.join(message.split())}", err=True)
    return status


@contextmanager
def progress_bar(total: int | None, name: str) -> Iterator[Any]:
    """A bar on a terminal, for more than one image or frame; what it gives is called once for each."""
    if (total is not None and total < 2) or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0:.1f} {name}/s")

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), Speed(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=sys.stdout.isatty()) as progress:
        task = progress.add_task(name, total=total)
        yield lambda: progress.advance(task)
