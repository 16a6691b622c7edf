"""The MOTChallenge layout: a line of text for each object on each frame."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MotBox:
    """An object on a frame. Frames and ids count from 0 here; the box is xywh in pixels, on pixel edges."""

    frame: int
    object_id: int
    box_xywh: Sequence[float]
    confidence: float

    def line(self) -> str:
        """frame, id, left, top, width, height, confidence, -1, -1, -1; frames, ids and pixels count from 1 there."""
        left, top, width, height = self.box_xywh
        place = f"{left + 1:g},{top + 1:g},{width:g},{height:g}"
        return f"{self.frame + 1},{self.object_id + 1},{place},{self.confidence:.4f},-1,-1,-1"
