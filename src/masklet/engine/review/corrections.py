"""Corrections in other tools: what is to be corrected goes out as SA-Co or COCO labels, and comes back in either.

What comes back changed becomes the pair's masks in a person's name, with the verdicts that they are right and all;
verdicts on the masks before lapse. A pair that comes back as it went out was not worked on, and stays where it is.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from masklet.engine.digests import digest_of
from masklet.engine.records import Author, Fact, MaskRow, Move, Outcome
from masklet.engine.stages.masks import maskset_fact
from masklet.engine.stages.stage import Project
from masklet.engine.stages.verification import verdict_fact
from masklet.engine.states import Cause, State
from masklet.engine.verify.choices import Choice
from masklet.engine.view import Row
from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.formats.coco import CocoAnnotation, CocoCategory, CocoFile, CocoImage, read_coco
from masklet.formats.records import RunLengths, decode_mask
from masklet.formats.saco import read_saco
from masklet.formats.stream import iterate_items
from masklet.ops.masks import mask_iou, mask_to_box, rle_area, rle_decode, rle_encode

WAITING = (State.TO_CORRECT, State.TO_CORRECT_GROUP)
UNCHANGED_IOU = 0.99  # polygons of other tools round
RECHECK_SHARE = 0.1
SURE = {"accept": 1.0}
Mask = np.ndarray


def export_for_correction(project: Project, path: Path) -> int:
    """Writes the waiting pairs as COCO labels, with the masks that were accepted so far; how many pairs there are.

    Raises: InputError when none waits.
    """
    pairs = project.view.pairs(*WAITING)
    if not pairs:
        raise InputError("no pair waits for correction: look for open questions with `masklet engine review`")
    document = CocoFile(images={}, categories={}, annotations=[])
    images, names = {}, {}
    for pair in pairs:
        media = project.view.one_media(pair["media_id"])
        if pair["media_id"] not in images:
            number = images[pair["media_id"]] = len(images) + 1
            sizes = {"width": media["width"], "height": media["height"]}
            document.images[number] = CocoImage(id=number, file_name=media["uri"], **sizes)
        if pair["text"] not in names:
            number = names[pair["text"]] = len(names) + 1
            document.categories[number] = CocoCategory(id=number, name=pair["text"])
        for mask in accepted_masks(project, pair):
            x0, y0, x1, y1 = mask.box
            document.annotations.append(
                CocoAnnotation(
                    id=len(document.annotations) + 1,
                    image_id=images[pair["media_id"]],
                    category_id=names[pair["text"]],
                    bbox=[x0, y0, x1 - x0, y1 - y0],
                    area=rle_area(mask.counts),
                    iscrowd=1 if mask.group else 0,
                    segmentation=RunLengths(size=list(mask.size), counts=mask.counts),
                )
            )
    write_atomically(path, json.dumps(document.to_json()))
    return len(pairs)


def accepted_masks(project: Project, pair: Row) -> list[MaskRow]:
    """The masks of a pair that hold at present."""
    maskset = project.view.maskset(pair["pair_id"])
    if maskset is None:
        return []
    masks = project.view.masks(maskset)
    return [masks[number] for number in project.view.accepted(pair["pair_id"], maskset)]


def import_corrections(project: Project, path: Path, name: str, *, all_done: bool = False) -> Counter[str]:
    """Takes in a corrected file; how many pairs were corrected, unchanged, not waiting, or unknown.

    With `all_done` pairs that came back as they went out were looked at and are right. Raises: InputError naming file,
    record and field; nothing of the file is taken in then.
    """
    if not name.strip() or len(name) > 100:
        raise InputError("a correction belongs to somebody: give a name of 1 to 100 letters")
    actor = Author(kind="person", name=" ".join(name.split()))
    labels = read_masks(project, path)
    waiting = {(row["media_id"], row["text"]): row for row in project.view.pairs()}
    by_uri = {row["uri"]: row["media_id"] for row in project.view.media()}
    counts: Counter[str] = Counter()
    work: list[tuple[Row, list[tuple[Mask, bool]]]] = []
    for (uri, phrase), masks in sorted(labels.items()):
        pair = waiting.get((by_uri.get(uri, ""), phrase))
        if pair is None:
            counts["unknown"] += 1
        elif State(pair["state"]) not in WAITING:
            counts["not waiting"] += 1
        elif not all_done and is_unchanged([mask for mask, _ in masks], accepted_masks(project, pair)):
            counts["unchanged"] += 1
        else:
            work.append((pair, masks))
    for pair, masks in work:
        project.view.ledger.act(correct(project, pair, [to_row(mask, is_group=g) for mask, g in masks], actor), actor)
        counts["corrected"] += 1
    return counts


def correct(project: Project, pair: Row, masks: Sequence[MaskRow], actor: Author) -> Outcome:
    """What a correction adds: the masks, verdicts on each and on all of them, and the moves to where the pair goes.

    A tenth goes to another person first. Verdicts on earlier masks lapse.
    """
    maskset = maskset_fact(project, pair, masks, actor, 1.0 if masks else 0.0)
    key = maskset.values["maskset_id"]
    accept = Choice(label="accept", probabilities=SURE)
    facts = [maskset, *(verdict_fact("mask", pair, f"{key}#{n}", accept, actor) for n in range(len(masks)))]
    facts.append(verdict_fact("exhaustivity", pair, key, accept, actor))
    values = {"pair_id": pair["pair_id"], "actor_id": actor.actor_id, "ops": "[]", "maskset_id": key}
    correction = {"correction_id": digest_of("correction", values), "seconds": 0.0} | values
    facts.append(Fact(table="correction", values=correction))
    done = Cause.ALL_THERE if masks else Cause.NONE_THERE
    causes = (Cause.CORRECTION_DONE, Cause.CHECK_AGAIN if is_rechecked(pair["pair_id"]) else done)
    lapsed = [row["verdict_id"] for row in project.view.verdicts(pair["pair_id"])]
    moves = [Move(pair_id=pair["pair_id"], cause=cause) for cause in causes]
    return Outcome(facts=facts, moves=moves, lapsed=lapsed)


def is_rechecked(pair_id: str) -> bool:
    """Whether another person looks at a correction; by the name of the pair alone."""
    return int(hashlib.sha256(f"recheck {pair_id}".encode()).hexdigest()[:8], 16) / 2**32 < RECHECK_SHARE


def is_unchanged(masks: Sequence[Mask], before: Sequence[MaskRow]) -> bool:
    """Whether the same number of masks came back, each as good as equal to one that went out."""
    if len(masks) != len(before):
        return False
    old = [rle_decode(mask.counts, *mask.size) for mask in before]
    return all(max(mask_iou(mask[None], other[None])[0, 0] for other in old) >= UNCHANGED_IOU for mask in masks)


def read_masks(project: Project, path: Path) -> dict[tuple[str, str], list[tuple[Mask, bool]]]:
    """Masks, and whether each is a group, by file name and phrase; every pair that the file speaks of, empty ones too.

    Raises: InputError naming file, record and field.
    """
    sizes = {row["uri"]: (row["height"], row["width"]) for row in project.view.media()}
    found: dict[tuple[str, str], list[tuple[Mask, bool]]] = defaultdict(list)
    for (uri, phrase), labels in _records(path).items():
        found[uri, phrase] = []
        for where, segmentation, is_group in labels:
            if uri not in sizes:
                continue
            try:
                mask = decode_mask(segmentation, sizes[uri])
            except ValueError as error:
                raise InputError(f"{path}: {where}: segmentation: {error}") from error
            if not mask.any():
                raise InputError(f"{path}: {where}: segmentation: holds no pixel; leave the annotation out instead")
            found[uri, phrase].append((mask, is_group))
    return dict(found)


def _records(path: Path) -> dict[tuple[str, str], list]:
    found: dict[tuple[str, str], list] = {}
    first = next((value for section, value, _ in iterate_items(path) if section == "images"), None)
    if isinstance(first, dict) and "text_input" in first:
        document = read_saco(path)
        keys = {pair.id: (pair.file_name, pair.text_input) for pair in document.pairs.values()}
        found = {key: [] for key in keys.values()}
        for label in document.labels:
            found[keys[label.image_id]].append((f"annotation {label.id}", label.segmentation, bool(label.iscrowd)))
        return found
    coco = read_coco(path)
    for image in coco.images.values():
        for category in coco.categories.values():
            found[image.file_name or "", category.name] = []
    for label in coco.annotations:
        key = coco.images[label.image_id].file_name or "", coco.categories[label.category_id].name
        found[key].append((f"annotation {label.id}", label.segmentation, bool(label.iscrowd)))
    return found


def to_row(mask: Mask, *, is_group: bool = False, score: float = 1.0) -> MaskRow:
    """A mask as a row; it must hold a pixel."""
    box = mask_to_box(mask)
    assert box is not None, "a mask without pixels is no mask"
    x0, y0, x1, y1 = (float(value) for value in box)
    size = mask.shape[0], mask.shape[1]
    return MaskRow(counts=rle_encode(mask), size=size, box=(x0, y0, x1, y1), score=score, group=is_group)
