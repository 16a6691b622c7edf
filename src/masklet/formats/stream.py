"""JSON documents of any size, read item by item, and joined by a key without holding them.

Annotation files list images first and labels long after, and predictions come in any order. `Buckets` puts the items of
all files that share a key into the same small file, so that each bucket can be scored alone: memory is that of one
bucket, and buckets are the unit of work for several processes.
"""

import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TextIO

from masklet.errors import InputError

CHUNK_CHARACTERS = 2**20
LARGEST_ITEM = 2**28  # characters; no record of any known format comes near

_AFTER_A_VALUE = frozenset(",]}: \t\r\n")
_BLANKS = re.compile(r"[ \t\r\n]*")


def iterate_items(path: Path) -> Iterator[tuple[str, Any, str]]:
    """Section, value and text of every item in the arrays of a document; a bare array is the section "".

    Values of the document that are no arrays come as one item under their name. The text has no line breaks.

    Raises: InputError naming the file and where in it the document stops being JSON.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from _Reader(path, file).items()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not a text file in UTF-8") from error


class _Reader:
    """A window of text that moves through the file; positions in messages are characters from its start."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self.path, self.file = path, file
        self.text, self.at, self.passed = "", 0, 0
        self.decode = json.JSONDecoder().raw_decode

    def items(self) -> Iterator[tuple[str, Any, str]]:
        opening = self._next()
        if opening == "[":
            yield from self._array("")
        elif opening == "{":
            yield from self._object()
        else:
            self._fail("a list or an object is expected here")
        if self._next(may_end=True):
            self._fail("there is more behind the end of the document")

    def _object(self) -> Iterator[tuple[str, Any, str]]:
        self._take("{")
        if self._next() == "}":
            self.at += 1
            return
        while True:
            name, _ = self._value()
            self._take(":")
            if self._next() == "[":
                yield from self._array(str(name))
            else:
                yield str(name), *self._value()
            if self._take(",}") == "}":
                return

    def _array(self, section: str) -> Iterator[tuple[str, Any, str]]:
        self._take("[")
        if self._next() == "]":
            self.at += 1
            return
        while True:
            yield section, *self._value()
            if self._take(",]") == "]":
                return

    def _value(self) -> tuple[Any, str]:
        """The next value and its text. What touches the end of the window may go on behind it, as numbers do."""
        self._next()
        while True:
            try:
                value, end = self.decode(self.text, self.at)
            except ValueError as error:
                offset = getattr(error, "pos", self.at) - self.at
                if not self._more():
                    self._fail(getattr(error, "msg", str(error)), offset)
                continue
            except RecursionError:
                self._fail("a value is nested too deeply")
            length = end - self.at  # what comes in moves the window
            if self.text[end : end + 1] in _AFTER_A_VALUE or not self._more():
                text = self.text[self.at : self.at + length]
                self.at += length
                return value, text.replace("\n", " ").replace("\r", " ")

    def _next(self, *, may_end: bool = False) -> str:
        """The next character that is not blank, without taking it."""
        while True:
            self.at = _BLANKS.match(self.text, self.at).end()  # type: ignore[union-attr] - it matches nothing at least
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._more():
                if may_end:
                    return ""
                self._fail("the document ends early")

    def _take(self, expected: str) -> str:
        found = self._next()
        if found not in expected:
            self._fail(f"{' or '.join(map(repr, expected))} is expected here, not {found!r}")
        self.at += 1
        return found

    def _more(self) -> bool:
        """Reads on; the further an item reaches, the more at once, so that no text is scanned many times."""
        self.text, self.passed, self.at = self.text[self.at :], self.passed + self.at, 0
        if len(self.text) > LARGEST_ITEM:
            self._fail("an item is larger than any record can be")
        piece = self.file.read(max(CHUNK_CHARACTERS, len(self.text)))
        self.text += piece
        return bool(piece)

    def _fail(self, what: str, offset: int = 0) -> NoReturn:
        position = self.passed + self.at + offset
        raise InputError(f"{self.path}: not readable as JSON at character {position}: {what}")


class ListWriter:
    """Writes a JSON list into an open file, a record at a time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._separator = file, b"["

    def add(self, record: dict[str, Any]) -> None:
        """Writes one record."""
        self._file.write(self._separator + json.dumps(record, separators=(",", ":")).encode())
        self._separator = b",\n"

    def end(self) -> None:
        """Closes the list; the file stays open."""
        self._file.write(b"[]\n" if self._separator == b"[" else b"]\n")


class Buckets:
    """Lines of text in `count` files of a folder, a line going to the file that its key falls to."""

    def __init__(self, folder: Path, count: int) -> None:
        self.paths = [folder / f"bucket-{index:04d}.txt" for index in range(count)]
        self._files: list[TextIO] = []

    def __enter__(self) -> "Buckets":
        self._files = [path.open("w", encoding="utf-8", newline="\n") for path in self.paths]
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()

    def add(self, key: int | str, tag: str, text: str) -> None:
        """Writes one line, which `read_bucket` gives back as `(tag, text)`."""
        number = key if isinstance(key, int) else zlib.crc32(key.encode(errors="surrogatepass"))
        self._files[number % len(self._files)].write(f"{tag}\t{text}\n")


def read_bucket(path: Path) -> Iterator[tuple[str, str]]:
    """Tag and text of each line, in the order in which they were added."""
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            tag, _, text = line.rstrip("\n").partition("\t")
            yield tag, text
