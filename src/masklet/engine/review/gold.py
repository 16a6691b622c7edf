"""Gold: pairs that three people label apart from one another, in slots a, b and c, to measure models and people.

Gold images are never learnt from: snapshots have them in the split `test`. Nobody labels a pair in two slots, and a
slot that is filled is not filled again.

Source: SAM 3 paper, appendix D: the benchmark has three independent annotations, a model is scored against the best.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Literal

from sqlalchemy import select

from masklet.engine.digests import digest_of
from masklet.engine.ledger import tables as t
from masklet.engine.records import Author, Fact, MaskRow, Outcome
from masklet.engine.review.corrections import read_masks, to_row, write_for_tool
from masklet.engine.snapshots import saco_of
from masklet.engine.stages.mask_rows import maskset_fact
from masklet.engine.stages.stage import Project
from masklet.engine.view import LedgerView, Row
from masklet.errors import InputError
from masklet.files import link_or_copy, write_atomically

Slot = Literal["a", "b", "c"]
SLOTS: tuple[Slot, ...] = ("a", "b", "c")
TIER = "gold"


def choose_gold(project: Project, count: int) -> int:
    """Makes so many pairs gold, by their names' digests, whole images at a time; how many are gold now.

    Raises: InputError when there are no pairs.
    """
    pairs = project.view.pairs()
    if not pairs:
        raise InputError("there are no pairs to choose from: run `masklet engine run` first")
    by_image: dict[str, list[Row]] = {}
    for pair in sorted(pairs, key=lambda pair: digest_of("gold", pair["media_id"])):
        by_image.setdefault(pair["media_id"], []).append(pair)
    there = set(gold_pairs(project.view))
    facts: list[Fact] = []
    for mine in by_image.values():
        if len(there) >= count:
            break
        new = [pair["pair_id"] for pair in mine if pair["pair_id"] not in there]
        facts += [Fact(table="gold", values={"pair_id": key, "position": len(there)}) for key in new]
        there.update(new)
    if facts:
        project.view.ledger.add(facts)
    return len(there)


def gold_pairs(view: LedgerView) -> list[str]:
    """The pairs that are gold."""
    return [row["pair_id"] for row in view.ledger.read(select(t.gold).order_by(t.gold.c.pair_id))]


def annotations_of(view: LedgerView, slot: str) -> list[Row]:
    """The annotations of a slot."""
    return [row for row in view.all_annotations() if row["slot"] == slot and not row["revoked"]]


def open_in_slot(project: Project, slot: Slot, actor: Author | None = None) -> list[Row]:
    """The gold pairs whose slot is empty; with an actor those that they have labelled in no slot."""
    view = project.view
    taken = {row["pair_id"] for row in annotations_of(view, slot)} | (_labelled_by(view, actor) if actor else set())
    return [view.one_pair(key) for key in gold_pairs(view) if key not in taken]


def _labelled_by(view: LedgerView, actor: Author) -> set[str]:
    """The pairs that somebody has labelled in any slot."""
    return {row["pair_id"] for slot in SLOTS for row in annotations_of(view, slot) if is_of(view, row, actor)}


def export_slot(project: Project, slot: Slot, folder: Path, tool: str = "labelstudio") -> int:
    """Writes the pairs whose slot is empty for somebody to label from the start; how many there are.

    Raises: InputError when none is.
    """
    open_pairs = open_in_slot(project, slot)
    if not open_pairs:
        raise InputError(
            f"no gold pair is open in slot {slot}: choose some with `masklet engine gold PROJECT --choose 50`"
        )
    write_for_tool(project, open_pairs, folder, tool, with_masks=False)
    return len(open_pairs)


def import_slot(project: Project, path: Path, slot: Slot, name: str) -> Counter[str]:
    """Takes in the labels of one person for a slot; gold pairs of the images that the file speaks of are whole in it.

    Raises: InputError naming file, record and field, or without a name; nothing of the file is taken in then.
    """
    if not name.strip() or len(name) > 100:
        raise InputError("a label belongs to somebody: give a name of 1 to 100 letters")
    actor = Author(kind="person", name=" ".join(name.split()))
    view, counts = project.view, Counter[str]()
    chosen = [view.one_pair(key) for key in gold_pairs(view)]
    labels = read_masks(project, path, asked=chosen)
    uris = {row["uri"]: row["media_id"] for row in view.media()}
    gold = {(row["media_id"], row["text"]): row for row in chosen}
    filled = {row["pair_id"] for row in annotations_of(view, slot)}
    mine = _labelled_by(view, actor)
    for (uri, phrase), masks in sorted(labels.items()):
        pair = gold.get((uris.get(uri, ""), phrase))
        if pair is None:
            counts["not gold"] += 1
        elif pair["pair_id"] in filled:
            counts["filled before"] += 1
        elif pair["pair_id"] in mine:
            counts["yours in another slot"] += 1
        else:
            rows = [to_row(mask, is_group=is_group) for mask, is_group in masks]
            view.ledger.act(label_in_slot(project, pair, slot, rows, actor), actor)
            counts["taken"] += 1
    return counts


def label_in_slot(project: Project, pair: Row, slot: Slot, rows: list[MaskRow], actor: Author) -> Outcome:
    """What one person's labels of a pair in a slot add."""
    maskset = maskset_fact(project, pair, rows, actor, None)
    values = {**maskset.values, "position": -1}  # never the masks that count for the pair itself
    values["maskset_id"] = digest_of("gold", slot, values["maskset_id"])
    query = select(t.annotation.c.annotation_id).where(t.annotation.c.slot == slot)
    earlier = project.view.ledger.read(query.where(t.annotation.c.pair_id == pair["pair_id"]))  # taken back since
    annotation = _annotation(pair, values, slot, rows, len(earlier))
    return Outcome(facts=[Fact(table="maskset", values=values), annotation])


def is_of(view: LedgerView, annotation: Row, actor: Author) -> bool:
    """Whether somebody made the masks of an annotation."""
    maskset = view.maskset_by_id(annotation["maskset_id"])
    return maskset is not None and maskset["actor_id"] == actor.actor_id


def _annotation(pair: Row, maskset: dict, slot: str, rows: list, revision: int) -> Fact:
    values = {
        "pair_id": pair["pair_id"],
        "slot": slot,
        "revision": revision,
        "polarity": int(bool(rows)),
        "maskset_id": maskset["maskset_id"],
        "masks": json.dumps(list(range(len(rows)))),
        "instance_exhaustive": int(not any(row.group for row in rows)),
        "pixel_exhaustive": 1,
        "tier": TIER,
        "evidence": "[]",  # it rests on the masks alone, which are a person's
    }
    return Fact(table="annotation", values={"annotation_id": digest_of("annotation", values), "revoked": 0} | values)


def write_gold(project: Project, folder: Path) -> list[Path]:
    """A SA-Co file a slot, of the pairs that have all three, and their images; their ids are the same in all files.

    Raises: InputError when no pair has.
    """
    by_slot = {slot: {row["pair_id"]: row for row in annotations_of(project.view, slot)} for slot in SLOTS}
    whole = set.intersection(*(set(rows) for rows in by_slot.values()))
    if not whole:
        counts = ", ".join(f"{len(rows)} in {slot}" for slot, rows in by_slot.items())
        raise InputError(f"no gold pair is labelled in all three slots ({counts})")
    uris = {row["media_id"]: row["uri"] for row in project.view.all_media()}
    paths = []
    for slot, rows in by_slot.items():
        chosen = [rows[key] for key in sorted(whole)]
        text = json.dumps(saco_of(project.view, chosen).to_json(), sort_keys=True)
        paths.append(write_atomically(folder / f"gold-{slot}.json", text))
        for row in chosen:
            link_or_copy(project.originals / uris[row["media_id"]], folder / "images" / uris[row["media_id"]])
    return paths
