"""What stages may know: the facts of a project as plain rows, without a database in sight."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import case, exists, func, not_, or_, select

from masklet.engine.blobs import Blobs
from masklet.engine.ledger import tables as t
from masklet.engine.ledger.ledger import Ledger
from masklet.engine.records import MaskRow
from masklet.engine.states import FINAL, State

Row = Mapping[str, Any]
IS_THERE = t.media.c.media_id.not_in(select(t.replaced.c.media_id))
OVERTURNED = frozenset({State.FINAL_POSITIVE, State.TO_CORRECT, State.TO_CORRECT_GROUP, State.CORRECTED, State.RECHECK})


class LedgerView:
    """A project to be read."""

    def __init__(self, ledger: Ledger, blobs: Blobs) -> None:
        self.ledger, self.blobs = ledger, blobs

    def media(self) -> list[Row]:
        """All readable images that are there, of sources that were not taken back, in the order of their names."""
        query = select(t.media).join(t.source, t.source.c.source_id == t.media.c.source_id)
        query = query.where(t.media.c.error.is_(None), t.source.c.revoked == 0, IS_THERE)
        return self.ledger.read(query.order_by(t.media.c.uri, t.media.c.media_id))

    def places(self) -> dict[str, str]:
        """Of each file that holds an image, what it was like when it was looked at last."""
        rows = self.ledger.read(select(t.place.c.uri, t.place.c.stamp))
        return {row["uri"]: row["stamp"] for row in rows}

    def held(self) -> dict[str, str]:
        """The image that each file held when it was looked at last."""
        return {row["uri"]: row["media_id"] for row in self.ledger.read(select(t.place.c.uri, t.place.c.media_id))}

    def files_of(self, media_id: str) -> list[str]:
        """The files that hold an image, as far as is known."""
        query = select(t.place.c.uri).where(t.place.c.media_id == media_id).order_by(t.place.c.uri)
        return [row["uri"] for row in self.ledger.read(query)]

    def replaced(self) -> set[str]:
        """Images that no file holds any more, since theirs holds another one or is gone."""
        return {row["media_id"] for row in self.ledger.read(select(t.replaced.c.media_id))}

    def all_media(self) -> list[Row]:
        """Every image that was ever read, broken and replaced ones and those of revoked sources included."""
        return self.ledger.read(select(t.media).order_by(t.media.c.uri, t.media.c.media_id))

    def one_media(self, media_id: str) -> Row:
        """One image."""
        return self.ledger.read(select(t.media).where(t.media.c.media_id == media_id))[0]

    def clusters(self) -> dict[str, str]:
        """For each image the one that stands for its duplicates; of several answers the latest.

        An image that is there no more, or was taken back with its source, stands for none.
        """
        there = select(t.media.c.media_id).join(t.source, t.source.c.source_id == t.media.c.source_id)
        there = there.where(t.source.c.revoked == 0, IS_THERE)
        query = select(t.cluster).where(t.cluster.c.representative.in_(there))
        rows = self.ledger.read(query.order_by(t.cluster.c.position))
        return {row["media_id"]: row["representative"] for row in rows}

    def leaks(self) -> dict[str, Row]:
        """Images that registered evaluation sets show as well, by their id, with the name of the set and its image."""
        return {row["media_id"]: row for row in self.ledger.read(select(t.leak).order_by(t.leak.c.leak_id.desc()))}

    def gold_media(self) -> set[str]:
        """Images with a gold pair."""
        query = select(t.pair.c.media_id).join(t.gold, t.gold.c.pair_id == t.pair.c.pair_id)
        return {row["media_id"] for row in self.ledger.read(query)}

    def guards(self) -> list[Row]:
        """Images of the registered evaluation sets."""
        return self.ledger.read(select(t.guard).order_by(t.guard.c.guard_id))

    def phrases(self) -> list[Row]:
        """The phrases that are not revoked."""
        return self.ledger.read(select(t.phrase).where(t.phrase.c.revoked == 0).order_by(t.phrase.c.text))

    def pairs(
        self, *states: State, media_id: str | None = None, limit: int | None = None, revoked: bool = False
    ) -> list[Row]:
        """Pairs with their phrases, in these states (all, when none is named), by priority.

        Those of phrases and sources that were taken back, and of images that are there no more, are left out unless
        `revoked`.
        """
        query = select(t.pair, t.phrase.c.text).join(t.phrase, t.phrase.c.phrase_id == t.pair.c.phrase_id)
        if not revoked:
            query = query.join(t.media, t.media.c.media_id == t.pair.c.media_id)
            query = query.join(t.source, t.source.c.source_id == t.media.c.source_id)
            query = query.where(t.phrase.c.revoked == 0, t.source.c.revoked == 0, IS_THERE)
        if states:
            query = query.where(t.pair.c.state.in_([str(state) for state in states]))
        if media_id is not None:
            query = query.where(t.pair.c.media_id == media_id)
        return self.ledger.read(query.order_by(t.pair.c.priority.desc(), t.pair.c.pair_id).limit(limit))

    def one_pair(self, pair_id: str) -> Row:
        """One pair with its phrase."""
        query = select(t.pair, t.phrase.c.text).join(t.phrase, t.phrase.c.phrase_id == t.pair.c.phrase_id)
        return self.ledger.read(query.where(t.pair.c.pair_id == pair_id))[0]

    def authors(self) -> list[Row]:
        """Everybody on record: people, models, rules, and labels that came in."""
        return self.ledger.read(select(t.actor).order_by(t.actor.c.actor_id))

    def is_revoked(self, actor_id: str) -> bool:
        """Whether what an actor does was taken back."""
        query = select(t.actor.c.revoked).where(t.actor.c.actor_id == actor_id)
        return any(row["revoked"] for row in self.ledger.read(query))

    def counts(self) -> dict[State, int]:
        """How many pairs are in each state, of those that `pairs` gives."""
        found = Counter(self.all_counts())
        found.subtract(self._hidden_counts())
        return {state: count for state, count in found.items() if count > 0}

    def all_counts(self) -> dict[State, int]:
        """How many pairs are in each state, those that were taken back and of images that are gone included."""
        rows = self.ledger.read(select(t.tally).where(t.tally.c.pairs > 0))
        return {State(row["state"]): row["pairs"] for row in rows}

    def _hidden_counts(self) -> dict[State, int]:
        marks = (t.phrase.c.revoked == 1, t.source.c.revoked == 1, t.replaced.c.media_id.is_not(None))
        if not any(self.ledger.read(select(mark.label("is_so")).where(mark).limit(1)) for mark in marks):
            return {}
        query = select(t.pair.c.state, func.count().label("n"))
        query = query.join(t.phrase, t.phrase.c.phrase_id == t.pair.c.phrase_id)
        query = query.join(t.media, t.media.c.media_id == t.pair.c.media_id)
        query = query.join(t.source, t.source.c.source_id == t.media.c.source_id)
        hidden = query.where(or_(t.phrase.c.revoked == 1, t.source.c.revoked == 1, not_(IS_THERE)))
        return {State(row["state"]): row["n"] for row in self.ledger.read(hidden.group_by(t.pair.c.state))}

    def counts_of_phrases(self, state: State) -> dict[str, int]:
        """How many pairs of each phrase are in a state."""
        query = select(t.phrase.c.text, func.count().label("n")).join(
            t.pair, t.pair.c.phrase_id == t.phrase.c.phrase_id
        )
        rows = self.ledger.read(query.where(t.pair.c.state == str(state)).group_by(t.phrase.c.text))
        return {row["text"]: row["n"] for row in rows}

    def maskset(self, pair_id: str) -> Row | None:
        """The latest masks of a pair, those of gold slots aside."""
        query = select(t.maskset).where(t.maskset.c.pair_id == pair_id, t.maskset.c.position >= 0)
        rows = self.ledger.read(query.order_by(t.maskset.c.position.desc(), t.maskset.c.maskset_id).limit(1))
        return rows[0] if rows else None

    def maskset_by_id(self, maskset_id: str | None) -> Row | None:
        """One set of masks."""
        rows = self.ledger.read(select(t.maskset).where(t.maskset.c.maskset_id == maskset_id))
        return rows[0] if rows else None

    def masks(self, maskset: Row) -> list[MaskRow]:
        """The masks of a set."""
        return [MaskRow.from_json(each) for each in json.loads(self.blobs.get(maskset["blob"]))]

    def verdicts(self, pair_id: str, task: str | None = None, *, lapsed: bool = False) -> list[Row]:
        """What was said of a pair; without those that are no longer about what is there."""
        query = select(t.verdict, t.actor.c.kind).join(t.actor, t.actor.c.actor_id == t.verdict.c.actor_id)
        query = query.where(t.verdict.c.pair_id == pair_id)
        if task is not None:
            query = query.where(t.verdict.c.task == task)
        if not lapsed:
            query = query.where(t.verdict.c.lapsed == 0)
        return self.ledger.read(query.order_by(t.verdict.c.verdict_id))

    def accepted(self, pair_id: str, maskset: Row) -> list[int]:
        """Numbers of the masks of the set that were accepted; a person's word stands above a model's."""
        said: dict[int, tuple[int, str]] = {}
        for row in self.verdicts(pair_id, "mask"):
            set_id, _, number = row["subject"].partition("#")
            rank = 1 if row["kind"] == "person" else 0
            if set_id == maskset["maskset_id"] and (int(number) not in said or rank >= said[int(number)][0]):
                said[int(number)] = (rank, row["label"])
        return sorted(number for number, (_, label) in said.items() if label in ("accept", "text"))

    def annotations(self) -> list[Row]:
        """The annotations that hold at present: of pairs that are final, of the time when they became so."""
        gone = self.replaced()
        rows = [
            row
            for row in self.all_annotations()
            if not row["revoked"] and row["state"] in FINAL and row["revision"] == row["version"]
            if row["media_id"] not in gone
        ]
        return sorted(rows, key=lambda row: (row["pair_id"], row["slot"]))

    def annotation_figures(self) -> list[Row]:
        """How many annotations hold at present, and how many masks they have, by tier and polarity."""
        masks = t.annotation.c.masks  # a JSON list of numbers
        commas = func.length(masks) - func.length(func.replace(masks, ",", ""))
        num_masks = func.sum(case((masks == "[]", 0), else_=commas + 1))
        query = select(t.annotation.c.tier, t.annotation.c.polarity, func.count().label("n"), num_masks.label("masks"))
        query = query.join(t.pair, t.pair.c.pair_id == t.annotation.c.pair_id)
        query = query.where(t.annotation.c.revoked == 0, t.pair.c.state.in_(sorted(FINAL)))
        gone = select(t.replaced.c.media_id)
        query = query.where(t.annotation.c.revision == t.pair.c.version, t.pair.c.media_id.not_in(gone))
        return self.ledger.read(query.group_by(t.annotation.c.tier, t.annotation.c.polarity))

    def num_duplicates(self) -> int:
        """How many images another one stands for."""
        place = func.row_number().over(partition_by=t.cluster.c.media_id, order_by=t.cluster.c.position.desc())
        answers = select(t.cluster.c.media_id, t.cluster.c.representative, place.label("place")).subquery()
        query = select(func.count().label("n")).where(
            answers.c.place == 1, answers.c.representative != answers.c.media_id
        )
        return self.ledger.read(query)[0]["n"]

    def negative_figures(self) -> dict[str, int]:
        """Of look-alikes and other negatives that were made from what images show: how many, and what became of them.

        `hard` are those for which the model found something, `overturned` those that turned out to be there.
        """
        finds = exists().where(t.maskset.c.pair_id == t.pair.c.pair_id, t.maskset.c.num_masks > 0)
        is_found = case((finds, 1), else_=0).label("found")
        query = select(t.pair.c.state, is_found, func.count().label("n")).where(t.pair.c.parent_pair_id.is_not(None))
        rows = self.ledger.read(query.group_by(t.pair.c.state, is_found))
        absent = [row for row in rows if row["state"] == State.FINAL_NEGATIVE]
        return {
            "made": sum(row["n"] for row in rows),
            "final": sum(row["n"] for row in absent),
            "hard": sum(row["n"] for row in absent if row["found"]),
            "overturned": sum(row["n"] for row in rows if row["state"] in OVERTURNED),
        }

    def all_annotations(self) -> list[Row]:
        """Every annotation that there ever was."""
        query = select(t.annotation, t.pair.c.media_id, t.pair.c.state, t.pair.c.version, t.pair.c.origin)
        query = query.add_columns(t.phrase.c.text).join(t.pair, t.pair.c.pair_id == t.annotation.c.pair_id)
        query = query.join(t.phrase, t.phrase.c.phrase_id == t.pair.c.phrase_id)
        return self.ledger.read(query.order_by(t.annotation.c.annotation_id))

    def reachable(self) -> set[str]:
        """Digests of all blobs that a row refers to."""
        rows: Iterable[Row] = self.ledger.read(select(t.maskset.c.blob.label("digest")))
        guards = self.ledger.read(select(t.guard.c.blob.label("digest")))
        vectors = self.ledger.read(select(t.description.c.blob.label("digest")))
        clips = select(t.maskset.c.maskset_id, t.maskset.c.blob).join(t.pair, t.pair.c.pair_id == t.maskset.c.pair_id)
        clips = clips.join(t.media, t.media.c.media_id == t.pair.c.media_id).where(t.media.c.profile.is_not(None))
        tracks = [{"digest": m.track} for row in self.ledger.read(clips) for m in self.masks(row) if m.track]
        renders = self.ledger.read(select(t.verdict.c.render.label("digest")).where(t.verdict.c.render != "-"))
        return {row["digest"] for row in (*rows, *renders, *guards, *vectors, *tracks)}
