"""Writing results so that a file is either whole or absent, beside its place first; and the order of names."""

import errno
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from masklet.errors import InputError

REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "no permission to write there",
    errno.EPERM: "no permission to write there",
    errno.EROFS: "the file system is read-only",
    errno.EISDIR: "it is a folder",
    errno.ENOTDIR: "part of the path is a file, not a folder",
    errno.EEXIST: "part of the path is a file, not a folder",
    errno.ENAMETOOLONG: "the name is too long",
}


def cannot_write(path: Path, error: Exception) -> InputError:
    """The error to raise for a file that an operating system or a codec did not let be written."""
    reason = REASONS.get(getattr(error, "errno", None) or 0, getattr(error, "strerror", None) or str(error))
    return InputError(f"cannot write {path}: {reason}")


def write_atomically(path: str | os.PathLike[str], content: bytes | str | Callable[[BinaryIO], object]) -> Path:
    """Writes bytes, text as UTF-8, or whatever `content` writes into the open file it is given; makes missing folders.

    Raises: InputError when the place cannot be written; nothing is left behind and an older file stays as it was.
    """
    with replacing(path) as beside, beside.open("xb") as file:
        if callable(content):
            content(file)
        else:
            file.write(content.encode() if isinstance(content, str) else content)
    return Path(path)


def link_or_copy(source: Path, target: Path) -> Path:
    """A further name of a file where the disk allows it, else a copy; what has the name already is left.

    Raises: InputError when the file cannot be read or the place not be written.
    """
    if target.exists():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)
    except OSError:
        try:
            content = source.read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {source}: {error.strerror or error}") from error
        write_atomically(target, content)
    return target


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """The path of a file to write instead of `path`, in the same folder, which takes its place when all went well.

    Raises: InputError when the place cannot be written; nothing is left behind and an older file stays as it was.
    """
    path = Path(path)
    check_name(path)
    beside = path.with_name(f".{secrets.token_hex(6)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        beside.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        _remove(beside)


def check_name(path: Path) -> None:
    """Raises: InputError for a path that no file can have: with a zero byte, or with half a character."""
    try:
        has_zero = b"\0" in os.fsencode(path)
    except UnicodeEncodeError:
        has_zero = True
    if has_zero:
        raise InputError(f"not a file name: {str(path)!r}")


@contextmanager
def whole_or_none() -> Iterator[list[Path]]:
    """A list for paths of files that belong together; on an error those in it are removed."""
    paths: list[Path] = []
    try:
        yield paths
    except BaseException:
        for path in paths:
            _remove(path)
        raise


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # the folder itself is out of reach, so nothing was written in it
        return


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """What names are sorted by, so that frame2 comes before frame10."""
    parts = re.split(r"(\d+)", path.name)
    return [(1, int(part), part) if part.isdecimal() else (0, 0, part.lower()) for part in parts]
