"""Weights rewritten in another format."""

from pathlib import Path

from masklet.checkpoints.adapters import read
from masklet.checkpoints.foreign import write_foreign
from masklet.checkpoints.hub import find
from masklet.checkpoints.names import FORMATS
from masklet.checkpoints.weights import OWN_FORMAT, write
from masklet.errors import InputError


def convert(path_in: Path | str, path_out: Path | str, to: str = OWN_FORMAT) -> None:
    """Rewrites weights in another format. Nothing is written when the input is not whole.

    Raises: InputError when the input does not fit or `to` is unknown.
    """
    if to not in (OWN_FORMAT, *FORMATS):
        raise InputError(f"unknown format {to!r}: give {', '.join((OWN_FORMAT, *FORMATS))}")
    weights = read(find(path_in))
    if to == OWN_FORMAT:
        write(weights, Path(path_out))
    else:
        write_foreign(weights, Path(path_out), to)
