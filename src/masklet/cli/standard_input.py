"""`-` as an argument: what comes on standard input, as a file."""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from masklet.cli.app import WrongUsage
from masklet.errors import InputError

MAX_BYTES = 2_000_000_000
_CHUNK = 1 << 20


@contextmanager
def with_standard_input(arguments: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The arguments, with the path of a file that is gone afterwards in place of "-".

    Raises: WrongUsage when nothing is piped in. InputError when it is empty or more than 2 GB.
    """
    if "-" not in arguments:
        yield tuple(arguments)
        return
    if sys.stdin.isatty():
        raise WrongUsage("- reads standard input, and nothing is piped into it")
    with tempfile.TemporaryDirectory(prefix="masklet-") as folder:
        path = Path(folder) / "stdin"
        with path.open("wb") as file:
            while chunk := sys.stdin.buffer.read(_CHUNK):
                if file.tell() + len(chunk) > MAX_BYTES:
                    raise InputError(f"standard input holds more than {MAX_BYTES} bytes")
                file.write(chunk)
        if not path.stat().st_size:
            raise InputError("standard input is empty")
        yield tuple(str(path) if each == "-" else each for each in arguments)
