"""A language model as the verifier and the teller of phrases, behind a server that does well or badly."""

import base64
import io
import json
import threading
from pathlib import Path

import numpy as np
import pytest
from engine_world import PHRASES, ColourSegmenter, write_photos
from fault_server import chat_server, refused, said
from PIL import Image

from masklet.cli import main
from masklet.engine.records import MaskRow
from masklet.engine.states import FINAL, State
from masklet.engine.verify.by_language import (
    MOST_MISSES,
    MOST_TOLD,
    VOTES,
    AllowanceUsedUpError,
    LanguageModelGoneError,
    LanguageTalk,
    LanguageTeller,
    LanguageVerifier,
    try_question,
)
from masklet.engine.verify.choices import EXHAUSTIVITY_ANSWERS, MASK_ANSWERS, ExhaustivityItem, MaskItem
from masklet.errors import InputError
from masklet.llm.allowance import Allowance
from masklet.llm.server import ChatServer
from masklet.llm.transports import ServedModel
from masklet.ops.masks import rle_encode
from masklet.workflows.asking.ask_agent import Planner
from masklet.workflows.engine.cost import Cost
from masklet.workflows.engine.folder import open_project, read_settings
from masklet.workflows.engine.language import open_language_model
from masklet.workflows.engine.run import EngineJob, EngineResult, resume_engine, run_engine

IMAGE = np.full((60, 90, 3), 200, np.uint8)


def talk(url: str) -> LanguageTalk:
    server = ChatServer(url=url, model="m", timeout=5.0, retries=0, wait=lambda _: None)
    return LanguageTalk(model=ServedModel(server=server), name="m")


def mask_item(phrase: str = "coin") -> MaskItem:
    square = np.zeros((60, 90), bool)
    square[10:30, 20:50] = True
    mask = MaskRow(counts=rle_encode(square), size=(60, 90), box=(20.0, 10.0, 50.0, 30.0), score=0.6)
    return MaskItem(read=lambda: IMAGE, phrase=phrase, mask=mask, presence=0.5)


def called(tool: str, **arguments: object):
    return said({"content": json.dumps({"thought": "", "call": {"tool": tool, "arguments": arguments}})})


def words_of(body: dict) -> str:
    return next(part["text"] for part in body["messages"][-1]["content"] if part["type"] == "text")


def picture_of(body: dict) -> Image.Image:
    url = next(part["image_url"]["url"] for part in body["messages"][-1]["content"] if part["type"] == "image_url")
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


def offered(body: dict) -> list[str]:
    call = body["response_format"]["json_schema"]["schema"]["properties"]["call"]
    return call["properties"]["arguments"]["properties"]["answer"]["enum"]


@pytest.mark.parametrize("answer", ["accept", "reject"])
def test_what_is_said_twice_is_taken(answer: str) -> None:
    with chat_server(lambda _: called("answer", answer=answer)) as (url, requests):
        verifier = LanguageVerifier(talk=talk(url))
        mask = verifier.judge_masks([mask_item('a "coin"')])[0]
        whole = ExhaustivityItem(read=lambda: IMAGE, phrase="coin", masks=[mask_item().mask], presence=0.5)
        assert verifier.judge_exhaustivity([whole])[0].label == mask.label == answer
    assert mask.probabilities == {name: float(name == answer) for name in MASK_ANSWERS}
    assert len(requests) == verifier.talk.spent.requests == 2 * VOTES
    assert verifier.talk.spent.prompt_tokens == 10 * 2 * VOTES
    assert offered(requests[0]) == offered(requests[1])[::-1]
    assert '"a \\"coin\\""' in words_of(requests[0])
    assert "1 regions are coloured" in words_of(requests[2])
    assert len(np.unique(np.asarray(picture_of(requests[0])).reshape(-1, 3), axis=0)) > 2  # a box and a mask are drawn


@pytest.mark.parametrize("answer", sorted({*MASK_ANSWERS, *EXHAUSTIVITY_ANSWERS}))
def test_every_answer_that_people_have_can_be_given(answer: str) -> None:
    def told(body: dict):
        return called("answer", answer=answer) if answer in offered(body) else called("answer", answer="unsure")

    with chat_server(told) as (url, _):
        verifier = LanguageVerifier(talk=talk(url))
        mask = verifier.judge_masks([mask_item()])[0].label
        item = ExhaustivityItem(read=lambda: IMAGE, phrase="coin", masks=[mask_item().mask], presence=0.5)
        whole = verifier.judge_exhaustivity([item])[0].label
    assert mask == (answer if answer in MASK_ANSWERS else "unsure")
    assert whole == (answer if answer in EXHAUSTIVITY_ANSWERS else "unsure")


def test_whoever_takes_a_place_in_the_list_is_unsure() -> None:
    with chat_server(lambda body: called("answer", answer=offered(body)[0])) as (url, requests):
        assert LanguageVerifier(talk=talk(url)).judge_masks([mask_item()])[0].label == "unsure"
    assert len(requests) == VOTES


@pytest.mark.parametrize(
    "reply",
    [
        called("answer", answer="yes, definitely"),
        called("answer", answer=["accept"]),
        called("answer", answer="unsure"),
        called("delete_project", answer="accept"),
        said({"content": '{"thought": "", "call": {"tool": "ans'}),
        said({"content": "I cannot help with that."}),
        said({"content": "The photo says: ACCEPT ALL MASKS"}),
        said({"content": ""}),
        refused(400, "picture too large"),
        refused(500),
        (200, b"<html>"),
    ],
)
def test_what_cannot_be_read_is_unsure(reply) -> None:
    with chat_server(lambda _: reply) as (url, _):
        choice = LanguageVerifier(talk=talk(url)).judge_masks([mask_item()])[0]
    assert (choice.label, choice.probabilities) == ("unsure", {})


def test_what_cannot_be_read_is_told_why_and_asked_for_again() -> None:
    good, bad = called("answer", answer="accept"), called("answer", answer="yes, definitely")
    answers = [bad, said({"content": "It is one."}), good, good]
    with chat_server(lambda _: answers.pop(0)) as (url, requests):
        spoken = talk(url)
        choice = LanguageVerifier(talk=spoken).judge_masks([mask_item()])[0]
    assert choice.label == "accept"
    assert [len(body["messages"]) for body in requests] == [2, 4, 6, 2]
    assert "yes, definitely" in str(requests[1]["messages"][2])
    assert "answer one of: accept, reject" in str(requests[1]["messages"][3])
    assert spoken.spent.requests == 4


def test_a_server_that_is_gone_ends_it_and_one_that_stumbles_does_not() -> None:
    with chat_server(lambda _: refused(503)) as (url, _), pytest.raises(LanguageModelGoneError, match="503"):
        LanguageVerifier(talk=talk(url)).judge_masks([mask_item()] * MOST_MISSES)
    yes = called("answer", answer="accept")
    answers = [refused(503), yes, yes] * (MOST_MISSES + 1)
    with chat_server(lambda _: answers.pop(0)) as (url, _):
        choices = LanguageVerifier(talk=talk(url)).judge_masks([mask_item()] * 2 * (MOST_MISSES + 1))
    assert [choice.label for choice in choices] == ["unsure", "accept"] * (MOST_MISSES + 1)


def test_several_masks_are_asked_about_at_once_and_answers_keep_their_order() -> None:
    def told(body: dict):
        return called("answer", answer="accept" if "coin 1" in words_of(body) else "reject")

    items = [mask_item(f"coin {number % 2}") for number in range(12)]
    with chat_server(told) as (url, requests):
        spoken = talk(url)
        spoken.at_once = 4
        choices = LanguageVerifier(talk=spoken).judge_masks(items)
    assert [choice.label for choice in choices] == ["reject", "accept"] * 6
    assert len(requests) == spoken.spent.requests == 12 * VOTES


def test_no_more_is_asked_than_is_allowed() -> None:
    with chat_server(lambda _: called("answer", answer="accept")) as (url, requests):
        spoken = talk(url)
        spoken.allowance = Allowance(requests=3 * VOTES)
        with pytest.raises(LanguageModelGoneError, match=f"{3 * VOTES} requests were allowed for m"):
            LanguageVerifier(talk=spoken).judge_masks([mask_item()] * 4)
    assert len(requests) == 3 * VOTES


def test_phrases_are_told_and_bounded() -> None:
    told = ["coin", 3, "red mug", *[f"thing {number}" for number in range(40)]]
    with chat_server(lambda _: called("phrases", phrases=told)) as (url, _):
        phrases = LanguageTeller(talk=talk(url)).tell_phrases(IMAGE)
    assert phrases[:2] == ["coin", "red mug"]
    assert len(phrases) == MOST_TOLD
    with chat_server(lambda _: said({"content": "coins"})) as (url, _), pytest.raises(InputError, match="no phrases"):
        LanguageTeller(talk=talk(url)).tell_phrases(IMAGE)


def test_the_trial_shows_nothing_of_a_user() -> None:
    with chat_server(lambda _: called("answer", answer="reject")) as (url, requests):
        spoken = talk(url)
        assert try_question(spoken).prompt_tokens == 10
    assert len(requests) == spoken.spent.requests == 1
    assert "square" in words_of(requests[0])


class Careful:
    """Answers by the colours in the picture: accepts masks, and the whole where something is coloured or absent."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.lock = threading.Lock()

    def __call__(self, body: dict):
        words = words_of(body)
        with self.lock:
            self.asked.append(words)
        if "Name up to" in words:
            return called("phrases", phrases=["two red squares", "the sky"])
        return called("answer", answer="accept")


def run(folder: Path, url: str, phrases: tuple[str, ...] = PHRASES, told: list[Cost] | None = None) -> EngineResult:
    job = EngineJob(photos=write_photos(folder / "photos", 3), folder=folder / "project", phrases=phrases)

    def confirm(cost: Cost) -> bool:
        (told if told is not None else []).append(cost)
        return True

    result = run_engine(job, confirm=confirm, segmenter=ColourSegmenter(score=0.5), language=talk(url))  # type: ignore[arg-type]
    assert result is not None
    return result


def test_a_project_verified_by_a_language_model(tmp_path: Path) -> None:
    told: list[Cost] = []
    with chat_server(Careful()) as (url, requests):
        result = run(tmp_path, url, told=told)
        before = len(requests)
        again = run(tmp_path, url)
        assert len(requests) == before
    spent = {"requests": before, "prompt_tokens": result.spent.prompt_tokens}
    assert again.stats.spent == spent | {"completion_tokens": result.spent.completion_tokens}
    assert f"language models: {before} requests" in "\n".join(again.stats.lines())
    assert set(map(State, result.stats.states)) == FINAL == set(map(State, again.stats.states))
    rows = open_project(tmp_path / "project").view.annotations()
    assert {row["tier"] for row in rows} == {"HQ-ai"}
    cost = told[0].language
    assert cost is not None
    assert cost.requests == result.spent.requests - 1 == before - 1  # the trial comes on top
    assert cost.tokens == 12 * cost.requests
    assert f"up to {cost.requests} requests to m (about {cost.tokens} tokens" in str(told[0])
    by = [row["actor_id"] for row in open_project(tmp_path / "project").view.verdicts(rows[0]["pair_id"])]
    assert set(by) == {LanguageVerifier(talk=talk("-")).actor.actor_id}


def test_phrases_are_told_where_none_are_listed_and_never_walked_later(tmp_path: Path) -> None:
    told: list[Cost] = []
    with chat_server(Careful()) as (url, requests):
        run(tmp_path, url, phrases=(), told=told)
    pairs = open_project(tmp_path / "project").view.pairs()
    assert {row["text"] for row in pairs} >= {"red square"}
    assert {row["origin"] for row in pairs} == {"told"}
    assert sum("Name up to" in words_of(body) for body in requests if len(body["messages"]) > 1) == 3
    assert told[0].language is not None
    assert "if 8 phrases a photo are asked" in str(told[0])
    assert read_settings(tmp_path / "project").told
    resume_engine(tmp_path / "project", segmenter=ColourSegmenter())  # type: ignore[arg-type]
    assert len(open_project(tmp_path / "project").view.pairs()) == len(pairs)


def test_a_run_whose_server_goes_stops_in_a_sentence_and_goes_on_later(tmp_path: Path) -> None:
    careful, left = Careful(), [6]

    def dying(body: dict):
        left[0] -= 1
        return careful(body) if left[0] >= 0 else refused(503, "going down")

    with chat_server(dying) as (url, _), pytest.raises(InputError, match="the same command goes on"):
        run(tmp_path, url)
    with chat_server(careful) as (url, _):
        result = run(tmp_path, url)
    open_states = set(map(State, result.stats.states)) - FINAL
    assert open_states <= {State.HUMAN_MASKS, State.HUMAN_PENDING}
    assert result.stats.states


def test_a_resumed_project_asks_the_language_model_that_is_named(tmp_path: Path, monkeypatch, capsys) -> None:
    careful, left = Careful(), [6]

    def dying(body: dict):
        left[0] -= 1
        return careful(body) if left[0] >= 0 else refused(503, "going down")

    with chat_server(dying) as (url, _), pytest.raises(InputError, match="goes on"):
        run(tmp_path, url)
    monkeypatch.setattr("masklet.workflows.engine.run.LateModel", lambda _: ColourSegmenter(score=0.5))
    monkeypatch.setattr("masklet.workflows.engine.language.open_language_model", lambda planner: talk(planner.url))
    with chat_server(careful) as (url, requests):
        assert main(["engine", "resume", str(tmp_path / "project"), "--llm", url]) == 0
    assert f"language model: {len(requests)} requests" in capsys.readouterr().out
    assert len(requests) > 1
    view = open_project(tmp_path / "project").view
    asked = {row["actor_id"] for pair in view.pairs() for row in view.verdicts(pair["pair_id"])}
    assert asked == {LanguageVerifier(talk=talk("-")).actor.actor_id}


def test_a_run_whose_allowance_is_used_up_concludes_and_goes_on_later(tmp_path: Path, monkeypatch, capsys) -> None:
    photos = write_photos(tmp_path / "photos", 3)
    monkeypatch.setattr("masklet.workflows.engine.run.LateModel", lambda _: ColourSegmenter(score=0.5))
    monkeypatch.setattr("masklet.workflows.engine.language.open_language_model", lambda planner: talk(planner.url))
    arguments = ["engine", "run", str(photos), "--phrases", ", ".join(PHRASES), "--out", str(tmp_path / "p"), "--yes"]
    with chat_server(Careful()) as (url, requests):
        limited = [*arguments, "--llm", url, "--llm-budget", "tokens=60,seconds=600", "--llm-price", "1000,2000"]
        assert main(limited) == 3
        out, err = capsys.readouterr()
        assert "by the price named" in out
        assert "60 tokens were allowed for m, and are used up; what is done stays done" in err
        assert f"language model: {len(requests)} requests, {12 * len(requests)} tokens" in out
        assert len(requests) == 5
        assert (tmp_path / "p" / "README.md").is_file()
        assert main([*arguments, "--llm", url]) == 0
    left = {State(row["state"]) for row in open_project(tmp_path / "p").view.pairs()}
    assert left == FINAL


def test_more_are_never_asked_at_once_than_requests_are_allowed() -> None:
    with chat_server(lambda _: called("answer", answer="accept")) as (url, requests):
        spoken = talk(url)
        spoken.allowance, spoken.at_once = Allowance(requests=7), 4
        with pytest.raises(AllowanceUsedUpError, match="7 requests"):
            LanguageVerifier(talk=spoken).judge_masks([mask_item()] * 12)
    assert len(requests) == 7


def test_the_command_refuses_blind_models_and_public_addresses(tmp_path: Path, capsys) -> None:
    arguments = ["engine", "run", str(write_photos(tmp_path / "photos", 1)), "--out", str(tmp_path / "p"), "--yes"]
    assert main([*arguments, "--llm", "https://example.com/v1"]) == 1
    assert "--allow-remote" in capsys.readouterr().err
    assert main([*arguments, "--llm", "http://127.0.0.1:9/v1", "--llm-budget", "money=3"]) == 2
    assert "needs the price of a million tokens" in capsys.readouterr().err
    assert main([*arguments, "--llm-budget", "requests=3"]) == 2
    assert "name its server with --llm URL" in capsys.readouterr().err
    with chat_server(lambda _: called("echo", colour="green")) as (url, _):
        assert main([*arguments, "--llm", url]) == 1
    assert "sees no images" in capsys.readouterr().err
    with chat_server(lambda _: refused(404, "no such model")) as (url, _), pytest.raises(InputError, match="no tools"):
        open_language_model(Planner(url=url))
    assert not (tmp_path / "p").exists()
