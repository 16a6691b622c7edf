"""The beginning of a session on a video: a new one, or one that was saved."""

import json
from contextlib import ExitStack
from pathlib import Path

from masklet.checkpoints.configs import to_dict
from masklet.errors import InputError
from masklet.formats.calibration import Calibration, parse_calibration
from masklet.inference.predictor import Predictor
from masklet.inference.rules.rules import RULES, Rules
from masklet.inference.video.archive import read_archive
from masklet.inference.video.video_session import VideoSession
from masklet.media.video_source import VideoSource, open_frames

UNFIT = (KeyError, TypeError, ValueError, AttributeError, IndexError)  # what a document of another shape runs into


def open_session(
    predictor: Predictor,
    source: VideoSource | None,
    rules: str | Rules,
    *,
    delay: int | None,
    history_frames: int | None,
    memory_frames: int,
    calibration: Calibration | None = None,
) -> VideoSession:
    """See `Model.open_video`."""
    if not {"click", "memory"} <= predictor.parts:
        raise InputError("these weights have no tracker: use masklet.load('tiny'), or the sam3 model")
    if isinstance(rules, str):
        if rules not in RULES:
            raise InputError(f"unknown rules {rules!r}: give {', '.join(RULES)}")
        rules = RULES[rules]()
    if min(0 if delay is None else delay, memory_frames, 0 if history_frames is None else history_frames) < 0:
        raise InputError("delay, history_frames and memory_frames are numbers of frames, 0 or more")
    if calibration is not None:
        calibration.check_model(predictor.identity)
    frames = None if source is None else open_frames(source)
    return VideoSession(
        predictor,
        frames,
        rules,
        delay=delay,
        history_frames=history_frames,
        memory_frames=memory_frames,
        calibration=calibration,
    )


def resume_session(predictor: Predictor, path: Path, source: VideoSource | None) -> VideoSession:
    """See `Model.resume_video`."""
    document, store = read_archive(path)
    if document.get("config") != json.loads(json.dumps(to_dict(predictor.detector.config))):
        raise InputError(f"{path} is the session of another model")
    with ExitStack() as stack:  # closes the video again when the rest of the file does not fit
        try:
            rules, options = Rules(**document["rules"]), dict(document["options"])
            saved = document["calibration"]
            calibration = None if saved is None else parse_calibration(saved, str(path))
            session = open_session(predictor, source, rules, **options, calibration=calibration)
            stack.callback(session.close)
            session.restore(document, store)
        except InputError:
            raise
        except UNFIT as error:
            reason = str(error).splitlines() or [type(error).__name__]
            raise InputError(f"{path} is a damaged session: {reason[0]}") from error
        stack.pop_all()
    return session
