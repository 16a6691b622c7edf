"""The agent against recorded servers: the same requests, the same answers, the same end, and no server."""

from pathlib import Path

import pytest
from cassettes import SCRIPTS, episode, playing, record

from masklet.agent import prompts

FOLDER = Path(__file__).with_name("cassettes")
CASSETTES = sorted(FOLDER.glob("*.jsonl"))


@pytest.mark.parametrize("path", CASSETTES, ids=lambda path: path.stem)
def test_a_cassette_plays_to_the_end_it_was_recorded_with(path) -> None:
    with playing(path) as (url, about, requests):
        outcome = episode(url, about["way"], about["mode"])
    assert "410" not in outcome.reason
    assert (outcome.status, [mark.id for mark in outcome.marks]) == (about["status"], about["masks"])
    assert len(requests) == about["exchanges"]


def test_every_script_has_its_cassette() -> None:
    assert {path.stem for path in CASSETTES} >= SCRIPTS.keys()


def test_a_cassette_recorded_anew_is_the_same_but_for_the_port(tmp_path) -> None:
    way, mode, behaviour = SCRIPTS["busy-then-broken"]
    record(tmp_path / "new.jsonl", behaviour(), way, mode)
    assert (tmp_path / "new.jsonl").read_text() == (FOLDER / "busy-then-broken.jsonl").read_text()


def test_a_changed_prompt_is_noticed(monkeypatch) -> None:
    monkeypatch.setattr("masklet.agent.core.SYSTEM", prompts.SYSTEM + " Be quick.")
    with playing(FOLDER / "json-two-call.jsonl") as (url, about, _):
        outcome = episode(url, about["way"], about["mode"])
    assert outcome.status == "degraded"
    assert "another request than the recorded one: record the cassette anew" in outcome.reason
