"""`masklet eval`: the commands that score."""

from masklet.cli.evaluation import (  # noqa: I001 - the order of the commands in the help
    concepts,
    video,
    clicks,
    coco,
    tasks,
    report,
)

__all__ = ["clicks", "coco", "concepts", "report", "tasks", "video"]
