"""The command line: reads arguments, calls the library, turns errors into one line. Nothing is computed here.

torch takes a second to import, so it is imported by the commands that compute, after their arguments have been checked.
"""

from masklet.cli import segment, track, train, eval_concepts, eval_coco, eval_tasks, models  # noqa: I001 - the order of commands in the help
from masklet.cli.app import main

__all__ = ["eval_coco", "eval_concepts", "eval_tasks", "main", "models", "segment", "track", "train"]
