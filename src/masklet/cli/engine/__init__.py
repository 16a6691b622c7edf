"""`masklet engine`: the commands of the data engine."""

from masklet.cli.engine import run, review, lineage, snapshots  # noqa: I001 - the order of the commands in the help

__all__ = ["lineage", "review", "run", "snapshots"]
