"""Videos in the DAVIS layout: objects have numbers alone, which teaches to follow them and nothing about words."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from masklet.data.clip_transforms import boxes_of
from masklet.data.schema import Example
from masklet.data.sources import QueryConfig, kept_names
from masklet.errors import InputError
from masklet.formats.davis import list_videos, object_ids
from masklet.media.images import read_labelled_image, read_numbers
from masklet.media.suffixes import find_by_stem


class DavisVideos:
    """Videos of two folders, with a folder for each video: images, and labels as images of object ids.

    A frame is labelled when there is a label of its name; 0 is background, and so is 255, "void". There are no phrases.

    Raises: InputError naming the folder or file that cannot be used.
    """

    def __init__(self, annotations: Path, images: Path, config: QueryConfig) -> None:
        labels = list_videos(annotations)
        kept = kept_names(labels, config.split, config.limit, str(annotations))
        self.images, self.source = images, annotations.name
        self.labels = [labels[name] for name in kept]

    def __len__(self) -> int:
        return len(self.labels)

    def num_frames(self, video: int) -> int:
        """Those that have a label."""
        return len(self.labels[video])

    def name(self, video: int, frame: int) -> str:
        """Video and frame, as in the folders."""
        label = self.labels[video][frame]
        return f"{label.parent.name}/{label.stem}"

    def frames(self, video: int, chosen: Sequence[int], rng: np.random.Generator) -> tuple[Example, ...]:
        """Frames of a video; the objects are those of these frames, by their numbers."""
        del rng
        labels = [self.labels[video][frame] for frame in chosen]
        numbers = [read_numbers(label) for label in labels]
        objects = np.array(sorted({number for each in numbers for number in object_ids(each)}), np.int64)
        frames = []
        for label, each in zip(labels, numbers, strict=True):
            folder = self.images / label.parent.name
            file = find_by_stem(folder, label.stem)
            if file is None:
                raise InputError(f"{label}: no image is called {label.stem} in {folder}")
            masks = each[None] == objects[:, None, None]
            frames.append(
                Example(
                    image=read_labelled_image(file, (each.shape[0], each.shape[1])),
                    boxes_xyxy=boxes_of(masks),
                    masks=masks,
                    mask_valid=np.atleast_1d(masks.any(axis=(1, 2))),
                    queries=(),
                    source=self.source,
                )
            )
        return tuple(frames)
