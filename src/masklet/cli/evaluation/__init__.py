"""`masklet eval`: the commands that score."""

from masklet.cli.evaluation import (  # noqa: I001 - the order of the commands in the help
    concepts,
    video,
    clicks,
    coco,
    tasks,
    agent,
    report,
)

__all__ = ["agent", "clicks", "coco", "concepts", "report", "tasks", "video"]
