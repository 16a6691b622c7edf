"""J&F of every video and object: the file, a table and the page."""

from collections.abc import Mapping, Sequence
from typing import Any

from masklet.eval.metrics import formatted, scaled
from masklet.eval.reports.page import Cell, Figure, Report, Table
from masklet.eval.videos.vos import MaskletScore, mean_scores
from masklet.eval.videos.vos_files import FollowedVideo
from masklet.formats.records import Id

NAMES = ("J&F", "J", "F")

Scores = Sequence[Mapping[Id, MaskletScore]]


def describe_objects(videos: Sequence[FollowedVideo], scores: Scores, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What `scores.json` holds: figures of all objects, of those of each video, and of each; fractions."""
    return {
        "format": "masklet-eval-vos",
        "version": 1,
        "settings": dict(settings),
        "metrics": mean_scores([score for objects in scores for score in objects.values()]),
        "videos": [
            {
                "video": video.name,
                **mean_scores([*objects.values()]),
                "objects": [{"id": each, **mean_scores([score])} for each, score in objects.items()],
            }
            for video, objects in zip(videos, scores, strict=True)
        ],
    }


def make_object_report(described: Mapping[str, Any], subtitle: str) -> Report:
    """The page of evaluated objects."""
    overall = described["metrics"]
    videos: list[Sequence[Cell]] = []
    objects: list[Sequence[Cell]] = []
    for video in described["videos"]:
        videos.append([video["video"], len(video["objects"]), *_percent(video)])
        objects += [[video["video"], str(each["id"]), *_percent(each)] for each in video["objects"]]
    return Report(
        title="Followed objects",
        subtitle=subtitle,
        figures=[Figure(name, value) for name, value in zip(NAMES, _percent(overall), strict=True)],
        sections=[
            Table("Videos", ["video", "objects", *NAMES], videos),
            Table("Objects", ["video", "object", *NAMES], objects),
        ],
    )


def object_table(described: Mapping[str, Any]) -> Table:
    """J&F, J and F of each video and of all objects, in percent."""
    groups = [*described["videos"], {"video": "all objects", **described["metrics"]}]
    rows = [[each["video"], *(formatted(name, each[name], 1) for name in NAMES)] for each in groups]
    return Table("", ["", *NAMES], rows)


def _percent(figures: Mapping[str, Any]) -> list[float | int | None]:
    return [scaled(name, figures[name]) for name in NAMES]
