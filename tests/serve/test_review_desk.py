"""Reviews over the network: questions of a project, verdicts that are in its ledger, and who may give them."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from engine_world import open_world
from fastapi.testclient import TestClient
from reviewing import ANNOTATOR, LEAD, REVIEWER, served_project, write_project

from masklet.client import Client, ServerError
from masklet.engine.states import State
from masklet.errors import InputError
from masklet.serve.app import create_app
from masklet.serve.review.review_schemas import ReviewSheet, VerdictRow, VerdictsBody
from masklet.serve.settings import ServeSettings


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project", tmp_path / "photos", 4)


@pytest.fixture
def reviewed(settings: ServeSettings, project: Path, tmp_path: Path) -> Iterator[TestClient]:
    with served_project(settings, project, tmp_path / "serve") as http:
        yield http


def verdicts(sheet: ReviewSheet, label: str) -> VerdictsBody:
    rows = [VerdictRow(pair=c.pair, maskset=c.maskset, number=c.number, label=label, seconds=2) for c in sheet.cards]
    return VerdictsBody(task=sheet.task, answers=rows)


def keys(sheet: ReviewSheet) -> set[tuple[str, int | None]]:
    return {(card.maskset, card.number) for card in sheet.cards}


def test_verdicts_of_a_reviewer_are_in_the_ledger(reviewed: TestClient, project: Path, tmp_path: Path) -> None:
    client = Client(http=reviewed, token=REVIEWER)
    assert client.server().has_project
    while (sheet := client.review(limit=30)).cards:
        assert sheet.question == "Does the mask show this, whole and alone?"
        assert sheet.cards[0].picture.startswith("/9j/")
        assert client.decide(verdicts(sheet, "accept")).counts == {"taken": len(sheet.cards)}
    view = open_world(project, tmp_path / "photos").view
    assert State.HUMAN_MASKS not in view.counts()
    assert "Rea" in {row["name"] for row in view.authors()}


def test_a_verdict_that_is_sent_twice_counts_once(reviewed: TestClient) -> None:
    client = Client(http=reviewed, token=REVIEWER)
    body = verdicts(client.review(limit=60), "accept")
    assert "taken" in client.decide(body).counts
    assert "taken" not in client.decide(body).counts


def test_known_questions_are_hidden_among_open_ones_and_make_a_score(
    reviewed: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("masklet.engine.review.people.HIDDEN_SHARE", 1.0)
    monkeypatch.setattr("masklet.serve.review.review_desk.LEASE_SECONDS", 0.0)  # both have all on their sheets
    rea, lea = Client(http=reviewed, token=REVIEWER), Client(http=reviewed, token=LEAD)
    sheet = rea.review(limit=60)
    pairs = sorted({card.pair for card in sheet.cards})[:2]
    decided = [card for card in sheet.cards if card.pair in pairs]
    rea.decide(verdicts(sheet.model_copy(update={"cards": decided}), "accept"))
    assert not [card for card in rea.review(limit=60).cards if card.pair in pairs]  # nobody is asked what they said
    asked = []
    for label in ("accept", "reject"):
        sheet = lea.review(limit=20)
        known = [card for card in sheet.cards if card.pair in pairs]
        assert len(known) == 1
        assert lea.decide(verdicts(sheet.model_copy(update={"cards": known}), label)).counts == {"known before": 1}
        asked += [(card.pair, card.number) for card in known]
    assert len(set(asked)) == 2
    assert "right on 1 of 2 known questions" in lea.review().score
    assert "no known question yet" in rea.review().score


def test_on_this_machine_a_person_has_the_name_they_give(
    settings: ServeSettings, project: Path, tmp_path: Path
) -> None:
    own = replace(settings, folder=tmp_path / "serve", project=project)
    with TestClient(create_app(own), base_url="http://127.0.0.1") as http:
        client = Client(http=http)
        body = verdicts(client.review(limit=2), "reject").model_copy(update={"name": " Ada  L "})
        assert client.decide(body).counts == {"taken": 2}
        assert client.review(name="Ada L").score.startswith("Ada L: 2 answers, 2.0 s")
        assert not client.review(name="Bob").score


def test_annotators_look_and_do_not_decide(reviewed: TestClient) -> None:
    client = Client(http=reviewed, token=ANNOTATOR)
    sheet = client.review()
    with pytest.raises(ServerError) as caught:
        client.decide(verdicts(sheet, "accept"))
    assert caught.value.status == 403


def test_two_people_see_the_same_questions_in_orders_of_their_own(reviewed: TestClient) -> None:
    orders = [
        [card.pair for card in Client(http=reviewed, token=token).review(limit=60).cards]
        for token in (ANNOTATOR, REVIEWER)
    ]
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]


def test_what_is_on_one_sheet_is_on_nobody_elses_until_it_is_answered_or_too_late(
    reviewed: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    rea, lea = Client(http=reviewed, token=REVIEWER), Client(http=reviewed, token=LEAD)
    of_rea = keys(rea.review(limit=2))
    of_lea = lea.review(limit=60)
    assert len(of_rea) == 2
    assert not of_rea & keys(of_lea)
    assert of_lea.held == 2
    assert of_lea.open == 2 + len(of_lea.cards)
    assert keys(rea.review(limit=60)) == of_rea  # her own are kept for her; all others are with Lea
    lea.decide(verdicts(of_lea, "accept"))
    assert not lea.review(limit=60).cards
    hours = time.monotonic() + 3600
    monkeypatch.setattr("masklet.serve.review.review_desk.time.monotonic", lambda: hours)
    assert keys(lea.review(limit=60)) == of_rea


def test_an_answer_that_the_task_has_not_is_refused(reviewed: TestClient) -> None:
    client = Client(http=reviewed, token=REVIEWER)
    with pytest.raises(ServerError, match="an answer of masks is one of"):
        client.decide(verdicts(client.review(), "perhaps"))


def test_a_folder_that_is_no_project_is_named(settings: ServeSettings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no project"):
        create_app(replace(settings, project=tmp_path))
