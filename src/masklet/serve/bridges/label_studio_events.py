"""The interactive events of Label Studio on videos: one frame by clicks or a box, and tracking that is asked for.

Frames count from 1 there and from 0 here; `time_ms` is trusted before `frame`, as the page and the file may count
differently.
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from masklet.errors import InputError
from masklet.ops.masks import rle_decode
from masklet.serve.bridges.bridge_videos import BridgeVideo, Source
from masklet.serve.bridges.label_config import Control
from masklet.serve.bridges.shapes import data_url
from masklet.serve.problems import HttpProblem
from masklet.serve.schemas import FrameObjects
from masklet.serve.sessions.track_run import TrackingJob
from masklet.serve.settings import Person
from masklet.serve.state import ServerState
from masklet.serve.uploads import is_video

EVENTS = ("capabilities", "prewarm", "predict", "track", "track_progress", "track_cancel", "release")
WAIT_SECONDS, BATCH_SECONDS, MOST_FRAMES_AT_ONCE = 5.0, 0.25, 32
MOST_TRACKED, MOST_DRAWN = 300, 200
CAPABILITIES = {
    "prompts": ["point", "box"],
    "targets": [
        {"tag": "BrushLabels", "output": "mask"},
        {"tag": "BitmaskLabels", "output": "mask"},
        {"tag": "PolygonLabels", "output": "polygon"},
        {"tag": "RectangleLabels", "output": "bbox"},
        {"tag": "VideoRectangle", "output": "bbox", "features": ["track"]},
    ],
    "model_info": {"name": "masklet", "version": "1"},
}
Context = Mapping[str, Any]


class VideoEvents:
    """Answers the events about one video, whose bytes `fetch` brings when they are needed."""

    def __init__(self, server: ServerState, person: Person, key: str, fetch: Callable[[], bytes]) -> None:
        self.server, self.person, self.fetch = server, person, fetch
        self.key = "ls-" + hashlib.sha256(f"{person.name} {key}".encode()).hexdigest()

    def answer(self, event: str, context: Context, control: Control) -> list[dict[str, Any]]:
        """The regions that answer an event. Raises: InputError, HttpProblem."""
        answers: dict[str, Callable[[Context], tuple[str, dict[str, Any]] | None]] = {
            "prewarm": self._prewarm,
            "predict": self._predict,
            "track": self._track,
            "track_progress": self._progress,
            "track_cancel": self._cancel,
            "release": self._release,
        }
        made = answers[event](context)
        return [] if made is None else [event_region(*made, control)]

    def _prewarm(self, _: Context) -> tuple[str, dict[str, Any]]:
        """The video is fetched and opened, which is what takes longest; a frame is encoded when it is asked."""
        count = self._video().session.num_frames or 0
        return "prewarm_ack", {"status": "ok", "cached": [], "pending": [], "frame_count": count}

    def _predict(self, context: Context) -> tuple[str, dict[str, Any]] | None:
        video = self._video()
        found = self._prompted(video, context)
        return None if found is None else ("bitmask", _picture(found))

    def _track(self, context: Context) -> tuple[str, dict[str, Any]]:
        video, direction = self._video(), str(context.get("direction", "forward"))
        if video.job is not None and video.job.is_running:
            return "track_busy", {"session_id": video.job.key}
        if direction not in ("forward", "backward", "both"):
            raise InputError("the direction is forward, backward or both")
        if self._prompted(video, context) is None:
            return "track_error", {"error": "a point or a box is needed"}
        frame, most, fps = frame_of(context, video), _number(context, "max_frames", MOST_TRACKED), video.session.fps
        if fps and context.get("max_duration_ms") is not None:
            most = _number(context, "max_duration_ms", 0) / 1000 * fps
        count = video.session.num_frames or frame + 1
        low, high = max(0, frame - round(most)), min(count, frame + round(most) + 1)
        stop = max(low - 1, -1) if direction == "backward" else high
        job = video.track(direction, frame, None if stop < 0 else stop)
        total = {"forward": high - frame, "backward": frame - low + 1, "both": high - frame + frame}[direction]
        fields = {"session_id": job.key, "total_frames": total, "fps": fps}
        return "track_started", fields | {"duration_ms": 1000 * count / fps if fps else 0.0}

    def _progress(self, context: Context) -> tuple[str, dict[str, Any]]:
        try:
            job = self.server.videos.job(str(context.get("session_id", "")), self.person)
        except HttpProblem as problem:
            return "track_progress", {"error": problem.message, "frames": [], "done": True}
        job.enter()
        try:
            rows, is_done = _wait_for_frames(job)
        finally:
            job.leave()
        fps = self.server.videos.get(self.key, self.person).session.fps
        frames = [_picture(row) | {"frame": row.index, "time_ms": _time(row, fps)} for row in rows]
        fields = {"frames": frames, "produced": len(job.rows), "total": len(job.rows), "done": is_done}
        return "track_progress", fields | {"error": job.error}

    def _cancel(self, context: Context) -> tuple[str, dict[str, Any]]:
        try:
            self.server.videos.job(str(context.get("session_id", "")), self.person).cancel()
        except HttpProblem:  # it has ended and gone: that is what was wanted
            return "track_cancel_ack", {"status": "not found"}
        return "track_cancel_ack", {"status": "cancelled"}

    def _release(self, _: Context) -> tuple[str, dict[str, Any]]:
        try:
            self.server.videos.remove(self.key, self.person)
        except HttpProblem:
            return "release_ack", {"status": "not found"}
        return "release_ack", {"status": "released"}

    def _video(self) -> BridgeVideo:
        try:
            return self.server.videos.get(self.key, self.person)
        except HttpProblem:
            return self.server.videos.add(self._fill, self.person, self.key)[1]

    def _fill(self, folder: Path) -> Source:
        path = folder / "video.mp4"
        path.write_bytes(self.fetch())
        if not is_video(path):
            raise InputError("the file is no video of a kind that is read here")
        return path

    def _prompted(self, video: BridgeVideo, context: Context) -> FrameObjects | None:
        """The one object at the points or in the box, of a tracker that knows nothing else."""
        points, labels, box = prompts_of(context, video.session.size)
        if not points and box is None:
            return None
        video.begin_anew()
        frame = frame_of(context, video)
        return video.prompt(lambda session: session.click(0, frame, points, labels, box=box))


def event_region(kind: str, value: dict[str, Any], control: Control) -> dict[str, Any]:
    """An answer to an event, which comes as a region."""
    names = {"from_name": control.name, "to_name": control.to_name}
    return {"id": secrets.token_hex(5), **names, "type": kind, "origin": "manual", "value": value}


def drawn_regions(context: Context) -> list[dict[str, Any]]:
    """What the user has drawn just now. Raises: InputError when that is more than anybody draws for one object."""
    found = context.get("result")
    if not isinstance(found, list):
        return []
    if len(found) > MOST_DRAWN:
        raise InputError(f"{len(found)} regions are drawn, at most {MOST_DRAWN} are read: finish this object first")
    return [each for each in found if isinstance(each, dict)]


def frame_of(context: Context, video: BridgeVideo) -> int:
    """The frame that an event is about, from 0. Raises: InputError for what is no number."""
    fps, count = video.session.fps, video.session.num_frames
    by_time = context.get("time_ms") is not None and fps
    frame = (
        round(_number(context, "time_ms", 0) / 1000 * (fps or 0))
        if by_time
        else round(_number(context, "frame", 1)) - 1
    )
    return max(0, frame if count is None else min(frame, count - 1))


def prompts_of(
    context: Context, size: tuple[int, int]
) -> tuple[list[tuple[float, float]], list[int], tuple[float, float, float, float] | None]:
    """Points, their labels and the box of an event, in pixels. Raises: InputError for what is no number."""
    points: list[tuple[float, float]] = []
    labels: list[int] = []
    box = None
    height, width = size
    for region in drawn_regions(context):
        value = region.get("value")
        if not isinstance(value, Mapping):
            continue
        x, y = _number(value, "x", 0) / 100 * width, _number(value, "y", 0) / 100 * height
        if "width" in value and "height" in value and not str(region.get("type", "")).startswith("keypoint"):
            across, down = _number(value, "width", 0) / 100 * width, _number(value, "height", 0) / 100 * height
            box = (x, y, min(x + across, float(width)), min(y + down, float(height)))
        else:
            points.append((x, y))
            labels.append(int(value.get("positive", region.get("is_positive", True)) is not False))
    return points, labels, box


def _number(values: Mapping[str, Any], name: str, default: float | int) -> float:
    value = values.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 2**40:
        raise InputError(f"{name} is a number")
    return float(value)


def _picture(found: FrameObjects) -> dict[str, Any]:
    height, width = found.size
    mask = rle_decode(found.rles[0], height, width) if found.rles else np.zeros((height, width), bool)
    return {"imageDataURL": data_url(mask), "width": width, "height": height}


def _time(row: FrameObjects, fps: float | int | None) -> float:
    return round(1000 * row.index / fps if fps else 1000 * row.time, 3)


def _wait_for_frames(job: TrackingJob) -> tuple[list[FrameObjects], bool]:
    """Frames that were not given yet: the first within a few seconds, and what comes soon after it."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end and job.is_running and len(job.rows) == job.given:
        time.sleep(0.02)
    soon = time.monotonic() + BATCH_SECONDS
    while time.monotonic() < soon and job.is_running and len(job.rows) - job.given < MOST_FRAMES_AT_ONCE:
        time.sleep(0.02)
    is_over = not job.is_running
    rows = job.rows[job.given : job.given + MOST_FRAMES_AT_ONCE]
    job.given += len(rows)
    return [row for row in rows if row.rles], is_over and job.given == len(job.rows)
