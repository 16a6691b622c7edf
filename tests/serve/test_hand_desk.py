"""Corrections and gold labels in photo sessions: where they begin, and what goes to the ledger."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from engine_world import ColourSegmenter, open_world, run_world, true_masks
from fastapi.testclient import TestClient
from PIL import Image
from reviewing import ANNOTATOR, LEAD, REVIEWER, served_project, write_project
from sqlalchemy import select

from masklet.client import Client, ServerError
from masklet.engine.ledger import tables
from masklet.engine.review.corrections import REFUSED, is_rechecked
from masklet.engine.review.gold import annotations_of, choose_gold
from masklet.engine.states import FINAL, State
from masklet.engine.view import LedgerView, Row
from masklet.ops.masks import rle_decode, rle_encode
from masklet.serve.review.review_schemas import HandDoneBody, HandTaskBody, VerdictRow, VerdictsBody
from masklet.serve.schemas import DrawBody, ObjectsBody, PhotoView, RleMask
from masklet.serve.settings import ServeSettings

SIZE = (96, 96)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return tmp_path / "photos"


@pytest.fixture
def project(photos: Path, tmp_path: Path) -> Path:
    return write_project(tmp_path / "project", photos, 6)


@pytest.fixture
def view(project: Path, photos: Path) -> LedgerView:
    return open_world(project, photos).view


@pytest.fixture
def served(settings: ServeSettings, project: Path, tmp_path: Path) -> Iterator[TestClient]:
    with served_project(settings, project, tmp_path / "serve") as http:
        yield http


@pytest.fixture
def rea(served: TestClient) -> Client:
    return Client(http=served, token=REVIEWER)


def say_missing(client: Client, view: LedgerView, project: Path, photos: Path, *, rechecked: bool = False) -> Row:
    """Judges all masks right and one pair with some to be incomplete, so that it waits for a correction."""
    while (sheet := client.review(limit=60)).cards:
        rows = [VerdictRow(pair=c.pair, maskset=c.maskset, number=c.number, label="accept") for c in sheet.cards]
        client.decide(VerdictsBody(task="masks", answers=rows))
    world = open_world(project, photos)
    run_world(world, ColourSegmenter(score=0.5), run_id="second")
    pairs = [pair for pair in view.pairs(State.HUMAN_PENDING, *FINAL) if is_rechecked(pair["pair_id"]) == rechecked]
    pair = next(pair for pair in pairs if masks_of(view, pair["pair_id"]))
    maskset = view.maskset(pair["pair_id"])
    assert maskset
    row = VerdictRow(pair=pair["pair_id"], maskset=maskset["maskset_id"], label="reject")
    task = "exhaustivity" if pair["state"] == State.HUMAN_PENDING else "audit"
    assert client.decide(VerdictsBody(task=task, answers=[row])).counts == {"taken": 1}
    assert view.one_pair(pair["pair_id"])["state"] == State.TO_CORRECT
    return view.one_pair(pair["pair_id"])


def drawing(phrase: str, mask: np.ndarray, number: int | None = None) -> DrawBody:
    return DrawBody(object=number, phrase=phrase, mask=RleMask(size=SIZE, counts=rle_encode(mask)))


def corner() -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[90:96, 90:96] = True
    return mask


def masks_of(view: LedgerView, pair: str) -> list[np.ndarray]:
    maskset = view.maskset(pair)
    assert maskset
    return [rle_decode(mask.counts, *mask.size) for mask in view.masks(maskset)]


def test_a_correction_begins_with_what_was_accepted_and_is_written_in_the_persons_name(
    rea: Client, view: LedgerView, project: Path, photos: Path
) -> None:
    pair = say_missing(rea, view, project, photos)
    assert rea.hand_counts().correct == 1
    before = masks_of(view, pair["pair_id"])
    photo = rea.open_hand()
    assert photo
    assert photo.task
    assert (photo.task.kind, photo.task.phrase, photo.task.name) == ("correct", pair["text"], "Rea")
    shown = [rle_decode(each.mask.counts, *each.mask.size) for each in photo.objects]
    assert all((a == b).all() for a, b in zip(shown, before, strict=True))
    photo = rea.draw(photo.id, drawing(pair["text"], corner()))
    photo = rea.draw(photo.id, drawing("something else", corner()))  # of no matter to the pair
    assert rea.image(photo.id).task == photo.task
    counts = rea.finish_hand(photo.id, HandDoneBody(seconds=12.5, groups=[photo.objects[-2].id])).counts
    assert counts == {"corrected": 1}
    after = masks_of(view, pair["pair_id"])
    assert len(after) == len(before) + 1
    assert any((each == corner()).all() for each in after)
    maskset = view.maskset(pair["pair_id"])
    assert maskset
    assert [each.group for each in view.masks(maskset)].count(True) == 1
    assert {"Rea"} == {row["name"] for row in view.authors() if row["actor_id"] == maskset["actor_id"]}
    assert view.one_pair(pair["pair_id"])["state"] == State.FINAL_POSITIVE
    with pytest.raises(ServerError):
        rea.image(photo.id)  # the session has done its work
    assert rea.open_hand() is None


def test_a_pair_without_any_object_becomes_absent(rea: Client, view: LedgerView, project: Path, photos: Path) -> None:
    pair = say_missing(rea, view, project, photos)
    photo = rea.open_hand()
    assert photo
    rea.edit(photo.id, ObjectsBody(action="delete", objects=[each.id for each in photo.objects]))
    assert rea.finish_hand(photo.id).counts == {"corrected": 1}
    assert view.one_pair(pair["pair_id"])["state"] == State.FINAL_NEGATIVE


def test_a_mask_that_is_wrong_is_corrected_from_the_sheet(rea: Client, view: LedgerView) -> None:
    card = rea.review().cards[0]
    assert view.one_pair(card.pair)["state"] == State.HUMAN_MASKS
    photo = rea.open_hand(HandTaskBody(pair=card.pair))
    assert photo
    assert photo.task
    assert len(photo.objects) == len(masks_of(view, card.pair))  # nobody has refused one yet
    rea.draw(photo.id, drawing(card.phrase, corner(), photo.objects[0].id))
    assert rea.finish_hand(photo.id).counts == {"corrected": 1}
    assert (masks_of(view, card.pair)[0] == corner()).all()
    assert view.one_pair(card.pair)["state"] in (State.FINAL_POSITIVE, State.RECHECK)
    assert card.pair not in {each.pair for each in rea.review(limit=60).cards}


def test_a_pair_that_was_begun_is_gone_on_with_and_kept_from_others(
    rea: Client, served: TestClient, view: LedgerView, project: Path, photos: Path
) -> None:
    pair = say_missing(rea, view, project, photos)
    first = rea.open_hand()
    assert first
    again = rea.open_hand()
    assert again
    assert again.id == first.id
    lea = Client(http=served, token=LEAD)
    assert lea.open_hand() is None
    with pytest.raises(ServerError, match="somebody else corrects this one"):
        lea.open_hand(HandTaskBody(pair=pair["pair_id"]))
    assert rea.finish_hand(first.id, HandDoneBody(action="leave")).counts == {"left": 1}
    taken = lea.open_hand()
    assert taken
    assert taken.task
    assert taken.task.pair == pair["pair_id"]


def test_what_was_decided_meanwhile_is_not_overwritten(
    rea: Client, served: TestClient, view: LedgerView, project: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = say_missing(rea, view, project, photos)
    first = rea.open_hand()
    assert first
    rea.draw(first.id, drawing(pair["text"], corner()))
    monkeypatch.setattr("masklet.serve.review.hand_desk.LEASE_SECONDS", 0.0)
    lea = Client(http=served, token=LEAD)
    other = lea.open_hand()
    assert other
    assert lea.finish_hand(other.id).counts == {"corrected": 1}
    decided = masks_of(view, pair["pair_id"])
    assert rea.finish_hand(first.id).counts == {"decided before": 1}
    assert len(masks_of(view, pair["pair_id"])) == len(decided)


def test_a_pair_that_cannot_be_labelled_leaves_the_work_with_a_reason(
    rea: Client, view: LedgerView, project: Path, photos: Path
) -> None:
    pair = say_missing(rea, view, project, photos)
    photo = rea.open_hand()
    assert photo
    done = HandDoneBody(action="refuse", reason="too blurred")
    assert rea.finish_hand(photo.id, done).counts == {"refused": 1}
    assert view.one_pair(pair["pair_id"])["state"] == State.JOB_REJECTED
    [told] = view.ledger.read(select(tables.event.c.payload).where(tables.event.c.kind == REFUSED))
    assert told["payload"] == '{"reason": "too blurred"}'


def test_nobody_looks_at_their_own_correction(
    rea: Client, served: TestClient, view: LedgerView, project: Path, photos: Path
) -> None:
    pair = say_missing(rea, view, project, photos, rechecked=True)
    photo = rea.open_hand()
    assert photo
    rea.finish_hand(photo.id)
    assert view.one_pair(pair["pair_id"])["state"] == State.RECHECK
    body = HandTaskBody(pair=pair["pair_id"])
    with pytest.raises(ServerError, match="somebody else looks at your own corrections"):
        rea.open_hand(body)
    assert Client(http=served, token=LEAD).open_hand(body)


def test_annotators_correct_nothing(served: TestClient) -> None:
    with pytest.raises(ServerError) as caught:
        Client(http=served, token=ANNOTATOR).open_hand()
    assert caught.value.status == 403


def gold_task(photo: PhotoView | None) -> PhotoView:
    assert photo
    assert photo.task
    assert photo.objects == []  # nobody sees what others drew
    return photo


def test_gold_slots_are_labelled_by_three_people_apart(
    rea: Client, served: TestClient, view: LedgerView, project: Path, photos: Path
) -> None:
    choose_gold(open_world(project, photos), 1)
    total = rea.hand_counts().gold["a"]
    lea, slot_a = Client(http=served, token=LEAD), HandTaskBody(kind="gold", slot="a")
    photo = gold_task(rea.open_hand(slot_a))
    assert photo.task
    image = np.asarray(Image.open(next(photos.glob(photo.name))))
    truth = true_masks(image, photo.task.phrase)
    for mask in truth:
        photo = rea.draw(photo.id, drawing(photo.task.phrase, mask))  # type: ignore[union-attr]
    assert rea.finish_hand(photo.id).counts == {"labelled": 1}
    assert rea.hand_counts().gold == {"a": total - 1, "b": total - 1, "c": total - 1}
    assert lea.hand_counts().gold == {"a": total - 1, "b": total, "c": total}
    with pytest.raises(ServerError, match="cannot be refused"):
        lea.finish_hand(gold_task(lea.open_hand(HandTaskBody(kind="gold", slot="b"))).id, HandDoneBody(action="refuse"))
    [row] = annotations_of(view, "a")
    assert row["tier"] == "gold"
    maskset = view.maskset_by_id(row["maskset_id"])
    assert maskset
    kept = [rle_decode(each.counts, *each.size) for each in view.masks(maskset)]
    assert len(kept) == len(truth)
    assert all((a == b).all() for a, b in zip(kept, truth, strict=True))
