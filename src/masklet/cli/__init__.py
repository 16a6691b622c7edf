"""The command line: reads arguments, calls workflows, prints results, turns errors into one line.

torch takes a second to import, so it is imported by the commands that compute, after their arguments have been checked.
"""

from masklet.cli import (  # noqa: I001 - the order of the commands in the help
    demo,
    segment,
    ask,
    track,
    train,
    evaluation,
    engine,
    calibrate,
    models,
    convert_labels,
    mcp,
)
from masklet.cli.app import main

__all__ = [
    "ask",
    "calibrate",
    "convert_labels",
    "demo",
    "engine",
    "evaluation",
    "main",
    "mcp",
    "models",
    "segment",
    "track",
    "train",
]
