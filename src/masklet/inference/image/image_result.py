"""What a user gets for one image: detections with their phrases, masks that become pixels only when asked for.

Masks are kept as the small logits the model made. Whoever asks for one mask pays for one; `masks` makes them all, a few
at a time, as bools. Drawing and exports go mask by mask, so a hundred instances on a large photo fit in memory.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from PIL import Image

from masklet.cached import cached
from masklet.inference.arbitration import owners
from masklet.inference.result import Result, Row, box_entries, choose
from masklet.ops.enlarge import resize_mask_logits
from masklet.phrases import phrase_key
from masklet.protocols import absence
from masklet.types import Detections


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ImageResult(Result):
    """Detections on one image, best first. Selecting (`[...]`, `filter`, `for_phrase`) gives another result.

    `queries` are the phrases asked for, in the order of the prompts in `detections`; a query without detections is
    absent. `path` is where the image came from, if it came from a file.
    """

    image: UInt8[np.ndarray, "height width 3"]
    detections: Detections
    queries: tuple[str, ...]
    path: Path | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.image.shape[0], self.image.shape[1]

    def __len__(self) -> int:
        return len(self.detections.scores)

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        return f"ImageResult({width} x {height}: {self.summary()})"

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray) -> "ImageResult":
        """The detections chosen by number, slice, list of numbers or array of bools; one number selects one."""
        chosen = choose(len(self), index)
        rows = torch.from_numpy(chosen).to(self.detections.scores.device)
        return replace(self, detections=self.detections.take(rows))

    def above(self, threshold: float) -> "ImageResult":
        """Detections whose score exceeds `threshold`."""
        return self[self.scores > threshold]

    def exclusive(self, together: Collection[tuple[str, str]] = ()) -> "ImageResult":
        """One owner a region: of instances that are one thing under several phrases the surest stays.

        Phrases compete unless one has the other's noun ("car", "red car", "car door") or their pair is in `together`.
        """
        return self[owners(self.phrases, self.scores, self.iou(self), together)]

    def for_phrase(self, phrase: str) -> "ImageResult":
        """Detections of one phrase, with its presence alone."""
        row = next((row for row, each in enumerate(self.queries) if phrase_key(each) == phrase_key(phrase)), None)
        if row is None:
            raise ValueError(f"{phrase!r} was not asked for; the phrases are {', '.join(map(repr, self.queries))}")
        phrase = self.queries[row]
        kept = self[np.array([each == phrase for each in self.phrases], dtype=bool)]
        presence = self.detections.presence[row : row + 1]
        detections = replace(
            kept.detections, prompt_index=torch.zeros_like(kept.detections.prompt_index), presence=presence
        )
        return replace(kept, detections=detections, queries=(phrase,))

    @cached
    def boxes(self) -> Float32[np.ndarray, "detection 4"]:
        """Boxes as xyxy pixels, cut at the border of the image (`detections.boxes_xyxy` are as predicted)."""
        height, width = self.image.shape[:2]
        boxes = self.detections.boxes_xyxy.detach().float().cpu().numpy()
        return np.clip(boxes, 0, np.array([width, height, width, height], dtype=np.float32))

    @cached
    def scores(self) -> Float32[np.ndarray, " detection"]:
        """Probability that each detection shows its phrase."""
        return self.detections.scores.detach().float().cpu().numpy()

    @property
    def ids(self) -> Int64[np.ndarray, " detection"]:
        """1, 2, ... in the order of the detections; the numbers on the overlay."""
        return np.arange(1, len(self) + 1)

    @cached
    def phrases(self) -> tuple[str, ...]:
        """The phrase of each detection."""
        return tuple(self.queries[index] for index in self.detections.prompt_index.tolist())

    @property
    def presence(self) -> dict[str, float]:
        """Probability of each phrase to be in the image at all."""
        return dict(zip(self.queries, self.detections.presence.tolist(), strict=True))

    @cached
    def areas(self) -> Int64[np.ndarray, " detection"]:
        """Pixels of each mask at the size of the image; every mask is made for it, one after another."""
        return np.array([mask.sum() for mask in self.iterate_masks()], dtype=np.int64)

    @cached
    def small_areas(self) -> Int64[np.ndarray, " detection"]:
        """Size of each mask in the cells of its small logits: costs next to nothing, good for sorting."""
        return (self.detections.mask_logits > 0).sum((1, 2)).cpu().numpy()

    @cached
    def masks(self) -> Bool[np.ndarray, "detection height width"]:
        """All masks at the size of the image; made at the first use, then kept."""
        height, width = self.image.shape[:2]
        return resize_mask_logits(self.detections.mask_logits, height, width).cpu().numpy()

    def mask(
        self, index: int, size: tuple[int, int] | None = None, *, cut: float = 0.5
    ) -> Bool[np.ndarray, "height width"]:
        """One mask, at the size of the image or at `size` (height, width): pixels of a probability above `cut`."""
        height, width = size or self.image.shape[:2]
        logits = self.detections.mask_logits[index] - math.log(cut / (1 - cut))
        return resize_mask_logits(logits[None], height, width)[0].cpu().numpy()

    def iterate_masks(self) -> Iterator[Bool[np.ndarray, "height width"]]:
        """The masks one after another, without holding all of them."""
        return (self.mask(index) for index in range(len(self)))

    def counts(self) -> dict[str, int]:
        """How many instances of each phrase were found."""
        return {phrase: self.phrases.count(phrase) for phrase in self.queries}

    def absence(self, phrase: str) -> str:
        """Why there is no instance of a phrase, in words."""
        return absence(self.presence[phrase])

    def summary(self) -> str:
        """One line for people: "coin 24, cat absent (presence 0.02), dog none above the threshold (presence 0.93)"."""
        return ", ".join(
            f"{phrase} {count}" if count else f"{phrase} {self.absence(phrase)} (presence {presence:.2f})"
            for (phrase, count), presence in zip(self.counts().items(), self.presence.values(), strict=True)
        )

    def plot(self, *, legend: bool = True, scale: int | None = None) -> Image.Image:
        """The image with masks, tags and a line of counts; small images are enlarged unless `scale` is 1."""
        from masklet.inference.output.overlays import image_overlay

        return image_overlay(self, legend=legend, scale=scale)

    def save_masks(self, folder: str | PathLike[str]) -> list[Path]:
        """Writes one black and white PNG for each mask, as `001-phrase.png`."""
        from masklet.inference.output.export import save_masks

        return save_masks(self, Path(folder))

    def to_json(self) -> dict[str, Any]:
        """Presence of each phrase, and score, box and run-length mask of each detection."""
        from masklet.inference.output.export import to_json

        return to_json(self)

    def to_rows(self) -> list[Row]:
        """A dict for each detection: image, id, phrase, score, x0, y0, x1, y1 and area, for tables of any kind."""
        name = str(self.path) if self.path else None
        return [
            {
                "image": name,
                "id": row + 1,
                "phrase": phrase,
                "score": round(float(score), 5),
                **box_entries(box),
                "area": int(area),
            }
            for row, (phrase, score, box, area) in enumerate(
                zip(self.phrases, self.scores, self.boxes, self.areas, strict=True)
            )
        ]

    def to_coco(self) -> dict[str, Any]:
        """A COCO data set of this image; `export.CocoWriter` joins several."""
        from masklet.inference.output.export import to_coco

        return to_coco(self)

    def to_yolo(self, classes: Sequence[str] | np.ndarray | None = None) -> list[str]:
        """Lines of a YOLO segmentation label; class numbers count `classes`, by default the phrases asked for."""
        from masklet.inference.output.export import to_yolo

        return to_yolo(self, list(self.queries if classes is None else map(str, classes)))

    def to_labelstudio(self, image_url: str | None = None) -> dict[str, Any]:
        """A Label Studio task with polygon pre-annotations."""
        from masklet.inference.output.export import to_labelstudio

        return to_labelstudio(self, image_url)

    def to_supervision(self) -> Any:
        """The same as `supervision.Detections`; needs the package `supervision`."""
        from masklet.inference.output.export import to_supervision

        return to_supervision(self)
