"""A session on a video: concepts and objects are prompted on any frame, tracked, corrected, and tracked on.

Here is the edge to the user. What must be tracked on a frame is decided by `schedule`, what happens there is
`step.step`, and when its result is given is the matter of `result_queue`.
"""

from collections.abc import Collection, Iterator
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
from numpy.typing import ArrayLike

from masklet.checkpoints.configs import to_dict
from masklet.errors import InputError
from masklet.formats.calibration import Calibration
from masklet.inference.concepts import (
    Box,
    Boxes,
    Labels,
    Phrases,
    Points,
    Whole,
    read_concepts,
    read_frame,
    read_mask,
    read_rows,
    read_whole,
)
from masklet.inference.image.clicks import click_prompt
from masklet.inference.predictor import Predictor
from masklet.inference.rules.rules import Rules
from masklet.inference.video import cohorts
from masklet.inference.video.archive import Json, TensorStore, write_archive
from masklet.inference.video.cohorts import Cohort, FrameView
from masklet.inference.video.detect import detect
from masklet.inference.video.emission import DelayBuffer
from masklet.inference.video.features import FrameCache, FrameFeatures
from masklet.inference.video.frame_result import FrameResult
from masklet.inference.video.history import History, join, update, without
from masklet.inference.video.records import FrameRecord, SessionState, VideoConcept
from masklet.inference.video.result_queue import ResultQueue
from masklet.inference.video.saving import (
    check_state,
    pack_frames,
    pack_progress,
    pack_record,
    pack_state,
    unpack_frames,
    unpack_progress,
    unpack_record,
    unpack_state,
)
from masklet.inference.video.schedule import FrameWork, Key, Schedule
from masklet.inference.video.step import StepOptions, step
from masklet.inference.video.views import ExclusiveView, FrameAnswer, QuestionView
from masklet.media.frames import FrameSource, check_kept
from masklet.media.images import ImageSource, read_image
from masklet.models.memory_bank import Traversal
from masklet.models.tracker import MASK_CELLS
from masklet.ops.components import fill_small
from masklet.query.english import read_question
from masklet.query.nodes import Node, check_plain, phrases

Direction = Literal["forward", "backward", "both"]


class VideoSession(AbstractContextManager["VideoSession"]):
    """Tracks concepts and objects through a video. Made by `Model.open_video`."""

    def __init__(
        self,
        predictor: Predictor,
        source: FrameSource | None,
        rules: Rules,
        *,
        delay: int | None,
        history_frames: int | None,
        memory_frames: int,
        calibration: Calibration | None = None,
    ) -> None:
        self.predictor = predictor
        self.calibration = calibration
        self.rules = rules
        self.memory_frames = memory_frames
        self.delay = rules.confirmation_delay if delay is None else delay
        self.state = SessionState()
        self.cache = FrameCache(predictor, source)
        self.schedule = Schedule()
        self.results = ResultQueue(history=History(history_frames), buffer=self._new_buffer())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the video and frees the features of its frames."""
        self.cache.close()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the video."""
        return self.cache.size

    @property
    def fps(self) -> float | None:
        """Frames a second, where they are known."""
        return self.cache.fps

    @property
    def num_frames(self) -> int | None:
        """How many frames the video has, where that is known."""
        return self.cache.num_frames

    @property
    def object_ids(self) -> tuple[int, ...]:
        """All objects that are tracked now."""
        return tuple(sorted(self.state.object_ids))

    # --- prompts --------------------------------------------------------------------------------------------------

    def add_concept(
        self,
        phrase: Phrases = None,
        *,
        boxes: Boxes = (),
        not_boxes: Boxes = (),
        frame: Whole | None = None,
    ) -> FrameResult:
        """Tracks every instance of a phrase, of examples, or of both, from any frame on; returns those on that frame.

        A list of phrases is as many concepts. `boxes` and `not_boxes` are xyxy in pixels of `frame`, by default the
        frame used last, or the first; they go with one phrase or none, and hold for all frames. A phrase that is
        already tracked is asked again, with the new examples in place of the old. A session may track several concepts;
        none disturbs another.

        On a live stream phrases may be given before the first frame; they wait for it, and the result is empty.

        Raises: InputError on a phrase, a box or a frame that cannot be used.
        """
        if frame is None and not self.cache.has_begun:
            return self._await_concepts(phrase, boxes, not_boxes)
        features = self.cache.at(read_frame(frame))
        names = []
        for concept in read_concepts(phrase, boxes, not_boxes, self.size, self.predictor.tokenizer):
            tokens, name = None, self.state.name_of(concept.phrase) or concept.phrase
            if concept.boxes:
                tokens = self.predictor.example_tokens(features.for_detector, concept, self.size)
            self.state = self.state.with_concept(VideoConcept(name=name, concept=concept, tokens=tokens))
            self._mark(("concept", name), features.frame.index)
            names.append(name)
        work = FrameWork(concepts=tuple(names), cohorts=())
        fresh = self._track(features, Traversal(num_frames=self.num_frames), work)
        known = self.results.history.records.get(fresh.frame, fresh)
        return self.results.preview(update(known, fresh, self.state.members(names)), self.state.scores)

    def _await_concepts(self, phrase: Phrases, boxes: Boxes, not_boxes: Boxes) -> FrameResult:
        """Takes phrases into a stream that has no frame yet: the first one pushed is asked for them."""
        if len(read_rows(boxes, 4, "box")) or len(read_rows(not_boxes, 4, "box")):
            raise InputError("example boxes lie on a frame, and none was pushed yet: push it first, or give a phrase")
        for concept in read_concepts(phrase, (), (), (0, 0), self.predictor.tokenizer):
            name = self.state.name_of(concept.phrase) or concept.phrase
            self.state = self.state.with_concept(VideoConcept(name=name, concept=concept))
        return FrameResult.empty(0, 0.0, (0, 0))

    def remove_concept(self, phrase: str) -> None:
        """Ends a concept and all of its objects. Raises: InputError when it was not tracked."""
        known = self.state.name_of(phrase)
        if known is None:
            raise InputError(f"{phrase!r} is not tracked; there are {', '.join(self.state.concepts) or 'no concepts'}")
        self._forget(self.state.members([known]))
        concepts = {name: concept for name, concept in self.state.concepts.items() if name != known}
        self.state = replace(self.state, concepts=concepts)

    def click(
        self,
        object_id: Whole | None,
        frame: Whole | None,
        points: Points = (),
        labels: Labels = (),
        *,
        box: Box | None = None,
        add: bool = False,
    ) -> FrameResult:
        """Corrects an object, or begins one, by points (x, y in pixels; label 1 on it, 0 off it) or a box.

        An unused id begins an object, and so does None. Clicks replace those given before for this object on this
        frame, unless `add`. Where exactly one concept is tracked, a new object belongs to it.

        Raises: InputError when the prompt or the frame cannot be used.
        """
        features = self.cache.at(read_frame(frame))
        grid = features.for_tracker.coarse.shape[-2:]
        mask_size = (MASK_CELLS * grid[0], MASK_CELLS * grid[1])
        prompt = click_prompt(points, labels, box, None, self.size, self.predictor.image_size, mask_size)
        object_id, place = self._admit(object_id, features)
        view = self._view(features, Traversal(num_frames=self.num_frames))
        with torch.inference_mode():
            prompt = prompt.to(self.predictor.device)
            cohort = cohorts.click(view, self.state.cohorts[place], object_id, prompt, add=add)
            memory = cohort.prompted[features.frame.index][object_id].memory
            logits = F.interpolate(memory.mask_logits[None], self.size, mode="bilinear")[0]
            mask = fill_small(logits, self.rules.fill_area)[0] > 0
        return self._show_prompted(features, object_id, place, cohort, mask.cpu().numpy())

    def add_mask(self, object_id: Whole | None, frame: Whole | None, mask: ArrayLike | torch.Tensor) -> FrameResult:
        """Corrects an object, or begins one, by its mask at the size of the video: bools, or 0 and one other number.

        Raises: InputError when the mask, the id or the frame cannot be used.
        """
        features = self.cache.at(read_frame(frame))
        mask = read_mask(mask, self.size)
        object_id, place = self._admit(object_id, features)
        view = self._view(features, Traversal(num_frames=self.num_frames))
        with torch.inference_mode():
            pixels = torch.from_numpy(mask).to(self.predictor.device)
            cohort = cohorts.draw(view, self.state.cohorts[place], object_id, pixels)
        return self._show_prompted(features, object_id, place, cohort, mask)

    def remove(self, object_id: Whole) -> None:
        """Ends an object. Raises: InputError when no object has that id."""
        object_id = read_whole(object_id, "an object's id")
        self._place_of(object_id)
        self._forget([object_id])

    def clear(self, object_id: Whole, frame: Whole) -> None:
        """Takes back what the user prompted of one object on one frame; the next run tracks it anew from there.

        A frame that no other prompt holds conditions nobody any more. An object without any prompt left ends.

        Raises: InputError when the object was not prompted there.
        """
        object_id, frame = read_whole(object_id, "an object's id"), read_whole(frame, "the number of a frame")
        place = self._place_of(object_id)
        if not self.state.cohorts[place].is_prompted(object_id, frame):
            raise InputError(f"object {object_id} has no prompt on frame {frame} to take back")
        before = set(self.state.object_ids)
        self._mark(("object", object_id), frame)
        self.state = self.state.without_prompts(object_id, frame)
        self.results.history.drop([object_id], frames=[frame])
        if not any(cohort.is_prompted(other, frame) for cohort in self.state.cohorts for other in cohort.object_ids):
            self.schedule.unprompt(frame)
        self.results.forget(before - set(self.state.object_ids))

    # --- tracking -------------------------------------------------------------------------------------------------

    def track(
        self,
        direction: Direction = "forward",
        *,
        start: Whole | None = None,
        stop: Whole | None = None,
        step: Whole = 1,
        exclusive: bool = False,
        together: Collection[tuple[str, str]] = (),
    ) -> Iterator[FrameResult]:
        """The frames from `start` on, as they are decided; `stop` is the first that is not visited.

        By default from the first frame that changed since it was tracked, or that was ever prompted. Backward, `start`
        is visited as well; "both" goes forward, then backward from the frame before. Frames that were tracked come
        from the history, apart from what was corrected since. New masklets show after the confirmation delay, so
        results of concepts come that many frames late. With `exclusive` a thing that is tracked under several phrases
        keeps one owner; see `ImageResult.exclusive`.

        Raises: InputError when there is nothing to track or no such frame, or the session or its stream has ended.
        """
        self.cache.check_open()
        if direction not in ("forward", "backward", "both"):
            raise InputError(f"direction {direction!r} is not forward, backward or both")
        if not self.state.concepts and not self.state.cohorts:
            raise InputError("nothing to track: call add_concept, click or add_mask first")
        step, stop = read_whole(step, "a step in frames", least=1), None if stop is None else int(stop)
        begin = self.schedule.first_changed() if start is None else int(start)
        if self.num_frames is not None and begin >= self.num_frames:
            raise InputError(f"the video has {self.num_frames} frames, and none of number {begin}")
        if direction != "backward" and self.cache.has_ended and not self.results.pending:
            raise InputError(f"the stream has ended after {self.num_frames} frames: there is nothing left to track")
        frames = self._run_all(direction, begin, stop, step)
        return map(ExclusiveView(together=together), frames) if exclusive else frames

    def ask(
        self, question: str | Node, *, start: Whole | None = None, stop: Whole | None = None, step: Whole = 1
    ) -> Iterator[FrameAnswer]:
        """What answers a compound question, frame by frame, as `Model.ask` reads it; an identity that answers does not
        flicker. Its concepts are tracked as by `add_concept`. Raises: InputError naming a word that cannot be placed.
        """
        node = read_question(question)[0].node if isinstance(question, str) else question
        check_plain(node)
        for phrase in phrases(node):
            if self.state.name_of(phrase) is None:
                self.add_concept(phrase, frame=start)
        return map(QuestionView(question=node), self.track(start=start, stop=stop, step=step))

    def push(self, pixels: ImageSource, time: float | None = None) -> FrameResult | None:
        """The next frame of a live stream. Returns the result whose delay is over, if one is; see also `flush`."""
        features = self.cache.push(read_image(pixels), time)
        if not self.results.buffer.waiting:
            self.results.buffer = self._new_buffer()
        self.results.wait(self._visit(features, Traversal()), self.state.scores)
        return next(self.results.take_due(self.cache.pixels), None)

    def flush(self) -> list[FrameResult]:
        """The results that still wait, when no more frames come or none shall wait."""
        self.results.decide(self.state.scores)
        return list(self.results.take_due(self.cache.pixels))

    # --- saving ---------------------------------------------------------------------------------------------------

    def save(self, path: str | PathLike[str]) -> None:
        """Writes everything but the video, so that `Model.resume_video` goes on from here with the same result.

        May be called between any two results. What waits to be shown is kept; `track` from the first frame that was not
        given yet, with the same step, goes on with it.

        Raises: InputError when the file cannot be written, or is the video itself.
        """
        if self.cache.source is not None:
            check_kept(self.cache.source, [Path(path)])
        store = TensorStore()
        document = {
            "config": to_dict(self.predictor.detector.config),
            "rules": asdict(self.rules),
            "calibration": None if self.calibration is None else self.calibration.to_json(),
            "options": {
                "delay": self.delay,
                "history_frames": self.results.history.limit,
                "memory_frames": self.memory_frames,
            },
            "state": pack_state(self.state, store),
            "history": [pack_record(record) for record in self.results.history.records.values()],
            "progress": pack_progress(self.schedule, self.results),
            "sight": pack_frames(self.cache, {f for cohort in self.state.cohorts for f in cohort.prompted}, store),
        }
        write_archive(Path(path), document, store)

    def restore(self, document: Json, store: TensorStore) -> None:
        """Takes what `save` wrote. Raises: KeyError, TypeError or ValueError when it is something else."""
        self.state = unpack_state(document["state"], store, self.predictor.device)
        check_state(self.state, self.predictor)
        for entry in document["history"]:
            self.results.history.store(unpack_record(entry))
        self.schedule = unpack_progress(document["progress"], self._new_buffer(), self.results)
        unpack_frames(document["sight"], store, self.cache)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _run_all(self, direction: Direction, start: int, stop: int | None, step: int) -> Iterator[FrameResult]:
        if direction == "backward":
            yield from self._run(start, stop, step, reverse=True)
        else:
            yield from self._run(start, stop, step, reverse=False)
        if direction == "both" and start >= step:
            yield from self._run(start - step, None, step, reverse=True)

    def _run(self, start: int, stop: int | None, step: int, *, reverse: bool) -> Iterator[FrameResult]:
        """One way through the video. What waits when the caller stops goes on waiting, for a run that goes on there."""
        # Go on with what is pending, or begin anew
        results, traversal = self.results, Traversal(reverse=reverse, stride=step, num_frames=self.num_frames)
        if results.continues(start, traversal, self.schedule.stale[reverse]):
            start = results.pending[-1].frame + traversal.step
        else:
            results.restart(self._new_buffer(), self.state.scores)
        results.traversal = traversal
        yield from results.take_due(self.cache.pixels)
        # Visit frames: new ones wait for the delay, known ones are due at once
        for frame in self.cache.frames(start, stop, step, reverse=reverse):
            is_known = frame.index in self.schedule.covered
            record = self._visit(self.cache.hold(frame), traversal)
            if is_known:
                results.decide(self.state.scores)
                results.due.append(results.keep(record, self.state.scores))
            else:
                results.wait(record, self.state.scores)
            yield from results.take_due(self.cache.pixels)
        results.decide(self.state.scores)
        yield from results.take_due(self.cache.pixels)

    def _visit(self, features: FrameFeatures, traversal: Traversal) -> FrameRecord:
        """Tracks on this frame what has to be: everything the first time, later what changed since."""
        self._settle(traversal)
        frame = features.frame.index
        work = self.schedule.work_on(frame, self.state, reverse=traversal.reverse)
        known = None if work.object_ids is None else self._recall(features)
        if known is not None and work.is_empty:
            record = known
        else:
            record = self._track(features, traversal, work)
            if known is not None and work.object_ids is not None:
                record = update(known, record, work.object_ids | self.state.members(work.concepts))
        self.schedule.visit(frame, traversal)
        return record

    def _recall(self, features: FrameFeatures) -> FrameRecord:
        frame, history = features.frame, self.results.history
        record = history.records.get(frame.index)
        if record is None:
            raise InputError(
                f"frame {frame.index} was tracked, but of the results only the last {history.limit} frames "
                "are kept: open the video with a larger history_frames"
            )
        return replace(record, result=replace(record.result, image=frame.pixels))

    @torch.inference_mode()
    def _track(self, features: FrameFeatures, traversal: Traversal, work: FrameWork) -> FrameRecord:
        """One step of the concepts and cohorts named; the state moves on."""
        chosen, detections = [self.state.concepts[name] for name in work.concepts], {}
        if chosen:
            detections = detect(self.predictor, features.for_detector, chosen, self.rules, self.size, self.calibration)
        options = StepOptions(rules=self.rules, size=self.size, memory_frames=self.memory_frames)
        self.state, tracked = step(self._view(features, traversal), self.state, detections, work.cohorts, options)
        self.results.ended |= tracked.removed
        result = FrameResult.of(
            index=features.frame.index,
            time=features.frame.time,
            size=self.size,
            ids=tracked.ids,
            concepts=tracked.concepts,
            clicked=self.state.clicked,
            scores=[self.state.scores[object_id] for object_id in tracked.ids],
            object_scores=tracked.object_scores,
            precedence=tracked.precedence,
            mask_logits=tracked.mask_logits,
            image=features.frame.pixels,
        )
        return FrameRecord(result=result, hidden=tracked.hidden, unconfirmed=tracked.unconfirmed)

    def _view(self, features: FrameFeatures, traversal: Traversal) -> FrameView:
        return FrameView(
            tracker=self.predictor.detector.tracker,
            features=features.for_tracker,
            frame=features.frame.index,
            traversal=traversal,
        )

    def _new_buffer(self) -> DelayBuffer:
        return replace(DelayBuffer.of(self.rules), delay=self.delay if self.state.concepts else 0)

    def _settle(self, traversal: Traversal) -> None:
        """Takes the user's prompts into the memory banks, now that tracking goes on."""
        settled: list[Cohort] = []
        with torch.inference_mode():
            for cohort in self.state.cohorts:
                parts = cohorts.part(cohort)
                settled += [cohorts.settle(lambda f: self._view(self.cache.at(f), traversal), each) for each in parts]
        self.state = replace(self.state, cohorts=tuple(settled))

    def _place_of(self, object_id: int) -> int:
        """The place of an object's cohort. Raises: InputError when no object has that id."""
        place = self.state.cohort_of(object_id)
        if place is None:
            known = ", ".join(map(str, self.object_ids)) or "none"
            raise InputError(f"there is no object {object_id}; there are {known}")
        return place

    def _admit(self, object_id: Whole | None, features: FrameFeatures) -> tuple[int, int]:
        """The id of an object that a user prompts, which may be new, and the place of its cohort."""
        object_id = self.state.next_id if object_id is None else read_whole(object_id, "an object's id")
        if object_id not in self.state.object_ids:
            self.results.ended.discard(object_id)
        self.state, place = self.state.with_user_object(object_id, features.frame.index, self.rules)
        return object_id, place

    def _show_prompted(
        self,
        features: FrameFeatures,
        object_id: int,
        place: int,
        cohort: Cohort,
        mask: Bool[np.ndarray, "height width"],
    ) -> FrameResult:
        """Takes a prompted object into the session, and shows its frame with it."""
        self.state = self.state.with_cohort(place, cohort)
        self._mark(("object", object_id), features.frame.index)
        concept, clicked = cohort.concept or "", self.state.clicked
        shown = FrameResult.of_mask(features.frame, mask, object_id, concept=concept, clicked=clicked)
        record = FrameRecord(result=shown)
        known = self.results.history.records.get(features.frame.index)
        if known is not None:
            record = replace(known, result=join(without(known.result, [object_id]), record.result))
        record = replace(record, hidden=record.hidden - {object_id})
        return self.results.preview(record, self.state.scores)

    def _mark(self, key: Key, frame: int) -> None:
        self.results.decide(self.state.scores)  # what waited was before the correction
        self.schedule.mark(key, frame)

    def _forget(self, object_ids: Collection[int]) -> None:
        self.results.decide(self.state.scores)
        before = set(self.state.object_ids)
        self.state = self.state.without(object_ids)
        self.results.forget(before - set(self.state.object_ids))
