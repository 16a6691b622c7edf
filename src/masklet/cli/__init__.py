"""The command line: reads arguments, calls workflows, prints results, turns errors into one line.

torch takes a second to import, so it is imported by the commands that compute, after their arguments have been checked.
"""

from masklet.cli import (  # noqa: I001 - the order of the commands in the help
    demo,
    segment,
    track,
    train,
    evaluation,
    calibrate,
    models,
    merge,
)
from masklet.cli.app import main

__all__ = ["calibrate", "demo", "evaluation", "main", "merge", "models", "segment", "track", "train"]
