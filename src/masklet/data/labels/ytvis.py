"""Videos of YouTube-VIS and SA-Co/VEval labels: things have names, so their frames are images with phrases."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from masklet.data.labels.arrays import ObjectLabel, read_example
from masklet.data.schema import Example, PhraseQuery
from masklet.data.sources import PhraseBook, QueryConfig, ask, kept_names
from masklet.data.videos import is_seen
from masklet.errors import InputError
from masklet.formats.records import Id
from masklet.formats.ytvis import YtvisAnnotation, YtvisFile, YtvisVideo, name_of, read_ytvis


class YtvisVideos:
    """Videos of a YouTube-VIS json; phrases are category names.

    A file of SA-Co/VEval says in `video_np_pairs` which categories were asked of a video; of others nothing is known.

    Raises: InputError naming the file, the record and the field that cannot be used.
    """

    def __init__(self, annotations: Path, images: Path, config: QueryConfig) -> None:
        document = read_ytvis(annotations)
        self.path, self.images, self.config = annotations, images, config
        book = PhraseBook()
        self.phrases = {key: book(name) for key, name in document.categories.items()}
        for record in (*document.annotations, *document.pairs):
            if record.category_id not in self.phrases:
                where = f"{annotations}: {name_of(record)}"
                raise InputError(f"{where}: category_id: there is no category {record.category_id}")
        names = {self._name(video): video for video in document.videos.values()}
        self.records = [names[name] for name in kept_names(names, config.split, config.limit, str(annotations))]
        self.annotations: dict[Id, list[YtvisAnnotation]] = defaultdict(list)
        self.crowds: dict[Id, set[str]] = defaultdict(set)
        self.asked = self._asked_phrases(document)
        for annotation in document.annotations:
            if annotation.iscrowd:
                self.crowds[annotation.video_id].add(self.phrases[annotation.category_id])
            else:
                self.annotations[annotation.video_id].append(annotation)

    def _name(self, video: YtvisVideo) -> str:
        """The folder of the frames, which no other video shares, with the id."""
        if not video.files:
            raise InputError(f"{self.path}: video {video.id}: file_names: is missing or empty")
        return f"{Path(video.files[0]).parent} {video.id}"

    def _asked_phrases(self, document: YtvisFile) -> dict[Id, frozenset[str]]:
        """By video, the phrases that have labels or are known to be absent."""
        if not document.pairs:
            every = frozenset(self.phrases.values() if self.config.complete else ())
            return dict.fromkeys(document.videos, every)
        asked: dict[Id, set[str]] = {video: set() for video in document.videos}
        for pair in document.pairs:
            asked[pair.video_id].add(self.phrases[pair.category_id])
        return {video: frozenset(phrases) for video, phrases in asked.items()}

    def __len__(self) -> int:
        return len(self.records)

    def num_frames(self, video: int) -> int:
        """All frames are labelled."""
        return self.records[video].num_frames

    def name(self, video: int, frame: int) -> str:
        """The file name of a frame."""
        return self.records[video].files[frame]

    def frames(self, video: int, chosen: Sequence[int], rng: np.random.Generator) -> tuple[Example, ...]:
        """Frames of a video; `rng` draws categories that are asked in vain, the same in all of them."""
        record = self.records[video]
        annotations, crowds = self.annotations[record.id], self.crowds[record.id]
        of_video: dict[str, list[int]] = defaultdict(list)
        for row, annotation in enumerate(annotations):
            of_video[self.phrases[annotation.category_id]].append(row)
        known = self.asked[record.id].difference(of_video, crowds)
        queries = ask(of_video, known, self.config, rng)
        queries = tuple(replace(each, exhaustive=each.exhaustive and each.phrase not in crowds) for each in queries)
        return tuple(self._frame(record, annotations, frame, queries, known) for frame in chosen)

    def _frame(
        self,
        record: YtvisVideo,
        annotations: list[YtvisAnnotation],
        frame: int,
        queries: tuple[PhraseQuery, ...],
        absent: frozenset[str],
    ) -> Example:
        where = f"video {record.id}, frame {frame}"
        size = (record.height, record.width)
        labels = [self._label(annotation, frame) for annotation in annotations]
        example = read_example(self.images, record.files[frame], size, labels, self.path, where)
        # A phrase whose objects are out of sight is absent from this frame, if it was exhaustive
        seen = is_seen(example.boxes_xyxy)
        shown = [replace(each, object_index=tuple(i for i in each.object_index if seen[i])) for each in queries]
        asked = tuple(query for query in shown if query.object_index or query.exhaustive)
        return replace(example, queries=asked, absent=absent)

    def _label(self, annotation: YtvisAnnotation, frame: int) -> ObjectLabel:
        """An annotation in one frame; files may leave boxes out, or write zeros for them."""
        box = annotation.bboxes[frame] if annotation.bboxes else None
        has_area = box is not None and min(box[2:]) > 0
        return ObjectLabel(
            record=f"annotation {annotation.id}, frame {frame}",
            box_xywh=box if has_area else None,
            segmentation=annotation.segmentations[frame] if annotation.segmentations else None,
        )
