"""Corrections in other tools: what is to be corrected goes out in the layout of a tool, and comes back in any layout.

What comes back changed becomes the pair's masks in a person's name, with the verdicts that they are right and all;
verdicts on the masks before lapse. A pair that comes back as it went out was not worked on, and stays where it is. What
another person decided is never touched.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from masklet.data.labels.conversion import WRITERS, LabelExport, find_image, read_any
from masklet.data.labels.layouts import LabelFiles, recognise
from masklet.engine.digests import digest_of
from masklet.engine.records import Author, Fact, MaskRow, Move, Outcome
from masklet.engine.stages.mask_rows import maskset_fact
from masklet.engine.stages.stage import Project
from masklet.engine.stages.verification import verdict_fact
from masklet.engine.states import FINAL, Cause, State
from masklet.engine.verify.choices import Choice
from masklet.engine.view import Row
from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.formats.coco import CocoAnnotation, CocoCategory, CocoFile, CocoImage
from masklet.formats.records import RunLengths, decode_mask, inside
from masklet.formats.saco import read_saco
from masklet.ops.masks import mask_iou, mask_to_box, rle_area, rle_decode, rle_encode

WAITING = (State.TO_CORRECT, State.TO_CORRECT_GROUP)
TO_CORRECTION: dict[State, tuple[Cause, ...]] = {  # what a person who corrects a pair has said of it by that
    **dict.fromkeys(WAITING, ()),
    State.HUMAN_MASKS: (Cause.MASKS_DECIDED, Cause.ASK_EXHAUSTIVITY, Cause.SOME_MISSING),
    State.HUMAN_PENDING: (Cause.SOME_MISSING,),
    State.RECHECK: (Cause.SOME_MISSING,),
    **dict.fromkeys(FINAL, (Cause.AUDIT_FAILED,)),
}
TOOLS = ("coco", "labelstudio", "cvat", "labelme")
NAMES_NO_ABSENT = frozenset({"labelstudio", "labelme"})  # a phrase without a shape is not in their files at all
UNCHANGED_IOU = 0.99  # polygons of other tools round
RECHECK_SHARE = 0.1
REFUSED = "refused"  # the event of a pair that cannot be corrected
SURE = {"accept": 1.0}
Mask = np.ndarray


def export_for_correction(project: Project, folder: Path, tool: str = "coco") -> int:
    """Writes the waiting pairs with the masks that were accepted so far, and the images; how many pairs there are.

    Masks stay masks to the pixel. For Label Studio the labelling configuration lies beside the tasks.

    Raises: InputError when none waits, or the tool is not known.
    """
    pairs = project.view.pairs(*WAITING)
    if not pairs:
        raise InputError("no pair waits for correction: look for open questions with `masklet engine review`")
    write_for_tool(project, pairs, folder, tool, with_masks=True)
    return len(pairs)


def write_for_tool(project: Project, pairs: Sequence[Row], folder: Path, tool: str, *, with_masks: bool) -> None:
    """Writes pairs and their images in the layout of a tool. Raises: InputError when the tool is not known."""
    if tool not in TOOLS:
        raise InputError(f"there is no way out to {tool!r}: choose from {', '.join(TOOLS)}")
    labels = coco_of_pairs(project, pairs, with_masks=with_masks)
    export = LabelExport(labels=labels, folder=folder, find_image=partial(_original, project))
    WRITERS[tool](export)
    for _ in export.copy_images("" if tool == "labelme" else "images"):  # LabelMe looks for an image beside its labels
        pass
    if tool == "labelstudio":
        write_atomically(folder / "config.xml", _labelstudio_config(labels))


def _original(project: Project, name: str) -> Path:
    path = inside(project.originals, name, "the project")
    if not path.is_file():
        raise InputError(f"{path} is gone: put it back, or take its source out with `masklet engine revoke`")
    return path


def _labelstudio_config(labels: CocoFile) -> str:
    names = "".join(f"<Label value={quoteattr(each.name)}/>" for each in labels.categories.values())
    kinds = (("BrushLabels", "brush"), ("PolygonLabels", "label"))
    listed = "".join(f'<{kind} name="{name}" toName="image">{names}</{kind}>' for kind, name in kinds)
    return f'<View><Image name="image" value="$image" zoom="true"/>{listed}</View>\n'


def coco_of_pairs(project: Project, pairs: Sequence[Row], *, with_masks: bool = True) -> CocoFile:
    """Pairs, with the masks that hold or for labelling from the start, as COCO records."""
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
        for mask in accepted_masks(project, pair) if with_masks else ():
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
    return document


def accepted_masks(project: Project, pair: Row) -> list[MaskRow]:
    """The masks of a pair that hold at present."""
    maskset = project.view.maskset(pair["pair_id"])
    if maskset is None:
        return []
    masks = project.view.masks(maskset)
    return [masks[number] for number in project.view.accepted(pair["pair_id"], maskset)]


def import_corrections(
    project: Project, path: Path, name: str, *, all_done: bool = False, also_final: bool = False
) -> Counter[str]:
    """Takes in a corrected file of any layout; how many pairs were corrected, unchanged, not waiting, or unknown.

    With `all_done` pairs that came back as they went out were looked at and are right. With `also_final` the file holds
    all labels of its images, and what models and rules had decided is corrected by it as well; what a person decided
    stays. Raises: InputError naming file, record and field; nothing of the file is taken in then.
    """
    if not name.strip() or len(name) > 100:
        raise InputError("a correction belongs to somebody: give a name of 1 to 100 letters")
    actor = Author(kind="person", name=" ".join(name.split()))
    known = {(row["media_id"], row["text"]): row for row in project.view.pairs()}
    labels = read_masks(project, path)
    by_uri = {row["uri"]: row["media_id"] for row in project.view.media()}
    counts: Counter[str] = Counter()
    work: list[tuple[Row, list[tuple[Mask, bool]]]] = []
    for (uri, phrase), masks in sorted(labels.items()):
        pair = known.get((by_uri.get(uri, ""), phrase))
        if pair is None:
            counts["unknown"] += 1
            continue
        is_final = State(pair["state"]) in FINAL
        if State(pair["state"]) not in WAITING and not (is_final and also_final):
            counts["not waiting"] += 1
        elif is_final and is_decided_by_people(project, pair):
            counts["decided by people before"] += 1
        elif not all_done and is_unchanged([mask for mask, _ in masks], accepted_masks(project, pair)):
            counts["unchanged"] += 1
        else:
            work.append((pair, masks))
    for pair, masks in work:
        project.view.ledger.act(correct(project, pair, [to_row(mask, is_group=g) for mask, g in masks], actor), actor)
        counts["corrected"] += 1
    return counts


def is_decided_by_people(project: Project, pair: Row) -> bool:
    """Whether a person judged masks of a pair that still count."""
    return any(row["kind"] == "person" for row in project.view.verdicts(pair["pair_id"]))


def correct(
    project: Project, pair: Row, masks: Sequence[MaskRow], actor: Author, *, seconds: float | int = 0.0
) -> Outcome:
    """What a correction adds: the masks, verdicts on each and on all of them, and the moves to where the pair goes.

    A tenth goes to another person first. Verdicts on earlier masks lapse. The pair is in a state of `TO_CORRECTION`.
    """
    maskset = maskset_fact(project, pair, masks, actor, 1.0 if masks else 0.0)
    key = maskset.values["maskset_id"]
    accept = Choice(label="accept", probabilities=SURE)
    facts = [maskset, *(verdict_fact("mask", pair, f"{key}#{n}", accept, actor) for n in range(len(masks)))]
    facts.append(verdict_fact("exhaustivity", pair, key, accept, actor))
    values = {"pair_id": pair["pair_id"], "actor_id": actor.actor_id, "ops": "[]", "maskset_id": key}
    correction = {"correction_id": digest_of("correction", values), "seconds": float(seconds)} | values
    facts.append(Fact(table="correction", values=correction))
    done = Cause.ALL_THERE if masks else Cause.NONE_THERE
    is_clip = project.view.one_media(pair["media_id"])["profile"] is not None
    again = is_rechecked(pair["pair_id"], is_clip=is_clip)
    causes = [*TO_CORRECTION[State(pair["state"])], Cause.CORRECTION_DONE, Cause.CHECK_AGAIN if again else done]
    lapsed = [row["verdict_id"] for row in project.view.verdicts(pair["pair_id"])]
    moves = [Move(pair_id=pair["pair_id"], cause=cause) for cause in causes]
    return Outcome(facts=facts, moves=moves, lapsed=lapsed)


def refuse(project: Project, pair: Row, actor: Author, reason: str) -> None:
    """Takes a pair that nobody can correct out of the work; why is told in the ledger."""
    causes = [*TO_CORRECTION[State(pair["state"])], Cause.CORRECTION_REFUSED]
    ledger, moves = project.view.ledger, [Move(pair_id=pair["pair_id"], cause=cause) for cause in causes]
    with ledger.transaction() as connection:
        ledger.apply(connection, Outcome(facts=[actor.fact()], moves=moves), actor)
        ledger.tell(connection, actor, REFUSED, pair["pair_id"], {"reason": reason})


def is_rechecked(pair_id: str, *, is_clip: bool = False) -> bool:
    """Whether another person looks at a correction: of a clip always, else by the name of the pair alone."""
    return is_clip or int(hashlib.sha256(f"recheck {pair_id}".encode()).hexdigest()[:8], 16) / 2**32 < RECHECK_SHARE


def is_unchanged(masks: Sequence[Mask], before: Sequence[MaskRow]) -> bool:
    """Whether the same number of masks came back, each as good as equal to one that went out."""
    if len(masks) != len(before):
        return False
    old = [rle_decode(mask.counts, *mask.size) for mask in before]
    return all(max(mask_iou(mask[None], other[None])[0, 0] for other in old) >= UNCHANGED_IOU for mask in masks)


def read_masks(
    project: Project, path: Path, *, asked: Sequence[Row] | None = None
) -> dict[tuple[str, str], list[tuple[Mask, bool]]]:
    """Masks, and whether each is a group, by file name and phrase; every pair that the file speaks of, empty ones too.

    A file that cannot name what is absent speaks of those pairs of its images that are in `asked`, or wait.
    Raises: InputError naming file, record and field.
    """
    sizes = {row["uri"]: (row["height"], row["width"]) for row in project.view.media()}
    found: dict[tuple[str, str], list[tuple[Mask, bool]]] = defaultdict(list)
    for (uri, phrase), labels in _records(project, path, sizes, asked).items():
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


def _records(
    project: Project, path: Path, sizes: Mapping[str, tuple[int, int]], asked: Sequence[Row] | None
) -> dict[tuple[str, str], list]:
    layout = recognise(path)
    found: dict[tuple[str, str], list] = {}
    if layout == "saco":  # the only one whose file says itself which pairs it is about
        document = read_saco(path)
        keys = {pair.id: (pair.file_name, pair.text_input) for pair in document.pairs.values()}
        found = {key: [] for key in keys.values()}
        for label in document.labels:
            found[keys[label.image_id]].append((f"annotation {label.id}", label.segmentation, bool(label.iscrowd)))
        return found
    find = find_image(path, project.originals)
    labels = read_any(LabelFiles(labels=path), lambda name: find(_name_in_project(name, sizes)))
    names = {key: _name_in_project(image.file_name or "", sizes) for key, image in labels.images.items()}
    uri_of = {row["media_id"]: row["uri"] for row in project.view.media()}
    waiting: dict[str, list[str]] = defaultdict(list)
    known = project.view.pairs(*WAITING) if asked is None else asked
    for pair in known if layout in NAMES_NO_ABSENT else ():
        waiting[uri_of[pair["media_id"]]].append(pair["text"])
    for uri in names.values():
        found |= {(uri, category.name): [] for category in labels.categories.values()}
        found |= {(uri, text): [] for text in waiting[uri]}
    for place, label in enumerate(labels.annotations):
        key = names[label.image_id], labels.categories[label.category_id].name
        where = f"annotation {place if label.id is None else label.id}"
        found[key].append((where, label.segmentation or _box_outline(label, path, where), bool(label.iscrowd)))
    return found


def _name_in_project(name: str, sizes: Mapping[str, tuple[int, int]]) -> str:
    """The image that a tool speaks of, which may have forgotten the folders above it."""
    if name in sizes:
        return name
    same = [uri for uri in sizes if uri.rsplit("/", 1)[-1] == name.rsplit("/", 1)[-1]]
    return same[0] if len(same) == 1 else name


def _box_outline(label: CocoAnnotation, path: Path, where: str) -> list[list[float]]:
    """A box that somebody drew stands for the mask that fills it."""
    if label.bbox is None:
        raise InputError(f"{path}: {where}: has neither a segmentation nor a box")
    x, y, width, height = label.bbox
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def to_row(mask: Mask, *, is_group: bool = False, score: float = 1.0) -> MaskRow:
    """A mask as a row; it must hold a pixel."""
    box = mask_to_box(mask)
    assert box is not None, "a mask without pixels is no mask"
    x0, y0, x1, y1 = (float(value) for value in box)
    size = mask.shape[0], mask.shape[1]
    return MaskRow(counts=rle_encode(mask), size=size, box=(x0, y0, x1, y1), score=score, group=is_group)
