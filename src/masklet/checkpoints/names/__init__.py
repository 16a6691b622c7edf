"""How the parameters are called elsewhere: one table for all foreign formats, from which both directions are derived.

A new weight format is a column of `table.txt` and a line in `FORMATS`; the first format that recognises a file is used.
"""

from masklet.checkpoints.names.entries import Entry, ForeignFormat, Layout, State, names_of
from masklet.checkpoints.names.layouts import FORMATS, official, transformers

__all__ = ["FORMATS", "Entry", "ForeignFormat", "Layout", "State", "names_of", "official", "transformers"]
