"""The application, what all commands share (options, examples, errors), and the log on stderr."""

import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand

from masklet import __version__
from masklet.errors import InputError

HELP_NAMES = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=HELP_NAMES,
    help="Say what to look for, get a mask for every instance of it.",
    epilog="Begin with: masklet demo",
)

# Newer versions of typer carry a copy of click, so the class is found by its name.
USAGE_ERROR: Any = next(each for each in typer.BadParameter.__mro__ if each.__name__ == "ClickException")
log = logging.getLogger("masklet")

OUTPUT, MODEL = "Output", "Model"
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.", rich_help_panel=OUTPUT)]
Model = Annotated[
    str, typer.Option(help="Name or path of a model; see `masklet models`.", metavar="NAME", rich_help_panel=MODEL)
]
WithVerifier = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A verifier judges what is found: project/verifier.npz of `masklet engine train-verifier`.",
        rich_help_panel=MODEL,
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.", metavar="NAME", rich_help_panel=MODEL)]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16, float16.", metavar="NAME", rich_help_panel=MODEL)]
_Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say more on stderr while it works.", rich_help_panel=OUTPUT)
]
_Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Say nothing on stderr but what is wrong.", rich_help_panel=OUTPUT)
]
Command = Callable[..., None]


class _Command(TyperCommand):
    """A command whose help names no types of Python's lists, which newer versions of typer write out."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for each in self.params:
            if each.nargs == -1:
                each.display_type_rich = lambda ctx: None  # type: ignore[attr-defined]  # noqa: ARG005 - so called by name


class Stopped(Exception):
    """The run ended early, by the user or by a limit (`main` lists statuses); the message says how far it got."""

    def __init__(self, message: str, status: int = 130) -> None:
        super().__init__(message)
        self.status = status


class WrongUsage(InputError):
    """The arguments make no sense, whatever the files hold: exit status 2."""


@contextmanager
def usage() -> Iterator[None]:
    """Within it, what cannot be used is a matter of the arguments."""
    try:
        yield
    except InputError as error:
        raise WrongUsage(str(error)) from error


def command(name: str, *examples: str, of: typer.Typer = app) -> Callable[[Command], Command]:
    """Registers a command with examples in its help, and with `--verbose` and `--quiet`."""

    def register(function: Command) -> Command:
        @wraps(function)
        def run(*arguments: Any, verbose: bool = False, quiet: bool = False, **options: Any) -> None:
            start_log(verbose=verbose, quiet=quiet)
            function(*arguments, **options)

        added = {"verbose": _Verbose, "quiet": _Quiet}
        run.__annotations__ = {**get_type_hints(function, include_extras=True), **added}
        signature = inspect.signature(function)
        extra = [
            inspect.Parameter(each, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=added[each])
            for each in added
        ]
        run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *extra])  # type: ignore[attr-defined]
        of.command(name, cls=_Command, context_settings=HELP_NAMES, epilog=_epilog(examples))(run)
        return function

    return register


def _epilog(examples: tuple[str, ...]) -> str:
    return "\n\n".join(["Examples:", *(f"masklet {each}" for each in examples)])


def _print_version(wanted: bool) -> bool:  # noqa: FBT001 - typer hands it in by place
    if wanted:
        typer.echo(f"masklet {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and stop.")
    ] = False,
) -> None:
    """Say what to look for, get a mask for every instance of it."""


class _Stderr(logging.Handler):
    """Lines on stderr, whatever that is when they are written."""

    def emit(self, record: logging.LogRecord) -> None:
        typer.echo(f"masklet: {' '.join(record.getMessage().split())}", err=True)


def start_log(*, verbose: bool, quiet: bool) -> None:
    """Shows the log "masklet" on stderr: what goes on, or less, or more."""
    log.handlers = [_Stderr()]
    log.propagate = False
    log.setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns its exit status.

    0, 1 for a failure, 2 for wrong usage, 3 when a budget is used up, 4 when too much of the input could not be worked
    on for it to make sense to go on, 130 when stopped.
    """
    entry = typer.main.get_command(app)
    try:
        status = entry.main(arguments, prog_name="masklet", standalone_mode=False)
    except USAGE_ERROR as error:
        message = error.format_message()
        if error.__class__.__name__ == "NoArgsIsHelpError":  # the message is the help, which plain `masklet` prints
            typer.echo(message)
            return 2
        return complain(message, 2)
    except (KeyboardInterrupt, typer.Abort, Stopped) as error:
        return complain(str(error) or "stopped", error.status if isinstance(error, Stopped) else 130)
    except (InputError, ImportError, MemoryError, RuntimeError) as error:
        return complain(_sentence(error), 2 if isinstance(error, WrongUsage) else 1)
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
