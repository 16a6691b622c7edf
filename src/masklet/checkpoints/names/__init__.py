"""How the parameters are called elsewhere: one table per foreign format, from which both directions are derived.

A new weight format is a file here and a line in `FORMATS`; the first format that recognises a file reads it.
"""

from masklet.checkpoints.names.entries import Entry, ForeignFormat, Layout, State, names_of
from masklet.checkpoints.names.official import OFFICIAL, official
from masklet.checkpoints.names.transformers import TRANSFORMERS, transformers

FORMATS: dict[str, ForeignFormat] = {"official": OFFICIAL, "transformers": TRANSFORMERS}

__all__ = ["FORMATS", "Entry", "ForeignFormat", "Layout", "State", "names_of", "official", "transformers"]
