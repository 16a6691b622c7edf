"""The command line: reads arguments, calls the library, turns errors into one line. Nothing is computed here.

torch takes a second to import, so it is imported by the commands that compute, after their arguments have been checked.
"""

from masklet.cli import (  # noqa: I001 - the order of the commands in the help
    segment,
    track,
    train,
    eval_concepts,
    eval_video,
    eval_clicks,
    eval_coco,
    eval_tasks,
    eval_report,
    calibrate,
    models,
    merge,
)
from masklet.cli.app import main

__all__ = [
    "calibrate",
    "eval_clicks",
    "eval_coco",
    "eval_concepts",
    "eval_report",
    "eval_tasks",
    "eval_video",
    "main",
    "merge",
    "models",
    "segment",
    "track",
    "train",
]
