"""What `masklet track` is told to follow, read from its arguments: phrases, example boxes and clicks.

Nothing heavy is imported here, so that a mistake is reported at once.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from masklet.errors import InputError
from masklet.workflows.segment_folder import parse_boxes

TRACK_FORMATS = ("overlay", "masks", "ytvis", "mot", "davis", "json")
SIGNS = {"": 1, "+": 1, "-": 0}

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class ObjectClicks:
    """One object, by points in pixels on one frame or by a box around it; label 1 is on the object, 0 is off it."""

    frame: int
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: Box | None = None


@dataclass(frozen=True, kw_only=True)
class TrackPrompts:
    """All that is to be followed. The boxes lie on `box_frame` and show the one phrase, or what has no phrase."""

    phrases: tuple[str, ...]
    boxes: tuple[Box, ...] = ()
    box_frame: int = 0
    clicks: tuple[ObjectClicks, ...] = ()

    @property
    def last_frame(self) -> int:
        """The last frame a prompt lies on."""
        return max([self.box_frame, *(each.frame for each in self.clicks)])


def parse_prompts(
    phrases: Sequence[str], boxes: Sequence[str], clicks: Sequence[str], objects: Sequence[str] = ()
) -> TrackPrompts:
    """Prompts from phrases, example boxes and boxes of objects `FRAME:x0,y0,x1,y1`, and clicks `FRAME:x,y[,+|,-]`.

    A click without a sign begins a new object; one with `+` or `-` says that this point, too, is on the object that
    the clicks before it began, or is not. All clicks of an object, and all boxes, lie on one frame.

    Raises: InputError for whatever cannot be read, or does not go together.
    """
    phrases = tuple(dict.fromkeys(" ".join(each.split()) for each in phrases))
    if "" in phrases:
        raise InputError("a phrase is empty")
    if not phrases and not boxes and not clicks and not objects:
        raise InputError("nothing to follow: give a phrase with -p, an example with --box, or --object or --click")
    if boxes and len(phrases) > 1:
        raise InputError("example boxes belong to one concept: give one phrase with them, or none")
    placed = [_split_frame(text, "box") for text in boxes]
    if len({frame for frame, _ in placed}) > 1:
        raise InputError("example boxes must lie on one frame")
    return TrackPrompts(
        phrases=phrases,
        boxes=tuple(parse_boxes([rest for _, rest in placed])),
        box_frame=placed[0][0] if placed else 0,
        clicks=(*_parse_clicks(clicks), *map(_parse_object, objects)),
    )


def _split_frame(text: str, kind: str) -> tuple[int, str]:
    frame, colon, rest = text.partition(":")
    if not colon or not frame.strip().isdecimal():
        raise InputError(f"a {kind} begins with the number of its frame, such as 0:{text.lstrip(':')}, not {text!r}")
    return int(frame), rest


def _parse_object(text: str) -> ObjectClicks:
    frame, rest = _split_frame(text, "box")
    return ObjectClicks(frame=frame, box=parse_boxes([rest])[0])


def _parse_clicks(texts: Sequence[str]) -> tuple[ObjectClicks, ...]:
    objects: list[ObjectClicks] = []
    for text in texts:
        frame, rest = _split_frame(text, "click")
        x, y, sign = _parse_point(rest, text)
        if not sign:
            objects.append(ObjectClicks(frame=frame, points=((x, y),), labels=(1,)))
            continue
        if not objects or objects[-1].frame != frame:
            raise InputError(
                f"the click {text} refines no object: one without a sign must come first, on the same frame"
            )
        begun = objects[-1]
        objects[-1] = ObjectClicks(frame=frame, points=(*begun.points, (x, y)), labels=(*begun.labels, SIGNS[sign]))
    return tuple(objects)


def _parse_point(rest: str, text: str) -> tuple[float, float, str]:
    x, y, *signs = [part.strip() for part in rest.split(",")] if rest.count(",") else ("", "")
    sign = signs[0] if signs else ""
    try:
        place = float(x), float(y)
    except ValueError as error:
        raise InputError(f"a click is FRAME:x,y with + or - after it or nothing, not {text!r}") from error
    if len(signs) > 1 or sign not in SIGNS or not all(map(math.isfinite, place)):
        raise InputError(f"a click is FRAME:x,y with + or - after it or nothing, not {text!r}")
    return *place, sign


def parse_track_formats(text: str) -> tuple[str, ...]:
    """Formats written as a comma-separated list. Raises: InputError for an unknown one."""
    formats = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in formats:
        if name not in TRACK_FORMATS:
            raise InputError(f"unknown format {name!r}: choose from {', '.join(TRACK_FORMATS)}")
    return formats
