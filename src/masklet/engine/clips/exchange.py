"""Clips out of and into files of the YouTube-VIS layout, with the pairs of SA-Co/VEval: snapshots and corrections."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from masklet.engine.clips.masklets import ClipMasklet, from_mask_row, to_mask_row, volume_iou
from masklet.engine.project.exports import masks_of, rows_by_split
from masklet.engine.records import Author, MaskRow
from masklet.engine.review.corrections import WAITING, accepted_masks, correct
from masklet.engine.snapshots import Snapshot
from masklet.engine.stages.stage import Project, frames_of
from masklet.engine.states import State
from masklet.engine.view import Row
from masklet.errors import InputError
from masklet.files import link_or_copy, write_atomically
from masklet.formats.ytvis import YtvisAnnotation, read_ytvis
from masklet.ops.masks import mask_to_box, rle_area, rle_decode

UNCHANGED_VOLUME = 0.99


def export_ytvis(project: Project, snapshot: Snapshot, folder: Path) -> list[Path]:
    """A file a split, the manifest, and the frames of the clips. Raises: InputError when a frame is gone."""
    written = []
    for split, rows in rows_by_split(project, snapshot).items():
        labelled = [(row, masks_of(project, row)) for row in rows]
        written.append(write_atomically(folder / f"{split}.json", json.dumps(ytvis_of(project, labelled))))
        _link_frames(project, rows, folder)
    manifest = {"snapshot": snapshot.snapshot_id, **snapshot.manifest}
    return [*written, write_atomically(folder / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True))]


def _link_frames(project: Project, rows: Sequence[Row], folder: Path) -> None:
    for media_id in sorted({row["media_id"] for row in rows}):
        for uri in frames_of(project.view.one_media(media_id)):
            link_or_copy(project.originals / uri, folder / "images" / uri)


def ytvis_of(project: Project, labelled: Sequence[tuple[Row, Sequence[MaskRow]]]) -> dict[str, Any]:
    """Pairs with their masklets as a document; a pair without any says that the phrase is absent."""
    phrases = {text: n for n, text in enumerate(sorted({row["text"] for row, _ in labelled}), 1)}
    media = {row["media_id"]: project.view.one_media(row["media_id"]) for row, _ in labelled}
    order = {key: n for n, key in enumerate(sorted(media, key=lambda key: media[key]["uri"]), 1)}
    videos = [
        {
            "id": number,
            "video_name": media[key]["uri"],
            "file_names": frames_of(media[key]),
            "height": media[key]["height"],
            "width": media[key]["width"],
            "length": len(frames_of(media[key])),
        }
        for key, number in order.items()
    ]
    pairs: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for row, masks in sorted(labelled, key=lambda each: (order[each[0]["media_id"]], each[0]["text"])):
        video, category = order[row["media_id"]], phrases[row["text"]]
        common = {"video_id": video, "category_id": category, "noun_phrase": row["text"]}
        pairs.append({"id": len(pairs) + 1, **common, "num_masklets": len(masks)})
        length = len(frames_of(media[row["media_id"]]))
        for mask in masks:
            fields = _frames_of(from_mask_row(mask, project.blobs), length)
            crowd = {"iscrowd": int(mask.group), "height": mask.size[0], "width": mask.size[1]}
            annotations.append({"id": len(annotations) + 1, **common, **crowd, **fields})
    categories = [{"id": number, "name": text} for text, number in phrases.items()]
    return {"videos": videos, "categories": categories, "video_np_pairs": pairs, "annotations": annotations}


def _frames_of(masklet: ClipMasklet, length: int) -> dict[str, list]:
    found: dict[str, list] = {"segmentations": [], "bboxes": [], "areas": []}
    for frame in range(length):
        counts = masklet.frames.get(frame)
        box = None if counts is None else mask_to_box(rle_decode(counts, *masklet.size))
        if counts is None or box is None:
            values: tuple[Any, ...] = (None, None, None)
        else:
            x0, y0, x1, y1 = (float(value) for value in box)
            values = {"size": list(masklet.size), "counts": counts}, [x0, y0, x1 - x0, y1 - y0], rle_area(counts)
        for name, value in zip(found, values, strict=True):
            found[name].append(value)
    return found


def export_clip_corrections(project: Project, folder: Path) -> int:
    """Writes the waiting pairs with what was accepted so far, and the frames; how many. Raises: InputError for none."""
    pairs = project.view.pairs(*WAITING)
    if not pairs:
        raise InputError("no pair waits for correction: look for open questions with `masklet engine review`")
    labelled = [(pair, accepted_masks(project, pair)) for pair in pairs]
    write_atomically(folder / "clips.json", json.dumps(ytvis_of(project, labelled)))
    _link_frames(project, pairs, folder)
    return len(pairs)


def import_clip_corrections(project: Project, path: Path, name: str, *, all_done: bool = False) -> Counter[str]:
    """Takes in corrected masklets; how many pairs were corrected, unchanged, not waiting, or unknown.

    Raises: InputError naming file, record and field; nothing of the file is taken in then.
    """
    if not name.strip() or len(name) > 100:
        raise InputError("a correction belongs to somebody: give a name of 1 to 100 letters")
    actor = Author(kind="person", name=" ".join(name.split()))
    known = {(row["uri"], row["media_id"]) for row in project.view.media()}
    ids = dict(known)
    pairs = {(row["media_id"], row["text"]): row for row in project.view.pairs()}
    counts: Counter[str] = Counter()
    work = []
    for (uri, phrase), masklets in sorted(_read(path, project).items()):
        pair = pairs.get((ids.get(uri, ""), phrase))
        if pair is None:
            counts["unknown"] += 1
        elif State(pair["state"]) not in WAITING:
            counts["not waiting"] += 1
        elif not all_done and _is_unchanged(project, pair, masklets):
            counts["unchanged"] += 1
        else:
            work.append((pair, [to_mask_row(each, project.blobs) for each in masklets]))
    for pair, rows in work:
        project.view.ledger.act(correct(project, pair, rows, actor), actor)
        counts["corrected"] += 1
    return counts


def _is_unchanged(project: Project, pair: Row, masklets: Sequence[ClipMasklet]) -> bool:
    before = [from_mask_row(row, project.blobs) for row in accepted_masks(project, pair)]
    if len(before) != len(masklets):
        return False
    return all(max(volume_iou(each, other) for other in before) >= UNCHANGED_VOLUME for each in masklets)


def _read(path: Path, project: Project) -> Mapping[tuple[str, str], list[ClipMasklet]]:
    document = read_ytvis(path)
    sizes = {row["uri"]: (row["height"], row["width"]) for row in project.view.media()}
    names = {key: video.video_name or video.name or "" for key, video in document.videos.items()}
    found: dict[tuple[str, str], list[ClipMasklet]] = {}
    for pair in document.pairs:
        found[names[pair.video_id], document.categories[pair.category_id]] = []
    for place, each in enumerate(document.annotations):
        key = names[each.video_id], document.categories[each.category_id]
        if key[0] in sizes:
            found.setdefault(key, []).append(_masklet(each, sizes[key[0]], f"{path}: annotation {place}"))
    return found


def _masklet(record: YtvisAnnotation, size: tuple[int, int], where: str) -> ClipMasklet:
    frames = {}
    for frame, mask in enumerate(record.segmentations or ()):
        if mask is None:
            continue
        if tuple(mask.size) != size:
            raise InputError(f"{where}: segmentations.{frame}.size: is {mask.size}, the clip is {list(size)}")
        try:
            if rle_decode(mask.counts, *size).any():
                frames[frame] = mask.counts
        except ValueError as error:
            raise InputError(f"{where}: segmentations.{frame}: {error}") from error
    if not frames:
        raise InputError(f"{where}: has no pixel in any frame; leave the annotation out instead")
    return ClipMasklet(frames=frames, size=size, score=1.0)
