"""What is wrong in existing labels, ranked by how sure the model is of the contrary: four kinds of error.

Source: the kinds (overlooked, swapped, badly located) are those of Tkachenko, Thyagarajan and Mueller (2023),
ObjectLab; doubled labels are our own.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from masklet.engine.ledger import tables as t
from masklet.engine.records import MaskRow
from masklet.engine.stages.labels import SAME
from masklet.engine.stages.mask_rows import overlap_table
from masklet.engine.view import LedgerView, Row

SURE = 0.5  # score of a find that counts against a label
WELL_OUTLINED = 0.75
APART = 0.3  # overlap below which two masks are different things
DOUBLED = 0.8


@dataclass(frozen=True, kw_only=True)
class LabelError:
    """A suspicion: kind, image, phrase, the mask it is about, what the model says instead, and how sure it is."""

    kind: str
    uri: str
    media_id: str
    phrase: str
    mask: MaskRow
    instead: str
    certainty: float


@dataclass(frozen=True, kw_only=True)
class _Both:
    """Labels and finds of a phrase in an image."""

    phrase: str
    labels: Sequence[MaskRow]
    finds: Sequence[MaskRow]


def label_errors(view: LedgerView) -> list[LabelError]:
    """All suspicions in the labels of a project, the surest first."""
    found = []
    for media_id, rows in _by_image(view).items():
        uri = view.one_media(media_id)["uri"]
        for each in rows:
            for kind, mask, instead, certainty in (*_of_phrase(each), *_wrong_names(each, rows)):
                found.append(
                    LabelError(
                        kind=kind,
                        uri=uri,
                        media_id=media_id,
                        phrase=each.phrase,
                        mask=mask,
                        instead=instead,
                        certainty=round(certainty, 5),
                    )
                )
    return sorted(found, key=lambda each: (-each.certainty, each.uri, each.phrase, each.mask.counts))


def _of_phrase(each: _Both) -> list[tuple[str, MaskRow, str, float]]:
    found = []
    overlaps = overlap_table(each.labels, each.finds)
    for place, find in enumerate(each.finds):
        best = overlaps[:, place].max(initial=0.0)
        if find.score >= SURE and best < APART:
            found.append(("overlooked", find, each.phrase, find.score))
        elif find.score >= SURE and best < WELL_OUTLINED and best == overlaps[overlaps[:, place].argmax()].max():
            label = each.labels[int(overlaps[:, place].argmax())]
            found.append(("badly outlined", label, f"overlap {best:.2f}", find.score * (1 - best)))
    among = overlap_table(each.labels, each.labels)
    for place, label in enumerate(each.labels):
        if among[place, :place].max(initial=0.0) >= DOUBLED:
            found.append(("doubled", label, "another label of the same", float(among[place, :place].max())))
    return found


def _wrong_names(each: _Both, rows: Sequence[_Both]) -> list[tuple[str, MaskRow, str, float]]:
    """Labels that are nothing to the model under their own phrase, and something under another."""
    own = overlap_table(each.labels, each.finds)
    found = []
    for place, label in enumerate(each.labels):
        if own[place].max(initial=0.0) >= APART:
            continue
        candidates = [
            (find.score, other.phrase)
            for other in rows
            if other.phrase != each.phrase
            for find, overlap in zip(other.finds, overlap_table([label], other.finds)[0], strict=True)
            if overlap >= SAME and find.score >= SURE
        ]
        if candidates:
            score, phrase = max(candidates)
            found.append(("wrong name", label, phrase, score))
    return found


def _by_image(view: LedgerView) -> dict[str, list[_Both]]:
    """Labels and finds of every pair that labels spoke of."""
    query = select(t.maskset, t.actor.c.kind, t.pair.c.media_id, t.phrase.c.text)
    query = query.join(t.actor, t.actor.c.actor_id == t.maskset.c.actor_id)
    query = query.join(t.pair, t.pair.c.pair_id == t.maskset.c.pair_id)
    query = query.join(t.phrase, t.phrase.c.phrase_id == t.pair.c.phrase_id)
    sets: dict[tuple[str, str], dict[str, Row]] = defaultdict(dict)
    for row in view.ledger.read(query.order_by(t.maskset.c.position.desc())):
        if row["kind"] in ("labels", "model"):
            sets[row["media_id"], row["text"]][row["kind"]] = row
    labelled = {media_id for (media_id, _), kinds in sets.items() if "labels" in kinds}
    found: dict[str, list[_Both]] = defaultdict(list)
    for (media_id, text), kinds in sorted(sets.items()):
        if media_id in labelled:
            labels, finds = (view.masks(kinds[kind]) if kind in kinds else [] for kind in ("labels", "model"))
            found[media_id].append(_Both(phrase=text, labels=labels, finds=finds))
    return found
