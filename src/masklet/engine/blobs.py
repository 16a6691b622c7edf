"""Bytes by digest: masks, renders and replies, each written once and never changed."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from masklet.engine.digests import digest_of_bytes
from masklet.errors import InputError
from masklet.files import write_atomically


class Blobs:
    """A folder of blobs, `ab/cdef...` each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, content: bytes) -> str:
        """The digest of the content, which is kept. Raises: InputError when the folder cannot be written."""
        digest = digest_of_bytes(content)
        path = self.path(digest)
        if not path.is_file():
            write_atomically(path, content)
        return digest

    def get(self, digest: str) -> bytes:
        """The content. Raises: InputError when it is missing or is not what its name says."""
        try:
            content = self.path(digest).read_bytes()
        except OSError as error:
            raise InputError(f"{self.folder}: blob {digest} is missing; restore the folder from a copy") from error
        if digest_of_bytes(content) != digest:
            raise InputError(f"{self.path(digest)} is damaged: its content does not have the digest of its name")
        return content

    def path(self, digest: str) -> Path:
        """Where a blob lies. Raises: InputError when the text is no digest."""
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise InputError(f"{digest!r} is no digest: got {len(digest)} characters, expected 64 of 0-9 and a-f")
        return self.folder / digest[:2] / digest[2:]

    def __iter__(self) -> Iterator[str]:
        """All digests, in order."""
        for path in sorted(self.folder.glob("??/*")):
            if not path.name.startswith("."):
                yield path.parent.name + path.name

    def damaged(self) -> list[str]:
        """Digests whose content is not what their name says."""
        return [digest for digest in self if digest_of_bytes(self.path(digest).read_bytes()) != digest]

    def sweep(self, reachable: Iterable[str], *, dry_run: bool) -> list[str]:
        """Removes what is not reachable; the digests that were, or would be, removed."""
        lost = sorted(set(self) - set(reachable))
        for digest in () if dry_run else lost:
            self.path(digest).unlink(missing_ok=True)
        return lost
