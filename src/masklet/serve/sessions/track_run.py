"""A tracking job: frames as they are decided, for any number of readers, until it is done or cancelled.

What a reader was given is on disk before. A job that nobody reads any more is cancelled after a grace; its frames stay.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

from masklet.errors import InputError
from masklet.inference.video.frame_result import FrameResult
from masklet.ops.masks import mask_iou
from masklet.serve.problems import HttpProblem
from masklet.serve.schemas import FrameObjects, JobView, StreamRow

AGREEING, AGREEMENT = 10, 0.98  # frames in a row, and the IoU from which one counts
Turn = Callable[[], AbstractContextManager[None]]


class TrackingJob:
    """Frames of one run through a video, in a thread of its own."""

    def __init__(
        self,
        video: str,
        frames: Iterator[FrameResult],
        turn: Turn,
        store: Callable[[FrameResult], None],
        grace: float | int,
    ) -> None:
        self.key, self.video = secrets.token_urlsafe(16), video
        self.rows: list[FrameObjects] = []
        self.error: str | None = None
        self.state = "running"
        self.grace = grace
        self.given = 0  # frames that a client that polls has got
        self._frames, self._turn, self._store = frames, turn, store
        self._stop = threading.Event()
        self._readers, self._left_at = 0, time.monotonic()
        self._finished: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, name="masklet-track", daemon=True)

    def start(self, finished: Callable[[], None]) -> "TrackingJob":
        """Begins; `finished` is called when it has ended, however it did."""
        self._finished = finished
        self._thread.start()
        return self

    def cancel(self) -> None:
        """Stops it after the frame that it is at."""
        self._stop.set()

    def join(self, timeout: float | int | None = None) -> None:
        """Waits for its end."""
        self._thread.join(timeout)

    @property
    def is_running(self) -> bool:
        """Whether more frames may come."""
        return self.state == "running"

    def view(self) -> JobView:
        """How it stands."""
        return JobView(
            id=self.key,
            video=self.video,
            state=self.state,  # type: ignore[arg-type] - one of the four
            done=len(self.rows),
            error=self.error,
        )

    def enter(self) -> None:
        """A reader has come."""
        self._readers += 1

    def leave(self) -> None:
        """A reader has gone."""
        self._readers -= 1
        self._left_at = time.monotonic()

    def rows_from(self, seq: int) -> Sequence[StreamRow]:
        """What is there from a number of the stream on; the last row is the job, once it has ended."""
        is_over, rows = not self.is_running, self.rows[seq:]
        lines = [StreamRow(seq=seq + place, frame=frame) for place, frame in enumerate(rows)]
        if is_over:
            lines.append(StreamRow(seq=seq + len(rows), job=self.view()))
        return lines

    def _run(self) -> None:
        ended = "done"
        try:
            while not self._stop.is_set():
                if self._readers == 0 and time.monotonic() - self._left_at > self.grace:
                    self._stop.set()
                    break
                with self._turn():
                    result = next(self._frames, None)
                    if result is None:
                        break
                    self._store(result)
                self.rows.append(FrameObjects.model_validate(result.to_json()))
            ended = "cancelled" if self._stop.is_set() else "done"
        except (InputError, HttpProblem) as error:  # the latter: no turn at the model
            ended = "cancelled" if self._stop.is_set() else "failed"
            self.error = str(error) if ended == "failed" else None
        except Exception as error:  # whoever waits for the job is told, and the log of the server
            ended, self.error = "failed", f"{type(error).__name__}: {error}"
            raise
        finally:
            try:
                self._finished()
            finally:
                self.state = ended


def until_stable(
    frames: Iterator[FrameResult], before: dict[int, FrameResult], settled: Callable[[int], None]
) -> Iterator[FrameResult]:
    """Frames until ten in a row are as they were before; `settled` is told the last of these."""
    agreeing = 0
    for result in frames:
        yield result
        known = before.get(result.index)
        agreeing = agreeing + 1 if known is not None and _agree(result, known) else 0
        if agreeing >= AGREEING:
            settled(result.index)
            return


def _agree(result: FrameResult, known: FrameResult) -> bool:
    if set(result.ids.tolist()) != set(known.ids.tolist()):
        return False
    places = {each: place for place, each in enumerate(known.ids.tolist())}
    for place, each in enumerate(result.ids.tolist()):
        if result.rles[place] == known.rles[places[each]]:
            continue
        if mask_iou(result.mask(place)[None], known.mask(places[each])[None])[0, 0] < AGREEMENT:
            return False
    return True
