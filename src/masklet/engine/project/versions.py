"""Snapshots beside each other: what changed from one to the next, and going back to an earlier one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, update

from masklet.engine.ledger import tables as t
from masklet.engine.ledger.ledger import RULES
from masklet.engine.snapshots import Snapshot, load_snapshot
from masklet.engine.view import LedgerView, Row


@dataclass(frozen=True, kw_only=True)
class SnapshotDiff:
    """Pairs, as image and phrase, that a later snapshot has more, has less, or labels otherwise, each with a word."""

    added: Sequence[tuple[str, str]]
    removed: Sequence[tuple[str, str]]
    changed: Sequence[tuple[str, str, str]]


def diff(view: LedgerView, earlier: str, later: str) -> SnapshotDiff:
    """What changed between two snapshots, by the beginnings of their names. Raises: InputError when one is missing."""
    uris = {row["media_id"]: row["uri"] for row in view.ledger.read(select(t.media.c.media_id, t.media.c.uri))}
    rows = {row["annotation_id"]: row for row in view.all_annotations()}
    before, after = (_entries(load_snapshot(view, name), uris) for name in (earlier, later))
    both = sorted(before.keys() & after.keys())
    changed = [(*key, _change(rows[before[key]], rows[after[key]])) for key in both if before[key] != after[key]]
    return SnapshotDiff(
        added=sorted(after.keys() - before.keys()), removed=sorted(before.keys() - after.keys()), changed=changed
    )


def _entries(snapshot: Snapshot, uris: Mapping[str, str]) -> dict[tuple[str, str], str]:
    entries = snapshot.manifest["annotations"]
    return {(uris[entry["media"]], entry["phrase"]): entry["annotation"] for entry in entries}


def _change(before: Row, after: Row) -> str:
    if before["polarity"] != after["polarity"]:
        return "now present" if after["polarity"] else "now absent"
    if (before["maskset_id"], before["masks"]) != (after["maskset_id"], after["masks"]):
        return "other masks"
    return f"{before['tier']} -> {after['tier']}" if before["tier"] != after["tier"] else "other evidence"


def revert(view: LedgerView, name: str) -> Snapshot:
    """Makes an earlier snapshot the latest again; nothing is lost by it. Raises: InputError when there is none."""
    snapshot = load_snapshot(view, name)
    latest = view.ledger.read(select(func.max(t.snapshot.c.position).label("n")))[0]["n"]
    with view.ledger.transaction() as connection:
        chosen = t.snapshot.c.snapshot_id == snapshot.snapshot_id
        connection.execute(update(t.snapshot).where(chosen).values(position=latest + 1))
        view.ledger.tell(connection, RULES, "reverted", snapshot.snapshot_id, {})
    return snapshot
