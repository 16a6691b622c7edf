"""Arguments written as text: phrases, boxes, clicks, formats and shares.

Nothing heavy is imported here, so that a mistake is reported at once.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from masklet.cli.app import WrongUsage
from masklet.workflows.segment_folder import Box
from masklet.workflows.track_job import ObjectClicks, TrackPrompts

SIGNS = {"": 1, "+": 1, "-": 0}


def parse_phrases(texts: Sequence[str]) -> tuple[str, ...]:
    """Phrases with single spaces, each once."""
    return tuple(dict.fromkeys(" ".join(each.split()) for each in texts))


def parse_boxes(texts: Sequence[str]) -> tuple[Box, ...]:
    """Boxes written as x0,y0,x1,y1 in pixels. Raises: InputError for anything else, inverted boxes included."""
    return tuple(map(_parse_box, texts))


def _parse_box(text: str) -> Box:
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
    except ValueError as error:
        raise WrongUsage(f"a box is four numbers x0,y0,x1,y1, not {text!r}") from error
    if not all(map(math.isfinite, (x0, y0, x1, y1))):
        raise WrongUsage(f"the box {text} holds a coordinate that is not a finite number")
    if x0 >= x1 or y0 >= y1:
        raise WrongUsage(f"the box {text} is empty or inverted: x0 must be less than x1, and y0 less than y1")
    return x0, y0, x1, y1


def parse_formats(text: str, known: Iterable[str]) -> tuple[str, ...]:
    """Formats written as a comma-separated list. Raises: InputError for an unknown one."""
    formats = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in formats:
        if name not in known:
            raise WrongUsage(f"unknown format {name!r}: choose from {', '.join(known)}")
    return formats


def parse_prompts(
    phrases: Sequence[str], boxes: Sequence[str], clicks: Sequence[str], objects: Sequence[str] = ()
) -> TrackPrompts:
    """Prompts from phrases, example boxes and boxes of objects `FRAME:x0,y0,x1,y1`, and clicks `FRAME:x,y[,+|,-]`.

    A click without a sign begins a new object; one with `+` or `-` marks another point on the object that the preceding
    clicks began, or off it. All clicks of an object, and all example boxes, lie on one frame.

    Raises: InputError for text that cannot be read, and prompts that do not go together.
    """
    placed = [_split_frame(text, "box") for text in boxes]
    if len({frame for frame, _ in placed}) > 1:
        raise WrongUsage("example boxes must lie on one frame")
    given = [_split_frame(text, "box") for text in objects]
    return TrackPrompts(
        phrases=parse_phrases(phrases),
        boxes=parse_boxes([rest for _, rest in placed]),
        box_frame=placed[0][0] if placed else 0,
        clicks=(*_parse_clicks(clicks), *(ObjectClicks(frame=frame, box=_parse_box(rest)) for frame, rest in given)),
    )


def _split_frame(text: str, kind: str) -> tuple[int, str]:
    frame, colon, rest = text.partition(":")
    if not colon or not frame.strip().isdecimal():
        raise WrongUsage(f"a {kind} begins with the number of its frame, such as 0:{text.lstrip(':')}, not {text!r}")
    return int(frame), rest


def _parse_clicks(texts: Sequence[str]) -> tuple[ObjectClicks, ...]:
    objects: list[ObjectClicks] = []
    for text in texts:
        frame, rest = _split_frame(text, "click")
        x, y, sign = _parse_point(rest, text)
        if not sign:
            objects.append(ObjectClicks(frame=frame, points=((x, y),), labels=(1,)))
            continue
        if not objects or objects[-1].frame != frame:
            raise WrongUsage(
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
        raise WrongUsage(f"a click is FRAME:x,y with + or - after it or nothing, not {text!r}") from error
    if len(signs) > 1 or sign not in SIGNS or not all(map(math.isfinite, place)):
        raise WrongUsage(f"a click is FRAME:x,y with + or - after it or nothing, not {text!r}")
    return *place, sign


def parse_share(text: str) -> tuple[Path, float]:
    """A path and the share after its last equals sign, 1 by default. Raises: InputError when that is not a number."""
    path, separator, share = text.rpartition("=")
    if not separator:
        return Path(text), 1.0
    try:
        number = float(share)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise WrongUsage(f"the share in {text!r} is not a number")
    return Path(path), number
