"""`masklet engine`: the commands of the data engine."""

from masklet.cli.engine import run, clips, review, curate, gold, improve, lineage, snapshots  # noqa: I001 - the order of the commands in the help

__all__ = ["clips", "curate", "gold", "improve", "lineage", "review", "run", "snapshots"]
