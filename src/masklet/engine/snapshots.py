"""Snapshots: which annotations a data set holds, named by their content, exported as SA-Co labels with a manifest.

The same annotations give the same snapshot and the same bytes, on whichever machine and however often the run was
killed on the way.
"""

import filecmp
import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from masklet.engine.digests import digest_of
from masklet.engine.ledger import tables as t
from masklet.engine.project.datasheet import datasheet
from masklet.engine.project.licences import check_mix
from masklet.engine.records import Fact
from masklet.engine.view import LedgerView, Row
from masklet.errors import InputError
from masklet.files import link_or_copy, write_atomically
from masklet.formats.records import RunLengths
from masklet.formats.saco import SacoFile, SacoLabel, SacoPair
from masklet.ops.masks import rle_area

MANIFEST = "manifest.json"
SPLITS = (("train", 0.8), ("val", 0.1), ("test", 0.1))


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A data set by name: its digest, and what it is made of."""

    snapshot_id: str
    manifest: Mapping[str, Any]


def take_snapshot(view: LedgerView, licences: Collection[str] = ()) -> Snapshot:
    """The present annotations of images that stand for themselves, as a row of the ledger.

    With `licences` those of images under one of them alone. Images that an evaluation set shows as well are left out.
    Raises: InputError when nothing is final yet, or the licences of the images do not mix.
    """
    annotations = view.annotations()
    if not annotations:
        counts = ", ".join(f"{count} {state}" for state, count in view.counts().items()) or "no pairs"
        raise InputError(f"there is nothing to take a snapshot of: no pair is final ({counts})")
    manifest = _manifest(view, annotations, licences)
    snapshot = Snapshot(snapshot_id=digest_of("snapshot", manifest), manifest=manifest)
    position = view.ledger.count("snapshot")
    values = {"snapshot_id": snapshot.snapshot_id, "manifest": json.dumps(manifest, sort_keys=True)}
    view.ledger.add([Fact(table="snapshot", values=values | {"position": position})])
    return snapshot


def _manifest(view: LedgerView, annotations: Sequence[Row], licences: Collection[str]) -> dict[str, Any]:
    licence_of = {row["source_id"]: row["licence"] for row in view.ledger.read(select(t.source))}
    media = {row["media_id"]: row for row in view.media() if not licences or licence_of[row["source_id"]] in licences}
    leaks, stands_for, gold = view.leaks(), view.clusters(), view.gold_media()
    chosen = [row for row in annotations if row["media_id"] in media and row["media_id"] not in leaks]
    if not chosen:
        raise InputError(
            f"no label is left: the licences of the images are {', '.join(sorted({*licence_of.values()}))}"
        )

    def split(media_id: str) -> str:
        return "test" if media_id in gold else split_of(stands_for.get(media_id) or media_id)

    entries = [
        {
            "annotation": row["annotation_id"],
            "media": row["media_id"],
            "phrase": row["text"],
            "tier": row["tier"],
            "split": split(row["media_id"]),
        }
        for row in chosen
    ]
    used = sorted({licence_of[media[entry["media"]]["source_id"]] for entry in entries})
    return {
        "annotations": entries,
        "counts": {
            "images": len({entry["media"] for entry in entries}),
            "pairs": len(entries),
            "positive": sum(row["polarity"] for row in chosen),
            "masks": sum(len(json.loads(row["masks"])) for row in chosen),
            "groups": sum(not row["instance_exhaustive"] for row in chosen),
        },
        "tiers": dict(sorted(Counter(entry["tier"] for entry in entries).items())),
        "licences": used,
        "licence": check_mix(used),
        "left_out": [
            {"media": media_id, "set": leak["name"], "image": leak["uri"]}
            for media_id, leak in sorted(leaks.items())
            if media_id in media
        ],
    }


def load_snapshot(view: LedgerView, snapshot_id: str) -> Snapshot:
    """A snapshot by the beginning of its name, or the latest for "latest". Raises: InputError when there is none."""
    rows = view.ledger.read(select(t.snapshot).order_by(t.snapshot.c.position.desc()))
    found = [row for row in rows if snapshot_id == "latest" or row["snapshot_id"].startswith(snapshot_id)]
    if not found or (len(found) > 1 and snapshot_id != "latest"):
        known = ", ".join(row["snapshot_id"][:12] for row in rows) or "none yet"
        raise InputError(f"{len(found)} snapshots begin with {snapshot_id!r}; there are: {known}")
    return Snapshot(snapshot_id=found[0]["snapshot_id"], manifest=json.loads(found[0]["manifest"]))


def split_of(cluster: str) -> str:
    """The split of a cluster of duplicates, by its name alone, so that it never parts and never moves."""
    place = int(hashlib.sha256(f"split {cluster}".encode()).hexdigest()[:8], 16) / 2**32
    for name, share in SPLITS:
        if place < share:
            return name
        place -= share
    return SPLITS[-1][0]


def export_saco(
    view: LedgerView, snapshot: Snapshot, folder: Path, *, originals: Path | None = None, tiers: Collection[str] = ()
) -> list[Path]:
    """One SA-Co file a split, the manifest and the datasheet; files of splits that are empty now are taken away.

    With `originals`, `images/` gets the images by their paths there, as further names of the same files where the disk
    allows it: `masklet train finetune data.root=FOLDER` learns from the folder then. Those that an earlier snapshot has
    put there and this one has no labels of are taken away. With `tiers` labels of those only.
    """
    chosen = {entry["annotation"]: entry for entry in snapshot.manifest["annotations"]}
    rows = [row for row in view.all_annotations() if row["annotation_id"] in chosen]
    rows = [row for row in rows if not tiers or row["tier"] in tiers]
    if not rows:
        raise InputError(
            f"no label is of tier {' or '.join(tiers)}; there are: {', '.join(snapshot.manifest['tiers'])}"
        )
    check_there(view, rows)
    written, is_ours = [], (folder / MANIFEST).is_file()
    for split, _ in SPLITS:
        mine = [row for row in rows if chosen[row["annotation_id"]]["split"] == split]
        if mine:
            text = json.dumps(saco_of(view, mine).to_json(), sort_keys=True)
            written.append(write_atomically(folder / f"{split}.json", text))
        else:
            (folder / f"{split}.json").unlink(missing_ok=True)
    sheet = datasheet(view, snapshot.snapshot_id, snapshot.manifest)
    written.append(write_atomically(folder / "DATASHEET.md", sheet))
    manifest = json.dumps({"snapshot": snapshot.snapshot_id, **snapshot.manifest}, indent=1, sort_keys=True)
    written.append(write_atomically(folder / MANIFEST, manifest))
    if originals is not None:
        uris = {row["media_id"]: row["uri"] for row in view.all_media()}
        shown = {uris[row["media_id"]] for row in rows}
        for uri in sorted(shown):
            show_image(originals / uri, folder / "images" / uri, is_ours=is_ours)
        if is_ours:
            take_away(folder, set(uris.values()) - shown)
    return written


def take_away(folder: Path, uris: Iterable[str]) -> None:
    """Removes images from a snapshot's folder, and nothing outside of it or behind a link, whatever the names are."""
    images = folder.resolve() / "images"
    for uri in uris:
        place = images / uri
        if place.is_relative_to(images) and place.parent.resolve() == place.parent:
            place.unlink(missing_ok=True)


def show_image(original: Path, place: Path, *, is_ours: bool) -> None:
    """Gives an image its place in a snapshot; one that lies there from an earlier snapshot goes, if it is another.

    Raises: InputError when it cannot be read, or another image lies there that no snapshot has put there.
    """
    if place.is_file() and original.is_file() and not filecmp.cmp(original, place):
        if not is_ours:
            raise InputError(f"{place} is another image than {original}: name an empty folder")
        place.unlink()
    link_or_copy(original, place)


def check_there(view: LedgerView, rows: Iterable[Row]) -> None:
    """Raises: InputError when the file of an image that these annotations are of is gone, or holds another by now."""
    gone = view.replaced() & {row["media_id"] for row in rows}
    if gone:
        uris = sorted(view.one_media(media_id)["uri"] for media_id in gone)
        raise InputError(
            f"{uris[0]} changed or went since it was labelled (as did {len(uris) - 1} other photos of the snapshot): "
            "put the photo of that time back, or take a new snapshot"
        )


def saco_of(view: LedgerView, annotations: Iterable[Row]) -> SacoFile:
    """Annotations as SA-Co records, in the order of images and phrases."""
    media = {row["media_id"]: row for row in view.all_media()}
    document = SacoFile(pairs={}, labels=[])
    for row in sorted(annotations, key=lambda row: (media[row["media_id"]]["uri"], row["text"])):
        image = media[row["media_id"]]
        pair = SacoPair(
            id=len(document.pairs) + 1,
            file_name=image["uri"],
            text_input=row["text"],
            height=image["height"],
            width=image["width"],
            is_instance_exhaustive=1 if row["instance_exhaustive"] else 0,
            source=row["tier"],
        )
        document.pairs[pair.id] = pair
        maskset = view.maskset_by_id(row["maskset_id"])
        masks = view.masks(maskset) if maskset else []
        for number in json.loads(row["masks"]):
            mask = masks[number]
            height, width = mask.size
            x0, y0, x1, y1 = mask.box
            label = SacoLabel(
                id=len(document.labels) + 1,
                image_id=pair.id,
                category_id=1,
                iscrowd=1 if mask.group else 0,
                bbox=[x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height],
                area=rle_area(mask.counts) / (height * width),
                segmentation=RunLengths(size=[height, width], counts=mask.counts),
            )
            document.labels.append(label)
    return document
