"""How the parameters are called elsewhere: one table per foreign format, from which both directions are derived."""

from masklet.checkpoints.names.entries import Entry, Layout, State, names_of
from masklet.checkpoints.names.official import official
from masklet.checkpoints.names.transformers import transformers

__all__ = ["Entry", "Layout", "State", "names_of", "official", "transformers"]
