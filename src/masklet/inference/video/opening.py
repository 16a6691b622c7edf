"""The beginning of a session on a video: a new one, or one that was saved."""

import json
from pathlib import Path

from masklet.checkpoints.configs import to_dict
from masklet.errors import InputError
from masklet.formats.calibration import Calibration, parse_calibration
from masklet.inference.model import Model
from masklet.inference.video.rules import RULES, Rules
from masklet.inference.video.saving import read_session
from masklet.inference.video.video_session import VideoSession
from masklet.media.frames import VideoSource, open_frames

UNFIT = (KeyError, TypeError, ValueError, AttributeError, IndexError)  # what a document of another shape runs into


def open_session(
    model: Model,
    source: VideoSource | None,
    rules: str | Rules,
    *,
    delay: int | None,
    history_frames: int | None,
    memory_frames: int,
    calibration: Calibration | None = None,
) -> VideoSession:
    """See `Model.open_video`."""
    if not {"click", "memory"} <= model.parts:
        raise InputError("these weights have no tracker: use masklet.load('tiny'), or the sam3 model")
    if isinstance(rules, str):
        if rules not in RULES:
            raise InputError(f"unknown rules {rules!r}: give {', '.join(RULES)}")
        rules = RULES[rules]()
    if min(0 if delay is None else delay, memory_frames, 0 if history_frames is None else history_frames) < 0:
        raise InputError("delay, history_frames and memory_frames are numbers of frames, 0 or more")
    if calibration is not None:
        calibration.check_model(model.identity)
    frames = None if source is None else open_frames(source)
    return VideoSession(
        model,
        frames,
        rules,
        delay=delay,
        history_frames=history_frames,
        memory_frames=memory_frames,
        calibration=calibration,
    )


def resume_session(model: Model, path: Path, source: VideoSource | None) -> VideoSession:
    """See `Model.resume_video`."""
    document, shelf = read_session(path)
    if document.get("config") != json.loads(json.dumps(to_dict(model.detector.config))):
        raise InputError(f"{path} is the session of another model")
    try:
        rules, options = Rules(**document["rules"]), dict(document["options"])
        given = document["calibration"]
        calibration = None if given is None else parse_calibration(given, str(path))
        session = open_session(model, source, rules, **options, calibration=calibration)
    except InputError:
        raise
    except UNFIT as error:
        raise _damaged(path, error) from error
    try:
        session.restore(document, shelf)
    except BaseException as error:
        session.close()
        if isinstance(error, InputError) or not isinstance(error, UNFIT):
            raise
        raise _damaged(path, error) from error
    return session


def _damaged(path: Path, error: Exception) -> InputError:
    reason = str(error).splitlines() or [type(error).__name__]
    return InputError(f"{path} is a damaged session: {reason[0]}")
