"""Whether a project is whole, and what in its folder nothing refers to."""

import json

from sqlalchemy import select

from masklet.engine.digests import digest_of
from masklet.engine.ledger import tables as t
from masklet.engine.ledger.ledger import STATES_COUNTED
from masklet.engine.states import TRANSITIONS, State
from masklet.engine.view import LedgerView


def verify_store(view: LedgerView) -> list[str]:
    """A sentence for each thing that is not as it should be: blobs, names by content, evidence, the story of states."""
    found = [f"blob {digest} is damaged: restore it from a copy" for digest in view.blobs.damaged()]
    there = set(view.blobs)
    found += [f"blob {digest} is missing: restore it from a copy" for digest in sorted(view.reachable() - there)]
    found += _renamed(view)
    verdicts = {row["verdict_id"] for row in view.ledger.read(select(t.verdict.c.verdict_id))}
    for row in view.all_annotations():
        missing = set(json.loads(row["evidence"])) - verdicts
        if missing:
            found.append(f"annotation {row['annotation_id']} rests on {len(missing)} verdicts that are not there")
    return found + _wrong_counts(view) + _impossible_stories(view)


def _renamed(view: LedgerView) -> list[str]:
    """Annotations whose name is not the digest of what they say."""
    found = []
    for row in view.ledger.read(select(t.annotation)):
        values = {name: value for name, value in row.items() if name not in ("annotation_id", "revoked")}
        if digest_of("annotation", values) != row["annotation_id"]:
            found.append(f"annotation {row['annotation_id']} was changed after it was made")
    return found


def _wrong_counts(view: LedgerView) -> list[str]:
    """States whose number of pairs is not the one that is kept."""
    there = {State(row["state"]): row["n"] for row in view.ledger.read(STATES_COUNTED)}
    kept = view.all_counts()
    return [
        f"{there.get(state, 0)} pairs are {state}, {kept.get(state, 0)} were counted"
        for state in State
        if there.get(state, 0) != kept.get(state, 0)
    ]


def _impossible_stories(view: LedgerView) -> list[str]:
    """Pairs whose moves do not lead from where they begin to where they are."""
    at: dict[str, str] = {}
    found = []
    moves = select(t.event).where(t.event.c.kind == "moved").order_by(t.event.c.seq)
    for row in view.ledger.read(moves):
        told = json.loads(row["payload"])
        before = at.get(row["subject"], str(State.PROPOSED))
        possible = {str(cause): str(after) for cause, after in TRANSITIONS[State(before)].items()}
        if told["from"] != before or possible.get(told["cause"]) != told["to"]:
            found.append(f"pair {row['subject']} moved from {told['from']} to {told['to']} and was {before}")
        at[row["subject"]] = told["to"]
    states = view.ledger.read(select(t.pair.c.pair_id, t.pair.c.state))
    found += [
        f"pair {row['pair_id']} is {row['state']}, its story ends in {at.get(row['pair_id'], 'proposed')}"
        for row in states
        if at.get(row["pair_id"], str(State.PROPOSED)) != row["state"]
    ]
    return found


def collect_garbage(view: LedgerView, *, dry_run: bool) -> list[str]:
    """Removes blobs that no row refers to, as killed units leave them; what was, or would be, removed."""
    return view.blobs.sweep(view.reachable(), dry_run=dry_run)
