"""A session on a video: concepts and objects are named on any frame, followed, corrected, and followed on.

The session decides what a frame needs: everything where it was never tracked, only what changed where it was, nothing
where nothing did. What happens on a frame is `video_step.step`; here is the edge to the user.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool

from masklet.checkpoints.configs import to_dict
from masklet.errors import InputError
from masklet.formats.calibration import Calibration
from masklet.inference.image.clicks import click_prompt
from masklet.inference.model import WORDLESS, Box, Concept, Model, Number, check_box
from masklet.inference.video import cohorts
from masklet.inference.video.cohorts import Cohort, View
from masklet.inference.video.detect import VideoConcept, detect, read_examples
from masklet.inference.video.emission import DelayBuffer, FrameRecord, shown
from masklet.inference.video.features import Seen, Sight
from masklet.inference.video.frame_result import FrameResult
from masklet.inference.video.history import History, join, update, without
from masklet.inference.video.rules import Rules
from masklet.inference.video.saving import (
    Json,
    Shelf,
    check_state,
    pack_record,
    pack_state,
    unpack_record,
    unpack_state,
    write_session,
)
from masklet.inference.video.schedule import Key, Progress
from masklet.inference.video.step import SessionState, Sightings, StepOptions, step
from masklet.media.frames import Frame, FrameSource
from masklet.media.images import ImageSource, read_image
from masklet.models.memory_bank import Course
from masklet.models.tracker import MASK_CELLS
from masklet.ops.components import fill_small
from masklet.ops.masks import rle_encode

Direction = Literal["forward", "backward", "both"]


class VideoSession(AbstractContextManager):
    """Follows concepts and objects through a video. Made by `Model.open_video`."""

    def __init__(
        self,
        model: Model,
        source: FrameSource | None,
        rules: Rules,
        *,
        delay: int | None,
        history_frames: int | None,
        memory_frames: int,
        calibration: Calibration | None = None,
    ) -> None:
        self.model = model
        self.calibration = calibration
        self.rules = rules
        self.memory_frames = memory_frames
        self.state = SessionState()
        self.history = History(history_frames)
        self.delay = rules.confirmation_delay if delay is None else delay
        self._sight = Sight(model, source)
        self._progress = Progress(buffer=self._new_buffer())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets the video and the features of its frames go."""
        self._sight.close()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the video."""
        return self._sight.size

    @property
    def fps(self) -> float | None:
        """Frames a second, where they are known."""
        return self._sight.fps

    @property
    def num_frames(self) -> int | None:
        """How many frames the video has, where that is known."""
        return self._sight.num_frames

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Everybody who is followed now."""
        return tuple(sorted(self.state.object_ids))

    # --- what to follow -------------------------------------------------------------------------------------------

    def add_concept(
        self,
        phrase: str | None = None,
        *,
        boxes: Sequence[Box] = (),
        not_boxes: Sequence[Box] = (),
        frame: int | None = None,
    ) -> FrameResult:
        """Follows every instance of a phrase, of examples, or of both, from any frame on; shows what is found there.

        `boxes` and `not_boxes` are xyxy in pixels of `frame`, by default the frame seen last, or the first. They hold
        for all frames. A phrase that is already followed is asked again, with the new examples in place of the old.
        A session may follow several concepts; none disturbs another.

        Raises: InputError on a phrase, a box or a frame that cannot be used.
        """
        if phrase is None and not boxes:
            raise InputError("nothing to look for: give a phrase, or at least one example box")
        seen = self._sight.at(frame)
        for box in (*boxes, *not_boxes):
            check_box(box, self.size)
        concept = Concept(
            phrase=WORDLESS if phrase is None else self.model.check_phrase(phrase),
            boxes=(*boxes, *not_boxes),
            labels=(1,) * len(boxes) + (0,) * len(not_boxes),
        )
        name = concept.phrase
        with torch.inference_mode():
            tokens = read_examples(self.model, seen.features, concept, self.size) if concept.boxes else None
        known = self.state.concepts.get(name)
        asked = VideoConcept(name=name, concept=concept, tokens=tokens)
        asked = asked if known is None else replace(asked, state=known.state)
        self.state = replace(self.state, concepts={**self.state.concepts, name: asked})
        self._mark(("concept", name), seen.frame.index)
        fresh = self._step(seen, Course(num_frames=self.num_frames), [name], ())
        return self._preview(update(self.history.records.get(fresh.frame, fresh), fresh, self._members([name])))

    def remove_concept(self, phrase: str) -> None:
        """No longer follows a concept, nor any of its objects. Raises: InputError when it was not followed."""
        if phrase not in self.state.concepts:
            raise InputError(f"{phrase!r} is not followed; there are {', '.join(self.state.concepts) or 'no concepts'}")
        self._forget(self._members([phrase]))
        concepts = {name: concept for name, concept in self.state.concepts.items() if name != phrase}
        self.state = replace(self.state, concepts=concepts)

    def click(
        self,
        object_id: int | None,
        frame: int | None,
        points: Sequence[Sequence[Number]] = (),
        labels: Sequence[int] = (),
        *,
        box: Box | None = None,
        add: bool = False,
    ) -> FrameResult:
        """Corrects an object, or begins one, by points (x, y in pixels; label 1 on it, 0 off it) or a box.

        An id that nobody has begins an object, and so does None. Clicks replace those given before for this object on
        this frame, unless `add`. Where exactly one concept is followed, a new object belongs to it.

        Raises: InputError when the prompt or the frame cannot be used.
        """
        seen = self._sight.at(frame)
        if box is not None:
            check_box(box, self.size)
        grid = seen.look.coarse.shape[-2:]
        mask_size = (MASK_CELLS * grid[0], MASK_CELLS * grid[1])
        prompt = click_prompt(points, labels, box, None, self.size, self.model.image_size, mask_size)
        object_id, place = self._place(object_id, seen)
        view = self._view(seen, Course(num_frames=self.num_frames))
        with torch.inference_mode():
            cohort = cohorts.click(view, self.state.cohorts[place], object_id, prompt.to(self.model.device), add=add)
            memory = cohort.answers[seen.frame.index][object_id].memory
            logits = F.interpolate(memory.mask_logits[None], self.size, mode="bilinear")[0]
            mask = fill_small(logits, self.rules.fill_area)[0] > 0
        return self._answer(seen, object_id, place, cohort, mask.cpu().numpy())

    def add_mask(self, object_id: int | None, frame: int | None, mask: Bool[np.ndarray, "height width"]) -> FrameResult:
        """Corrects an object, or begins one, by its mask at the size of the video. Raises: InputError."""
        seen = self._sight.at(frame)
        mask = np.asarray(mask)
        if mask.shape != self.size:
            raise InputError(f"the mask is {mask.shape}, the video {self.size} (height, width)")
        mask = mask.astype(bool)
        object_id, place = self._place(object_id, seen)
        with torch.inference_mode():
            view = self._view(seen, Course(num_frames=self.num_frames))
            drawn = torch.from_numpy(mask).to(self.model.device)
            cohort = cohorts.draw(view, self.state.cohorts[place], object_id, drawn)
        return self._answer(seen, object_id, place, cohort, mask)

    def remove(self, object_id: int) -> None:
        """No longer follows an object. Raises: InputError when nobody has that id."""
        if object_id not in self.state.object_ids:
            raise InputError(
                f"there is no object {object_id}; there are {', '.join(map(str, self.object_ids)) or 'none'}"
            )
        self._forget([object_id])

    # --- following ------------------------------------------------------------------------------------------------

    def track(
        self,
        direction: Direction = "forward",
        *,
        start: int | None = None,
        stop: int | None = None,
        step: int = 1,
    ) -> Iterator[FrameResult]:
        """The frames from `start` on, as they are decided; `stop` is the first that is not visited.

        By default from the first frame that changed since it was tracked, or that was ever prompted. Backward, `start`
        is visited as well; "both" goes forward, then backward from the frame before. Frames that were tracked come
        from the history, apart from what was corrected since. New masklets show after the confirmation delay, so
        results of concepts come that many frames late.

        Raises: InputError when there is nothing to follow or no such frame.
        """
        if direction not in ("forward", "backward", "both"):
            raise InputError(f"direction {direction!r} is not forward, backward or both")
        if not self.state.concepts and not self.state.cohorts:
            raise InputError("nothing to follow: call add_concept, click or add_mask first")
        if step < 1:
            raise InputError(f"a step of {step} frames goes nowhere: it is at least 1")
        begin = self._progress.first_changed() if start is None else start
        if self.num_frames is not None and begin >= self.num_frames:
            raise InputError(f"the video has {self.num_frames} frames, and none of number {begin}")
        if direction != "both":
            return self._run(begin, stop, step, reverse=direction == "backward")
        return self._there_and_back(begin, stop, step)

    def push(self, pixels: ImageSource, time: float | None = None) -> FrameResult | None:
        """The next frame of a live stream. Gives the result whose delay is over, if one is; see also `flush`."""
        seen = self._sight.push(read_image(pixels), time)
        progress = self._progress
        if not progress.buffer.waiting:
            progress.buffer = self._new_buffer()
        self._wait(self._visit(seen, Course()))
        return next(self._take_due(), None)

    def flush(self) -> list[FrameResult]:
        """The results that still wait, when no more frames come or none shall wait."""
        self._decide()
        return list(self._take_due())

    def save(self, path: str | PathLike) -> None:
        """Writes everything but the video, so that `Model.resume_video` goes on from here with the same result.

        May be called between any two results. What waits to be shown is kept; `track` from the first frame that was not
        given yet, with the same step, goes on with it.
        """
        shelf = Shelf()
        document = {
            "config": to_dict(self.model.detector.config),
            "rules": asdict(self.rules),
            "calibration": None if self.calibration is None else self.calibration.to_json(),
            "options": {
                "delay": self.delay,
                "history_frames": self.history.limit,
                "memory_frames": self.memory_frames,
            },
            "state": pack_state(self.state, shelf),
            "history": [pack_record(record) for record in self.history.records.values()],
            "progress": self._progress.pack(),
            "sight": self._sight.pack({f for cohort in self.state.cohorts for f in cohort.answers}, shelf),
        }
        write_session(Path(path), document, shelf)

    def restore(self, document: Json, shelf: Shelf) -> None:
        """Takes what `save` wrote. Raises: KeyError, TypeError or ValueError when it is something else."""
        self.state = unpack_state(document["state"], shelf, self.model.device)
        check_state(self.state, self.model)
        for entry in document["history"]:
            self.history.store(unpack_record(entry))
        self._progress = Progress.unpack(document["progress"], self._new_buffer())
        self._sight.unpack(document["sight"], shelf)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _there_and_back(self, start: int, stop: int | None, step: int) -> Iterator[FrameResult]:
        yield from self._run(start, stop, step, reverse=False)
        if start >= step:
            yield from self._run(start - step, None, step, reverse=True)

    def _run(self, start: int, stop: int | None, step: int, *, reverse: bool) -> Iterator[FrameResult]:
        """One way through the video. What waits when the caller stops goes on waiting, for a run that goes on there."""
        progress, course = self._progress, Course(reverse=reverse, stride=step, num_frames=self.num_frames)
        if progress.continues(start, course):
            start = progress.pending[-1].frame + course.step
        else:
            self._decide()
            progress.due.clear()  # the history has them
            progress.buffer = self._new_buffer()
        progress.course = course
        yield from self._take_due()
        for frame in self._sight.frames(start, stop, step, reverse=reverse):
            seen, is_known = self._sight.hold(frame), frame.index in progress.covered
            record = self._visit(seen, course)
            if is_known:
                self._decide()
                progress.due.append(self._keep(record))
            else:
                self._wait(record)
            yield from self._take_due()
        self._decide()
        yield from self._take_due()

    def _wait(self, record: FrameRecord) -> None:
        """Lets a tracked frame wait, and those no longer whose wait is over."""
        self._progress.buffer, ready = self._progress.buffer.push(record)
        self._progress.due += map(self._keep, ready)

    def _decide(self) -> None:
        """Lets nothing wait any more."""
        self._progress.buffer, ready = self._progress.buffer.flush()
        self._progress.due += map(self._keep, ready)

    def _take_due(self) -> Iterator[FrameResult]:
        """What is to be given, as it is known by now: a prompt may have changed it."""
        while self._progress.due:
            record = self._progress.due.pop(0)
            known = self.history.records.get(record.frame, record)
            image = self._sight.pixels(record.frame) if record.result.image is None else record.result.image
            result = replace(known.result, image=image)
            yield shown(replace(known, result=result, unconfirmed=record.unconfirmed), self._progress.ended)

    def _visit(self, seen: Seen, course: Course) -> FrameRecord:
        """Tracks on this frame what has to be: everything the first time, later what changed since."""
        self._settle(course)
        if seen.frame.index not in self._progress.covered:
            alone = [i for i, cohort in enumerate(self.state.cohorts) if cohort.concept is None]
            fresh = self._step(seen, course, tuple(self.state.concepts), alone)
        else:
            fresh = self._visit_again(seen, course)
        self._progress.visit(seen.frame.index, course)
        return fresh

    def _visit_again(self, seen: Seen, course: Course) -> FrameRecord:
        known, stale = self._recall(seen), self._progress.stale[course.reverse]
        names = [name for name in self.state.concepts if ("concept", name) in stale]
        changed = {object_id for object_id in self.state.object_ids if ("object", object_id) in stale}
        alone = [
            i
            for i, cohort in enumerate(self.state.cohorts)
            if cohort.concept not in names and changed.intersection(cohort.object_ids)
        ]
        if not names and not alone:
            return known
        fresh = self._step(seen, course, names, alone)
        return update(known, fresh, changed | self._members(names))

    def _members(self, names: Collection[str]) -> set[int]:
        return {i for cohort in self.state.cohorts if cohort.concept in names for i in cohort.object_ids}

    def _recall(self, seen: Seen) -> FrameRecord:
        record = self.history.records.get(seen.frame.index)
        if record is None:
            raise InputError(
                f"frame {seen.frame.index} was tracked, but of the results only the last {self.history.limit} frames "
                "are kept: open the video with a larger history_frames"
            )
        return replace(record, result=replace(record.result, image=seen.frame.pixels))

    @torch.inference_mode()
    def _step(self, seen: Seen, course: Course, names: Sequence[str], alone: Collection[int]) -> FrameRecord:
        """One step for some concepts, and for the cohorts at some places."""
        chosen = [self.state.concepts[name] for name in names]
        found = detect(self.model, seen.features, chosen, self.rules, self.size, self.calibration) if chosen else {}
        self.state, sightings = step(self._view(seen, course), self.state, found, alone, self._options())
        self._progress.ended |= sightings.removed
        return self._record(seen.frame, sightings)

    def _record(self, frame: Frame, sightings: Sightings) -> FrameRecord:
        result = FrameResult.of(
            index=frame.index,
            time=frame.time,
            size=self.size,
            ids=sightings.ids,
            concepts=sightings.concepts,
            scores=[self.state.scores[object_id] for object_id in sightings.ids],
            object_scores=sightings.object_scores,
            precedence=sightings.precedence,
            mask_logits=sightings.mask_logits,
            image=frame.pixels,
        )
        return FrameRecord(result=result, hidden=sightings.hidden, unconfirmed=sightings.unconfirmed)

    def _keep(self, record: FrameRecord) -> FrameRecord:
        """Takes a decided frame into the history, with the scores that its masklets have by now."""
        scores = [self.state.scores.get(object_id, 0.0) for object_id in record.result.ids.tolist()]
        record = replace(record, result=replace(record.result, scores=np.array(scores, dtype=np.float32)))
        self.history.store(record)
        return record

    def _preview(self, record: FrameRecord) -> FrameResult:
        """What a prompt gives at once: nothing waits, and the frame still has to be tracked."""
        return shown(self._keep(replace(record, unconfirmed=frozenset())), self._progress.ended)

    def _view(self, seen: Seen, course: Course) -> View:
        return View(tracker=self.model.detector.tracker, features=seen.look, frame=seen.frame.index, course=course)

    def _options(self) -> StepOptions:
        return StepOptions(rules=self.rules, size=self.size, memory_frames=self.memory_frames)

    def _new_buffer(self) -> DelayBuffer:
        return replace(DelayBuffer.of(self.rules), delay=self.delay if self.state.concepts else 0)

    def _settle(self, course: Course) -> None:
        """Takes the user's answers into the banks, now that tracking goes on."""
        for place, cohort in enumerate(self.state.cohorts):
            if cohort.answers:
                with torch.inference_mode():
                    settled = cohorts.settle(lambda frame: self._view(self._sight.at(frame), course), cohort)
                self.state = self.state.with_cohort(place, settled)

    def _place(self, object_id: int | None, seen: Seen) -> tuple[int, int]:
        """The id and the place of the cohort of an object that the user speaks of, which may be new."""
        object_id = self.state.next_id if object_id is None else object_id
        if object_id < 0:
            raise InputError(f"an object's id is not negative: {object_id}")
        place = self.state.cohort_of(object_id)
        place = self._admit(object_id) if place is None else place
        concepts, name = dict(self.state.concepts), self.state.cohorts[place].concept
        if name is not None:
            lifecycle = concepts[name].state.with_user_track(object_id, seen.frame.index, self.rules)
            concepts[name] = replace(concepts[name], state=lifecycle)
        self.state = replace(self.state, concepts=concepts, scores={**self.state.scores, object_id: 1.0})
        return object_id, place

    def _admit(self, object_id: int) -> int:
        """The place of a new object: in a cohort of its concept that was not tracked yet, or in one of its own."""
        concept = next(iter(self.state.concepts)) if len(self.state.concepts) == 1 else None
        known = self.state.cohorts
        place = next((i for i, c in enumerate(known) if c.concept == concept and not c.has_begun), len(known))
        cohort = known[place] if place < len(known) else Cohort(object_ids=(), concept=concept)
        next_id = max(self.state.next_id, object_id + 1)
        self.state = replace(self.state.with_cohort(place, cohort.join(object_id)), next_id=next_id)
        self._progress.ended.discard(object_id)
        return place

    def _answer(
        self, seen: Seen, object_id: int, place: int, cohort: Cohort, mask: Bool[np.ndarray, "height width"]
    ) -> FrameResult:
        """Takes the answer to a prompt into the session, and shows the frame with it."""
        self.state = self.state.with_cohort(place, cohort)
        self._mark(("object", object_id), seen.frame.index)
        known = self.history.records.get(seen.frame.index)
        mine = FrameResult(
            index=seen.frame.index,
            time=seen.frame.time,
            size=self.size,
            ids=np.array([object_id]),
            concepts=(cohort.concept or "",),
            scores=np.ones(1, dtype=np.float32),
            object_scores=np.ones(1, dtype=np.float32),
            precedence=np.ones(1, dtype=np.float32),
            rles=(rle_encode(mask),),
            image=seen.frame.pixels,
        )
        record = FrameRecord(result=mine[mask.any(keepdims=True).ravel()])
        if known is not None:
            record = replace(known, result=join(without(known.result, [object_id]), record.result))
        return self._preview(replace(record, hidden=record.hidden - {object_id}))

    def _mark(self, key: Key, frame: int) -> None:
        self._decide()  # what waited was before the correction
        self._progress.mark(key, frame)

    def _forget(self, object_ids: Collection[int]) -> None:
        self._decide()
        self.state = self.state.without(object_ids)
        self.history.drop(object_ids)
        self._progress.ended |= set(object_ids)
