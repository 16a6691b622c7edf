"""A photo that somebody works on: what is asked, clicked and drawn, with undo, kept on disk after every change.

The folder of a session holds the image as it came, the history, and the encoding once that was let go from memory. The
encoding may be deleted at any time: it is made again when it is needed.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from masklet.engine.records import MaskRow
from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.inference.image.encoding_file import read_encoding, write_encoding
from masklet.inference.image.image_session import ImageSession, KeptConcept
from masklet.ops.masks import deepest_point, rle_area, rle_decode, rle_encode
from masklet.ops.runs import RunTable, iou_table
from masklet.phrases import phrase_key
from masklet.protocols import Instances
from masklet.serve.encoding import box_of
from masklet.serve.model_host import ModelHost
from masklet.serve.problems import HttpProblem
from masklet.serve.schemas import (
    DrawBody,
    ExemplarBody,
    FindBody,
    HandTask,
    ObjectsBody,
    PhotoClickBody,
    PhotoView,
    RleMask,
)
from masklet.serve.segmenting import answer_question
from masklet.serve.sessions.about import About
from masklet.serve.sessions.concept_bank import first_example
from masklet.serve.sessions.photo_state import (
    Change,
    PhotoConcept,
    PhotoHistory,
    PhotoObject,
    PhotoState,
    digest_of,
    pack_history,
    unpack_history,
)
from masklet.serve.sessions.photo_view import view_of
from masklet.serve.sessions.tiles import FOLDER, make_tiles, tile_file

FLOOR = 0.1  # scores from here on are kept, so that the threshold may be moved without asking again
MOST_FOUND = 2000
SAME_IOU = 0.7  # from here on what is found is an object that is there
SURE_LOGIT = 8.0  # of a mask that is given to the click head
IMAGE, HISTORY, TASK, ENCODING = "image", "history.json", "task.json", "encoding.pt"


class PhotoWork:
    """One photo session. Its methods may be called by any thread; one at a time does its work."""

    kind = "photo"

    def __init__(
        self,
        folder: Path,
        about: About,
        host: ModelHost,
        read: Callable[[bytes], np.ndarray],
        grown: Callable[[str], object],
    ) -> None:
        self.folder, self.about, self.host, self.read, self.grown = folder, about, host, read, grown
        self.name, self.size = about.name, about.size
        self.lock = threading.RLock()
        self.used = time.time()
        self.history, self.masks = PhotoHistory(), {}
        if (folder / HISTORY).is_file():
            self.used = (folder / HISTORY).stat().st_mtime
            self.history, self.masks = unpack_history((folder / HISTORY).read_bytes())
        path = folder / TASK
        self.task = HandTask.model_validate_json(path.read_bytes()) if path.is_file() else None
        self._session: ImageSession | None = None
        self._bytes_on_disk = 0  # of the session's, when its encoding was last written or read
        self._pixels: np.ndarray | None = None

    # --- the image ------------------------------------------------------------------------------------------------

    @property
    def pixels(self) -> np.ndarray:
        """The image, read again where it was let go."""
        pixels = self._pixels
        if pixels is None:
            self._pixels = pixels = self.read((self.folder / IMAGE).read_bytes())
            self.grown(self.folder.name)
        return pixels

    def tile(self, level: int, column: int, row: int) -> bytes:
        """A tile of the image as a JPEG; all are made when the first is asked for. Raises: HttpProblem (404)."""
        if not (self.folder / FOLDER).is_dir():
            with self.lock:
                make_tiles(self.folder, self.pixels)
        return tile_file(self.folder, level, column, row).read_bytes()

    @property
    def session(self) -> ImageSession:
        """The encoded image, from its file where it was let go."""
        if self._session is None:
            model = self.host.get()
            self._session = read_encoding(self.folder / ENCODING, model, self.pixels)
            self._bytes_on_disk = 0 if self._session is None else self._session.num_bytes
            self._session = self._session or model.open(self.pixels)
            self.grown(self.folder.name)
        return self._session

    @property
    def num_bytes(self) -> int:
        """Bytes in memory: pixels, features and masks."""
        total = sum(map(len, self.masks.values()))
        total += 0 if self._pixels is None else self._pixels.nbytes
        total += 0 if self._session is None else self._session.num_bytes
        return total

    def release(self) -> None:
        """Frees what can be read or made again; the encoding goes to a file, unless it lies there."""
        with self.lock:
            if self._session is not None:
                if self._session.num_bytes != self._bytes_on_disk and self.folder.is_dir():
                    # No room, which torch says in its own way: it is made again
                    with suppress(InputError, RuntimeError):
                        write_encoding(self.folder / ENCODING, self._session)
                self._session.close()
            self._session = self._pixels = None

    def save(self) -> None:
        """Writes the history; the image is there already."""
        write_atomically(self.folder / HISTORY, pack_history(self.history, self.masks))

    # --- changes --------------------------------------------------------------------------------------------------

    def find(self, body: FindBody) -> PhotoView:
        """Looks for concepts; those asked before are asked anew. Raises: InputError."""
        with self.lock:
            result = self.session.find(
                body.phrases or None, boxes=body.boxes or None, not_boxes=body.not_boxes or None, threshold=FLOOR
            )
            asked = body.phrases[:1] or [""]
            examples = {asked[0]: (tuple(body.boxes), tuple(body.not_boxes))} if body.boxes or body.not_boxes else {}
            return self._take_found(result, body.phrases or [""], examples)

    def add_exemplar(self, body: ExemplarBody) -> PhotoView:
        """Asks a concept again with one more example, or begins one of examples alone. Raises: InputError."""
        with self.lock:
            known = self._concept(body.phrase)
            if known and known.kept:
                raise InputError(
                    f"the examples of {known.phrase!r} are on another photo: begin with a phrase of this one"
                )
            boxes = (*(known.boxes if known else ()), *([body.box] if body.positive else []))
            others = (*(known.not_boxes if known else ()), *([] if body.positive else [body.box]))
            phrase = known.phrase if known else body.phrase
            result = self.session.find(
                phrase or None, boxes=list(boxes) or None, not_boxes=list(others) or None, threshold=FLOOR
            )
            return self._take_found(result, [phrase], {phrase: (boxes, others)})

    def keep_concept(self, phrase: str) -> tuple[KeptConcept, np.ndarray]:
        """A concept for other photos, and the pixels of its first example. Raises: InputError when it has none."""
        with self.lock:
            known = self._concept(phrase)
            if known is None or not known.boxes:
                raise InputError("a concept is kept with its examples: draw a box around one first")
            others = list(known.not_boxes) or None
            session = self.session
            with self.host.lane.turn():
                kept = session.keep(known.phrase or None, boxes=list(known.boxes), not_boxes=others)
            return kept, first_example(self.pixels, known.boxes[0])

    def find_like(self, name: str, kept: KeptConcept, key: str) -> PhotoView:
        """Looks for a kept concept. Raises: InputError for one of another model."""
        with self.lock:
            result = self.session.find_like(kept, threshold=FLOOR)
            concept = PhotoConcept(phrase=name, presence=round(float(result.presence[kept.phrase]), 5), kept=key)
            return self.change(lambda state: self._with_found(state, concept, result, range(len(result)), "phrase"))

    def ask(self, text: str) -> PhotoView:
        """Answers a sentence. Raises: InputError naming the word that is not understood."""
        with self.lock:
            answer = answer_question(self.session, text, FLOOR)
            presence = min((float(value) for value in answer.presence.values()), default=0.0)
            lines = tuple(answer.explain().splitlines())
            concept = PhotoConcept(phrase=text, presence=round(presence, 5), explanation=lines)
            return self.change(lambda state: self._with_found(state, concept, answer, range(len(answer)), "query"))

    def click(self, body: PhotoClickBody) -> PhotoView:
        """Adds clicks to an object and redraws it, or begins one. Raises: InputError, HttpProblem (404)."""
        with self.lock:
            known = None if body.object is None else self._object(body.object)
            points = (*(known.points if known else ()), *body.points)
            labels = (*(known.labels if known else ()), *body.labels)
            around = body.box or (known.around if known else None)
            start = known.prompt or (known.mask if known.source != "click" else None) if known else None
            prompt = None if start is None else self._logits(start)
            result = self.session.click(list(points), list(labels), box=around, mask=prompt)
            mask = result.mask(0)
            made = self._object_of(mask, known, body.phrase, float(result.iou_scores[0]), "click")
            made = replace(made, points=points, labels=labels, around=around, prompt=start)
            return self.change(lambda state: _put(state, made, known))

    def draw(self, body: DrawBody) -> PhotoView:
        """Takes a mask drawn by hand, as it is or as a prompt. Raises: InputError, HttpProblem (404)."""
        with self.lock:
            known = None if body.object is None else self._object(body.object)
            mask = self._decode(body.mask)
            if body.as_prompt and mask.any():
                digest = self._keep(rle_encode(mask))
                # A mask alone says too little to a click head that learnt from clicks: its deepest point goes along
                _, x, y = deepest_point(mask)
                mask = self.session.click([(x, y)], [1], mask=self._logits(digest)).mask(0)
            if not mask.any():
                raise InputError("the mask is empty: delete the object instead")
            made = self._object_of(mask, known, body.phrase, 1.0, "hand")
            return self.change(lambda state: _put(state, made, known))

    def edit(self, body: ObjectsBody) -> PhotoView:
        """Deletes, joins, parts or changes objects. Raises: HttpProblem (404) when one is not there."""
        with self.lock:
            chosen = [self._object(each) for each in dict.fromkeys(body.objects)]
            actions: dict[str, Change] = {
                "delete": lambda state: state.with_objects(tuple(o for o in state.objects if o not in chosen)),
                "merge": lambda state: self._merged(state, chosen),
                "split": lambda state: self._split(state, chosen),
                "fill_holes": lambda state: self._filled(state, chosen),
                "update": lambda state: _updated(state, chosen, body),
            }
            return self.change(actions[body.action])

    def forget(self, phrase: str) -> PhotoView:
        """Takes a concept away, and its objects that are not locked."""
        with self.lock:
            key = phrase_key(phrase)

            def without(state: PhotoState) -> PhotoState:
                concepts = tuple(each for each in state.concepts if phrase_key(each.phrase) != key)
                kept = tuple(o for o in state.objects if phrase_key(o.phrase) != key or o.locked)
                return replace(state, concepts=concepts, objects=kept)

            return self.change(without)

    def set_threshold(self, threshold: float) -> PhotoView:
        """Moves the cut; nothing is computed."""
        with self.lock:
            version = self.history.version + 1
            self.history = replace(self.history, threshold=threshold, version=version)
            self.save()
            return self.view()

    def undo(self) -> PhotoView:
        """One step back."""
        return self._move(PhotoHistory.back)

    def redo(self) -> PhotoView:
        """One step forth."""
        return self._move(PhotoHistory.forth)

    def view(self) -> PhotoView:
        """The session as it stands."""
        with self.lock:
            return view_of(self.about, self.folder.name, self.history, self.masks, self.task)

    def begin_task(self, task: HandTask, masks: Sequence[MaskRow]) -> None:
        """Makes the session work for a project, which begins with masks that stay until a person changes them."""
        with self.lock:
            rows = [(place, each, self._keep(each.counts)) for place, each in enumerate(masks, start=1)]
            objects = tuple(
                PhotoObject(
                    id=place,
                    phrase=task.phrase,
                    score=each.score,
                    box=each.box,
                    area=rle_area(each.counts),
                    mask=digest,
                    source="hand",
                )
                for place, each, digest in rows
            )
            self.history = PhotoHistory(now=PhotoState(objects=objects, next_id=len(objects) + 1))
            self.save()
            write_atomically(self.folder / TASK, task.model_dump_json())
            self.task = task

    def change(self, change: Change) -> PhotoView:
        """Makes a step of the history and writes it, before anybody is told."""
        with self.lock:
            return self._move(lambda history: history.step(change(history.now)))

    # --- inside ---------------------------------------------------------------------------------------------------

    def _move(self, move: Callable[[PhotoHistory], PhotoHistory]) -> PhotoView:
        with self.lock:
            before = self.history
            self.history = move(before)
            try:
                self.save()
            except Exception as error:
                self.history = before
                if isinstance(error, InputError):
                    raise HttpProblem(507, str(error)) from error
                raise
            needed = self.history.masks()
            self.masks = {digest: counts for digest, counts in self.masks.items() if digest in needed}
            return self.view()

    def _take_found(
        self, result: Instances, phrases: Sequence[str], examples: "dict[str, tuple[tuple, tuple]]"
    ) -> PhotoView:
        """Puts what was found in place of what was found of the same concepts before."""

        def found(state: PhotoState) -> PhotoState:
            for phrase, (query, presence) in zip(phrases, result.presence.items(), strict=False):
                boxes, others = examples.get(phrase, ((), ()))
                concept = PhotoConcept(
                    phrase=phrase, presence=round(float(presence), 5), boxes=tuple(boxes), not_boxes=tuple(others)
                )
                places = [place for place, each in enumerate(result.phrases) if each == query]
                state = self._with_found(state, concept, result, places, "phrase")
            return state

        return self.change(found)

    def _with_found(
        self, state: PhotoState, concept: PhotoConcept, result: Instances, places: Sequence[int], source: str
    ) -> PhotoState:
        """Objects that a person touched stay: locked ones, and those that were clicked or drawn.

        What is found once more where one of the same phrase stays is left out.
        """
        kept = tuple(
            each
            for each in state.objects
            if each.phrase != concept.phrase or each.locked or each.source not in ("phrase", "query")
        )
        state = replace(state.with_concept(concept), objects=kept)
        same = [self.masks[each.mask] for each in kept if each.phrase == concept.phrase]
        staying = _runs(same, self.size)
        made: list[PhotoObject] = []
        for place in places[:MOST_FOUND]:
            mask = result.mask(place)
            if mask.any() and not (len(staying) and _overlap(mask, staying) >= SAME_IOU):
                each = self._object_of(mask, None, concept.phrase, float(result.scores[place]), source)
                made.append(replace(each, id=state.next_id + len(made)))
        return replace(state, objects=(*state.objects, *made), next_id=state.next_id + len(made))

    def _concept(self, phrase: str) -> PhotoConcept | None:
        key = phrase_key(phrase)
        return next((each for each in self.history.now.concepts if phrase_key(each.phrase) == key), None)

    def _object(self, number: int) -> PhotoObject:
        for each in self.history.now.objects:
            if each.id == number:
                return each
        raise HttpProblem(404, f"there is no object {number} in this photo any more")

    def _object_of(
        self, mask: np.ndarray, known: PhotoObject | None, phrase: str, score: float | int, source: str
    ) -> PhotoObject:
        digest, box, area = self._keep(rle_encode(mask)), box_of(mask), int(mask.sum())
        if known is not None:
            changed = replace(known, mask=digest, box=box, area=area, source=source, score=round(score, 5))
            return changed if source == "click" else replace(changed, points=(), labels=(), around=None, prompt=None)
        return PhotoObject(id=0, phrase=phrase, score=round(score, 5), box=box, area=area, mask=digest, source=source)

    def _keep(self, counts: str) -> str:
        digest = digest_of(counts)
        self.masks[digest] = counts
        return digest

    def _decode(self, mask: RleMask) -> np.ndarray:
        size = self.size
        if mask.size != size:
            raise InputError(f"the mask is of {mask.size[0]} x {mask.size[1]}, the photo {size[0]} x {size[1]}")
        try:
            return rle_decode(mask.counts, *size)
        except ValueError as error:
            raise InputError(f"the mask cannot be read: {error}") from error

    def _pixels_of(self, each: PhotoObject) -> np.ndarray:
        height, width = self.size
        return rle_decode(self.masks[each.mask], height, width)

    def _logits(self, digest: str) -> np.ndarray:
        """A mask as the click head takes it: small, and sure of itself."""
        height, width = self.size
        mask = rle_decode(self.masks[digest], height, width).astype(np.float32)
        grid = self.session.features.grid
        rows, columns = 4 * grid[0], 4 * grid[1]
        zoom = rows / height, columns / width
        small = np.asarray(ndimage.zoom(mask, zoom, order=1, grid_mode=True, mode="nearest"))
        return np.where(small > 0.5, SURE_LOGIT, -SURE_LOGIT).astype(np.float32)

    def _merged(self, state: PhotoState, chosen: Sequence[PhotoObject]) -> PhotoState:
        mask = np.any([self._pixels_of(each) for each in chosen], axis=0)
        made = self._object_of(mask, chosen[0], "", max(each.score for each in chosen), "hand")
        rest = tuple(each for each in state.objects if each not in chosen[1:])
        return _put(state.with_objects(rest), made, chosen[0])

    def _split(self, state: PhotoState, chosen: Sequence[PhotoObject]) -> PhotoState:
        for each in chosen:
            found: Any = ndimage.label(self._pixels_of(each), structure=np.ones((3, 3)))
            labelled, count = found
            sizes = ndimage.sum_labels(np.ones_like(labelled), labelled, range(1, count + 1))
            for place, part in enumerate(np.argsort(-np.asarray(sizes), kind="stable").tolist()):
                made = self._object_of(labelled == part + 1, each if place == 0 else None, each.phrase, 1.0, "hand")
                state = _put(state, made, each if place == 0 else None)
        return state

    def _filled(self, state: PhotoState, chosen: Sequence[PhotoObject]) -> PhotoState:
        for each in chosen:
            mask = np.asarray(ndimage.binary_fill_holes(self._pixels_of(each)), bool)
            state = _put(state, self._object_of(mask, each, each.phrase, 1.0, "hand"), each)
        return state


def _overlap(mask: np.ndarray, others: RunTable) -> float:
    """The largest intersection over union of a mask with one of the others."""
    own = _runs([rle_encode(mask)], (mask.shape[0], mask.shape[1]))
    return float(iou_table(own, others).max())


def _runs(counts: Sequence[str], size: tuple[int, int]) -> RunTable:
    return RunTable.of(counts, [size[0]] * len(counts), [size[1]] * len(counts))


def _put(state: PhotoState, made: PhotoObject, known: PhotoObject | None) -> PhotoState:
    """An object in the place of the one that it was, or as a new one at the end."""
    if known is not None:
        return state.with_objects(tuple(made if each.id == known.id else each for each in state.objects))
    objects = (*state.objects, replace(made, id=state.next_id))
    return replace(state, objects=objects, next_id=state.next_id + 1)


def _updated(state: PhotoState, chosen: Sequence[PhotoObject], body: ObjectsBody) -> PhotoState:
    said = {"hidden": body.hidden, "locked": body.locked, "phrase": body.phrase}
    changes = {name: value for name, value in said.items() if value is not None}
    ids = {each.id for each in chosen}
    return state.with_objects(tuple(replace(o, **changes) if o.id in ids else o for o in state.objects))
