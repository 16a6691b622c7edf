"""The unit of supervision: one image, its objects, and the phrases asked of it.

Every source (COCO, SA-Co, generated scenes, composed cut-outs) yields `Example`s; transforms map `Example` to
`Example`; the collator turns a list of them into tensors.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8


@dataclass(frozen=True, kw_only=True)
class PhraseQuery:
    """A noun phrase asked of an image and its objects; no objects means the concept is absent.

    `exhaustive` is False when instances may be unlabelled, so that an unmatched detection is not an error. `located` is
    False when the image is known to show the concept, but not where: it has no objects then, and is not exhaustive.
    """

    phrase: str
    object_index: tuple[int, ...]
    exhaustive: bool = True
    located: bool = True

    @classmethod
    def somewhere(cls, phrase: str) -> "PhraseQuery":
        """The query of a phrase that an image is labelled with as a whole."""
        return cls(phrase=phrase, object_index=(), exhaustive=False, located=False)


@dataclass(frozen=True, kw_only=True)
class Example:
    """One image with its labelled objects and queries.

    Boxes are xyxy pixels; `mask_valid` is False for objects that are labelled by a box alone. `absent` are phrases
    known to be absent from the image, whether they are asked or not.
    """

    image: UInt8[np.ndarray, "height width 3"]
    boxes_xyxy: Float32[np.ndarray, "object 4"]
    masks: Bool[np.ndarray, "object height width"]
    mask_valid: Bool[np.ndarray, " object"]
    queries: tuple[PhraseQuery, ...]
    source: str
    absent: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Frames whose objects keep their index: the same index is the same object, an empty mask says it is not seen.

    The phrases are the same in all frames; their objects are those that can be seen in the frame.
    """

    frames: tuple[Example, ...]
