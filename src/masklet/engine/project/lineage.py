"""Why a label exists, what rests on a model, a person, a source or a phrase, and how to take all of that back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, select, update

from masklet.engine.ledger import tables as t
from masklet.engine.ledger.ledger import RULES
from masklet.engine.records import Move, Outcome
from masklet.engine.states import FINAL, TRANSITIONS, Cause, State
from masklet.engine.view import LedgerView, Row
from masklet.errors import InputError

ACTORS = frozenset({"actor", "model", "person"})  # any, or those of one kind
KINDS: Mapping[str, tuple[Table, str, str]] = {
    "actor": (t.actor, "actor_id", "name"),
    "model": (t.actor, "actor_id", "name"),
    "person": (t.actor, "actor_id", "name"),
    "source": (t.source, "source_id", "name"),
    "phrase": (t.phrase, "phrase_id", "text"),
}


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Everything that an annotation rests on, from its source to the snapshots that hold it."""

    annotation: Row
    media: Row
    source: Row
    maskset: Row | None
    proposed_by: str
    verdicts: Sequence[Row]
    corrections: Sequence[Row]
    story: Sequence[Row]
    snapshots: Sequence[str]
    is_there: bool = True
    ranges: Sequence[Row] = ()  # of a clip, where the model found the phrase

    def lines(self) -> list[str]:
        """The chain as text, in the order in which it came about."""
        row = self.annotation
        found = [
            f"annotation {row['annotation_id']}: {row['text']}, {'present' if row['polarity'] else 'absent'}, "
            f"tier {row['tier']}{', REVOKED' if row['revoked'] else ''}",
            f"  source    {self.source['name']} ({self.source['licence']}){_mark(self.source)}",
            f"  image     {self.media['uri']} {self.media['width']} x {self.media['height']}"
            f"{'' if self.is_there else ', REPLACED by another since: this label has lapsed with its verdicts'}",
            f"  phrase    {row['text']}, {row['origin']}",
        ]
        if self.maskset is not None:
            found.append(
                f"  masks     {self.maskset['num_masks']} by {self.proposed_by}, asked for "
                f"{self.maskset['proposal_phrase']!r}, presence {self.maskset['presence']}"
            )
        found += [f"  frames    {row['first']} to {row['last']}: {row['kind']}" for row in self.ranges]
        for verdict in self.verdicts:
            number = verdict["subject"].partition("#")[2]
            about = f"mask {number}" if number else "all masks"
            lapsed = ", lapsed" if verdict["lapsed"] else ""
            found.append(f"  verdict   {about}: {verdict['label']} by {verdict['kind']} {verdict['name']}{lapsed}")
        found += [f"  corrected by {row['name']}" for row in self.corrections]
        found += [f"  moved     {each['from']} -> {each['to']}: {each['cause']}" for each in map(_payload, self.story)]
        found += [f"  snapshot  {name[:12]}" for name in self.snapshots]
        return found


def why(view: LedgerView, annotation_id: str) -> Chain:
    """The chain of an annotation, by the beginning of its name. Raises: InputError when none or several have it."""
    rows = [row for row in view.all_annotations() if row["annotation_id"].startswith(annotation_id)]
    if len(rows) != 1:
        raise InputError(
            f"{len(rows)} annotations begin with {annotation_id!r}: give more of its name, from manifest.json"
        )
    row = rows[0]
    media = view.one_media(row["media_id"])
    maskset = view.maskset_by_id(row["maskset_id"])
    of_pair = t.verdict.c.pair_id == row["pair_id"]
    named = select(t.verdict, t.actor.c.name, t.actor.c.kind).join(t.actor, t.actor.c.actor_id == t.verdict.c.actor_id)
    corrections = select(t.correction, t.actor.c.name).join(t.actor, t.actor.c.actor_id == t.correction.c.actor_id)
    story = select(t.event).where(t.event.c.subject == row["pair_id"]).order_by(t.event.c.seq)
    ranges = select(t.frame_range).order_by(t.frame_range.c.first, t.frame_range.c.last)
    snapshots = view.ledger.read(select(t.snapshot).order_by(t.snapshot.c.position))
    proposer = view.ledger.read(select(t.actor).where(t.actor.c.actor_id == (maskset or {}).get("actor_id")))
    return Chain(
        annotation=row,
        media=media,
        source=view.ledger.read(select(t.source).where(t.source.c.source_id == media["source_id"]))[0],
        maskset=maskset,
        proposed_by=f"{proposer[0]['kind']} {proposer[0]['name']}" if proposer else "nobody",
        verdicts=view.ledger.read(named.where(of_pair).order_by(t.verdict.c.task.desc(), t.verdict.c.subject)),
        corrections=view.ledger.read(corrections.where(t.correction.c.pair_id == row["pair_id"])),
        story=view.ledger.read(story),
        snapshots=[each["snapshot_id"] for each in snapshots if row["annotation_id"] in each["manifest"]],
        is_there=row["media_id"] not in view.replaced(),
        ranges=view.ledger.read(ranges.where(t.frame_range.c.pair_id == row["pair_id"])),
    )


def resolve(view: LedgerView, kind: str, name: str) -> Row:
    """The row of an actor, a source or a phrase by name or the beginning of its key. Raises: InputError unless one."""
    if kind not in KINDS:
        raise InputError(f"{kind!r} is none of {', '.join(KINDS)}")
    table, key, label = KINDS[kind]
    rows = view.ledger.read(select(table))
    if kind in ACTORS - {"actor"}:
        rows = [row for row in rows if row["kind"] == kind]
    found = [row for row in rows if row[label] == name] or [row for row in rows if row[key].startswith(name)]
    if len(found) != 1:
        known = ", ".join(sorted(row[label] for row in rows)[:20]) or "none"
        raise InputError(f"{len(found)} of kind {kind} are called {name!r}; there are: {known}")
    return found[0]


def impact(view: LedgerView, kind: str, name: str) -> list[Row]:
    """The annotations that rest on an actor (its masks, verdicts or corrections), a source or a phrase.

    Raises: InputError unless exactly one has that name.
    """
    row = resolve(view, kind, name)
    rows = view.annotations() + [each for each in view.all_annotations() if each["slot"] != "-" and not each["revoked"]]
    if kind == "phrase":
        return [each for each in rows if each["text"] == row["text"]]
    if kind == "source":
        query = select(t.media.c.media_id).where(t.media.c.source_id == row["source_id"])
        media = {each["media_id"] for each in view.ledger.read(query)}
        return [each for each in rows if each["media_id"] in media]
    sets = view.ledger.read(select(t.maskset.c.maskset_id).where(t.maskset.c.actor_id == row["actor_id"]))
    verdicts = view.ledger.read(select(t.verdict.c.verdict_id).where(t.verdict.c.actor_id == row["actor_id"]))
    masksets, said = {each["maskset_id"] for each in sets}, {each["verdict_id"] for each in verdicts}
    return [each for each in rows if each["maskset_id"] in masksets or said & set(json.loads(each["evidence"]))]


def revoke(view: LedgerView, kind: str, name: str) -> list[Row]:
    """Takes back what rests on it: annotations are marked, verdicts lapse, pairs are asked anew; the annotations.

    Snapshots stay as they were; the next one is without them. Pairs of a revoked source or phrase are asked no more.
    Raises: InputError unless exactly one has that name.
    """
    row, rows = resolve(view, kind, name), impact(view, kind, name)
    table, key, _ = KINDS[kind]
    if kind in ACTORS and row["actor_id"] == RULES.actor_id:
        raise InputError("the rules of masklet itself cannot be revoked: revoke a source or a phrase instead")
    lapsed = _verdicts_on(view, row["actor_id"]) if kind in ACTORS else []
    reopened = {
        each["pair_id"]: Cause.REVOKED for each in rows if each["slot"] == "-" and State(each["state"]) in FINAL
    }
    pairs = {each["pair_id"]: State(each["state"]) for each in view.pairs(revoked=True)}
    for verdict in lapsed:
        if Cause.STALE in TRANSITIONS[pairs[verdict["pair_id"]]]:
            reopened.setdefault(verdict["pair_id"], Cause.STALE)
    outcome = Outcome(
        moves=[Move(pair_id=pair_id, cause=cause) for pair_id, cause in sorted(reopened.items())],
        lapsed=[verdict["verdict_id"] for verdict in lapsed],
    )
    with view.ledger.transaction() as connection:
        connection.execute(update(table).where(table.c[key] == row[key]).values(revoked=1))
        for each in rows:
            mark = t.annotation.c.annotation_id == each["annotation_id"]
            connection.execute(update(t.annotation).where(mark).values(revoked=1))
        view.ledger.apply(connection, outcome, RULES)
        view.ledger.tell(connection, RULES, "revoked", row[key], {"kind": kind, "annotations": len(rows)})
    return rows


def reopen_unfinished(view: LedgerView) -> int:
    """Asks anew what is not final, as after a change of model; how many pairs. What a person said or labelled stays."""
    open_pairs = [
        row
        for row in view.pairs()
        if Cause.STALE in TRANSITIONS[State(row["state"])]
        and State(row["state"]) not in FINAL
        and row["origin"] != "labels"
        and all(verdict["kind"] != "person" for verdict in view.verdicts(row["pair_id"]))
    ]
    moves = [Move(pair_id=row["pair_id"], cause=Cause.STALE) for row in open_pairs]
    lapsed = [verdict["verdict_id"] for row in open_pairs for verdict in view.verdicts(row["pair_id"])]
    view.ledger.act(Outcome(moves=moves, lapsed=lapsed), RULES)
    return len(moves)


def _verdicts_on(view: LedgerView, actor_id: str) -> list[Row]:
    """What an actor said, and what others said of its masks."""
    sets = view.ledger.read(select(t.maskset.c.maskset_id).where(t.maskset.c.actor_id == actor_id))
    masksets = {each["maskset_id"] for each in sets}
    rows = view.ledger.read(
        select(t.verdict.c.verdict_id, t.verdict.c.pair_id, t.verdict.c.subject, t.verdict.c.actor_id)
    )
    return [row for row in rows if row["actor_id"] == actor_id or row["subject"].partition("#")[0] in masksets]


def _payload(event: Row) -> dict[str, Any]:
    return {"from": "", "to": "", "cause": event["kind"]} | json.loads(event["payload"])


def _mark(row: Row) -> str:
    return ", REVOKED" if row["revoked"] else ""
