"""The result of one frame of a video: which objects are visible, with which scores, and where.

Masks are kept as run lengths of their full size, a kilobyte or so each, so that the results of a long video fit in
memory and on disk. They become pixels only when asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from PIL import Image
from torch import Tensor

from masklet.cached import cached
from masklet.errors import InputError
from masklet.inference.result import CLICKED, Result, Row, box_entries, choose
from masklet.media.frames import Frame
from masklet.ops.enlarge import resize_mask_logits
from masklet.ops.masks import fills, mask_to_box, rle_area, rle_decode, rle_encode
from masklet.phrases import phrase_key

Numbers = Sequence[float | int] | np.ndarray | Tensor


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class FrameResult(Result):
    """The objects on frame `index`, at `time` seconds. Selecting (`[...]`, `for_concept`, `for_id`) gives another.

    `concepts` holds the phrase of each object, "" for one that was clicked. `scores` are those of the detections
    that the masklets began with (1 for what the user began), `object_scores` the probability that the object is visible
    on this frame. `rles` are COCO compressed counts of the masks as they are, which may overlap; where they do, the
    object of the highest `precedence` of a concept is in front. `clicked` are ids that the user began: one that joined
    a concept competes for its pixels, but goes by no phrase.
    """

    index: int
    time: float
    size: tuple[int, int]
    ids: Int64[np.ndarray, " object"]
    concepts: tuple[str, ...]
    scores: Float32[np.ndarray, " object"]
    object_scores: Float32[np.ndarray, " object"]
    precedence: Float32[np.ndarray, " object"]
    rles: tuple[str, ...]
    image: UInt8[np.ndarray, "height width 3"] | None = None
    clicked: frozenset[int] = frozenset()

    @classmethod
    def of(  # noqa: PLR0913 - one argument for each field
        cls,
        *,
        index: int,
        time: float | int,
        size: tuple[int, int],
        ids: Sequence[int] | np.ndarray | Tensor,
        concepts: Sequence[str],
        scores: Numbers,
        object_scores: Numbers,
        precedence: Numbers | None = None,
        mask_logits: Float[Tensor, "object cell_row cell_column"],
        image: UInt8[np.ndarray, "height width 3"] | None = None,
        clicked: frozenset[int] = frozenset(),
    ) -> "FrameResult":
        """From the small logits of the model, which are enlarged to `size`; objects of which nothing is left drop out.

        Without `precedence` the object of the highest score is in front.

        One object at a time: a mask at full size is two megabytes for a large video, and is gone once it is encoded.
        """
        logits = mask_logits.detach().cpu()
        masks = (resize_mask_logits(each[None], *size)[0].numpy() for each in logits)
        rles = tuple(rle_encode(mask) if mask.any() else "" for mask in masks)
        result = cls(
            index=index,
            time=float(time),
            size=size,
            ids=_array(ids).astype(np.int64),
            concepts=tuple(concepts),
            scores=_array(scores).astype(np.float32),
            object_scores=_array(object_scores).astype(np.float32),
            precedence=_array(object_scores if precedence is None else precedence).astype(np.float32),
            rles=rles,
            image=image,
            clicked=clicked,
        )
        return result[np.array([rle != "" for rle in rles], dtype=bool)]

    @classmethod
    def of_mask(
        cls,
        frame: Frame,
        mask: Bool[np.ndarray, "height width"],
        object_id: int,
        *,
        concept: str,
        clicked: frozenset[int] = frozenset(),
    ) -> "FrameResult":
        """One object that a user drew, with full scores; none where its mask is empty."""
        ones = np.ones(1, dtype=np.float32)
        result = cls(
            index=frame.index,
            time=frame.time,
            size=(mask.shape[0], mask.shape[1]),
            ids=np.array([object_id]),
            concepts=(concept,),
            clicked=clicked,
            scores=ones,
            object_scores=ones,
            precedence=ones,
            rles=(rle_encode(mask),),
            image=frame.pixels,
        )
        return result[mask.any(keepdims=True).ravel()]

    @classmethod
    def empty(cls, index: int, time: float, size: tuple[int, int]) -> "FrameResult":
        """A frame with nothing on it."""
        none = np.zeros(0, dtype=np.float32)
        return cls(
            index=index,
            time=time,
            size=size,
            ids=np.zeros(0, dtype=np.int64),
            concepts=(),
            scores=none,
            object_scores=none,
            precedence=none,
            rles=(),
        )

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> "FrameResult":
        """What `to_json` made. Raises: InputError when it is something else."""
        try:
            height, width = entry["size"]
            result = cls(
                index=int(entry["index"]),
                time=float(entry["time"]),
                size=(int(height), int(width)),
                ids=np.array(entry["ids"], dtype=np.int64),
                concepts=tuple(map(str, entry["concepts"])),
                scores=np.array(entry["scores"], dtype=np.float32),
                object_scores=np.array(entry["object_scores"], dtype=np.float32),
                precedence=np.array(entry["precedence"], dtype=np.float32),
                rles=tuple(map(str, entry["rles"])),
                clicked=frozenset(map(int, entry["clicked"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"this is no result of a frame: {error}") from error
        parts = (result.concepts, result.scores, result.object_scores, result.precedence, result.rles)
        if {len(part) for part in parts} - {len(result)}:
            raise InputError(f"the result of frame {result.index} names different numbers of objects")
        if result.index < 0 or any(not fills(rle, *result.size) for rle in result.rles):
            raise InputError(f"the result of frame {result.index} holds a mask that is not {width} x {height} pixels")
        return result

    def to_json(self) -> dict[str, Any]:
        """Everything but the image."""
        return {
            "index": self.index,
            "time": self.time,
            "size": list(self.size),
            "ids": self.ids.tolist(),
            "concepts": list(self.concepts),
            "scores": _short(self.scores),
            "object_scores": _short(self.object_scores),
            "precedence": _short(self.precedence),
            "rles": list(self.rles),
            "clicked": sorted(self.clicked & set(self.ids.tolist())),
        }

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        objects = zip(self.concepts, self.ids.tolist(), strict=True)
        listed = ", ".join(
            f"{'' if number in self.clicked else phrase} #{number}".strip() for phrase, number in objects
        )
        return f"FrameResult({self.index} at {self.time:.3f} s, {self.size[1]} x {self.size[0]}: {listed or 'nothing'})"

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray) -> "FrameResult":
        """The objects chosen by place, slice, list of places or array of bools; one place selects one."""
        chosen = choose(len(self), index)
        return replace(
            self,
            ids=self.ids[chosen],
            concepts=tuple(self.concepts[place] for place in chosen),
            scores=self.scores[chosen],
            object_scores=self.object_scores[chosen],
            precedence=self.precedence[chosen],
            rles=tuple(self.rles[place] for place in chosen),
        )

    @property
    def phrases(self) -> tuple[str, ...]:
        """The phrase of each object, "object" for one that was clicked."""
        named = zip(self.ids.tolist(), self.concepts, strict=True)
        return tuple(CLICKED if number in self.clicked else concept or CLICKED for number, concept in named)

    def counts(self) -> dict[str, int]:
        """How many objects of each phrase are on the frame."""
        return {phrase: self.phrases.count(phrase) for phrase in dict.fromkeys(self.phrases)}

    def summary(self) -> str:
        """One line for people: "frame 12 at 0.400 s: cup 2, object 1"."""
        found = ", ".join(f"{phrase} {count}" for phrase, count in self.counts().items())
        return f"frame {self.index} at {self.time:.3f} s: {found or 'nothing'}"

    def for_concept(self, phrase: str) -> "FrameResult":
        """The objects of one phrase; none when it is not on this frame."""
        return self[np.array([phrase_key(each) == phrase_key(phrase) for each in self.concepts], dtype=bool)]

    def for_id(self, object_id: int) -> "FrameResult":
        """One object, or none when it is not on this frame."""
        return self[self.ids == object_id]

    def mask(self, index: int) -> Bool[np.ndarray, "height width"]:
        """The mask of one object as it is, whatever it overlaps."""
        return rle_decode(self.rles[index], *self.size)

    @cached
    def masks(self) -> Bool[np.ndarray, "object height width"]:
        """All masks with overlaps resolved: a pixel goes to the object of the highest precedence, or to the first.

        This holds within a concept: an object of two phrases is whole for both.
        """
        masks = np.zeros((len(self), *self.size), dtype=bool)
        free = {concept: np.ones(self.size, dtype=bool) for concept in self.concepts}
        for place in np.argsort(-self.precedence, kind="stable").tolist():
            concept = self.concepts[place]
            masks[place] = self.mask(place) & free[concept]
            free[concept] &= ~masks[place]
        return masks

    @cached
    def boxes(self) -> Float32[np.ndarray, "object 4"]:
        """Tightest boxes, xyxy in pixels, around the masks as they are."""
        boxes = [mask_to_box(self.mask(place)) or (0, 0, 0, 0) for place in range(len(self))]
        return np.array(boxes, dtype=np.float32).reshape(-1, 4)

    @cached
    def areas(self) -> Int64[np.ndarray, " object"]:
        """Pixels of each mask as it is."""
        return np.array([rle_area(rle) for rle in self.rles], dtype=np.int64)

    def plot(self, image: UInt8[np.ndarray, "height width 3"] | None = None) -> Image.Image:
        """The frame with masks and tags, in colours that stay with the ids; `image` is needed where none was kept."""
        from masklet.inference.output.overlays import frame_overlay

        return Image.fromarray(frame_overlay(self, image))

    def to_rows(self) -> list[Row]:
        """A dict for each object: frame, time, id, phrase, score, object_score, x0, y0, x1, y1 and area."""
        return [
            {
                "frame": self.index,
                "time": self.time,
                "id": int(self.ids[place]),
                "phrase": phrase,
                "score": round(float(self.scores[place]), 5),
                "object_score": round(float(self.object_scores[place]), 5),
                **box_entries(self.boxes[place]),
                "area": int(self.areas[place]),
            }
            for place, phrase in enumerate(self.phrases)
        ]

    def to_supervision(self) -> Any:
        """`supervision.Detections` with the ids as tracker ids; needs the package `supervision`."""
        from masklet.inference.output.frame_export import frame_to_supervision

        return frame_to_supervision(self)

    def to_coco(self) -> dict[str, Any]:
        """A COCO data set of this frame; annotations also carry `track_id`."""
        from masklet.inference.output.frame_export import frame_to_coco

        return frame_to_coco(self)


def _array(values: Numbers) -> np.ndarray:
    if not isinstance(values, Tensor):
        return np.asarray(values)
    values = values.detach().cpu()
    return (values.float() if values.is_floating_point() else values).numpy()


def _short(values: np.ndarray) -> list[float]:
    """The shortest decimals that give the same float32 back."""
    return [float(str(value)) for value in values]
