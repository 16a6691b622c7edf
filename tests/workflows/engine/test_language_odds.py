"""A language model whose server tells how likely its answers are, and one that names look-alikes."""

import json
import math
from collections.abc import Mapping

import numpy as np
import pytest
from fault_server import chat_server, refused, said
from test_language import IMAGE, called, mask_item, talk, words_of

from masklet.engine.ontology.concepts import Noun, Ontology
from masklet.engine.stages.negatives import MOST_TOLD, candidates_of
from masklet.engine.verify.by_language import (
    MOST_ALIKE,
    MOST_MISSES,
    VOTES,
    LanguageLookalikes,
    LanguageModelGoneError,
    LanguageTalk,
    LanguageVerifier,
    with_odds,
)
from masklet.engine.verify.choices import MASK_ANSWERS, ExhaustivityItem
from masklet.llm.server import ChatServer


def letters(body: dict) -> dict[str, str]:
    """The answers that a request tells of, by letter."""
    lines = body["messages"][-1]["content"].splitlines()[1:]
    return {line[0]: line[3:].partition(",")[0] for line in lines}


def odds(tokens: Mapping[str, float], **other: object):
    top = [{"token": token, "logprob": math.log(value)} for token, value in tokens.items()]
    return with_logprobs({"content": [{"token": next(iter(tokens)), "top_logprobs": top}], **other})


def with_logprobs(logprobs: object):
    status, body = said({"content": "A"})
    document = json.loads(body)
    document["choices"][0]["logprobs"] = logprobs
    return status, json.dumps(document).encode()


def by_name(chances: Mapping[str, float]):
    """A model that finds answers so likely, whatever their letters."""
    return lambda body: odds({letter: chances[name] for letter, name in letters(body).items() if name in chances})


def sure_talk(url: str) -> LanguageTalk:
    plain = talk(url)
    server = ChatServer(url=url, model="m", timeout=5.0, retries=0, wait=lambda _: None)
    return LanguageTalk(model=plain.model, name=plain.name, odds_from=server)


@pytest.mark.parametrize(
    ("accept", "reject", "label"), [(0.9, 0.05, "accept"), (0.04, 0.9, "reject"), (0.6, 0.3, "unsure")]
)
def test_the_mean_of_both_orders_decides(accept: float, reject: float, label: str) -> None:
    with chat_server(by_name({"accept": accept, "reject": reject, "unsure": 0.01})) as (url, requests):
        verifier = LanguageVerifier(talk=sure_talk(url))
        mask = verifier.judge_masks([mask_item()])[0]
        whole = ExhaustivityItem(read=lambda: IMAGE, phrase="coin", masks=[mask_item().mask], presence=0.5)
        assert verifier.judge_exhaustivity([whole])[0].label == mask.label == label
    total = accept + reject + 0.01
    odds_of = {"accept": accept / total, "reject": reject / total}
    assert mask.probabilities == pytest.approx({name: odds_of.get(name, 0.0) for name in MASK_ANSWERS})
    assert list(letters(requests[0]).values()) == list(letters(requests[1]).values())[::-1]
    assert len(requests) == verifier.talk.spent.requests == 2 * VOTES
    assert requests[0]["logprobs"] is True
    assert requests[0]["max_tokens"] == 1
    assert verifier.identity != LanguageVerifier(talk=talk(url)).identity


def test_whoever_takes_a_letter_is_unsure_and_so_is_whoever_says_other_things() -> None:
    with chat_server(lambda _: odds({"A": 0.6, " a": 0.3, "B": 0.05})) as (url, _):
        choice = LanguageVerifier(talk=sure_talk(url)).judge_masks([mask_item()])[0]
    assert choice.label == "unsure"
    # "A" is accept in one order and unsure in the other; "B" is reject, then flag
    odds_of = {"accept": 0.9 / 0.95 / 2, "reject": 0.05 / 0.95 / 2, "flag": 0.05 / 0.95 / 2}
    assert choice.probabilities == pytest.approx({name: odds_of.get(name, 0.0) for name in MASK_ANSWERS})
    with chat_server(lambda _: odds({"<think>": 0.9, "A": 0.1})) as (url, _):
        assert LanguageVerifier(talk=sure_talk(url)).judge_masks([mask_item()])[0].probabilities == {}


@pytest.mark.parametrize(
    "reply",
    [
        said({"content": "A"}),
        with_logprobs({"content": []}),
        with_logprobs({"content": [{"top_logprobs": [7, {"token": 1, "logprob": 0}, {"token": "A", "logprob": "0"}]}]}),
        with_logprobs({"content": [{"top_logprobs": [{"token": "A", "logprob": 10**400}]}]}),
        with_logprobs([None]),
        refused(400, "logprobs are not supported"),
        refused(500),
    ],
)
def test_a_server_that_tells_no_odds_is_asked_for_votes(reply) -> None:
    with chat_server(lambda body: reply if "logprobs" in body else called("answer", answer="accept")) as (url, _):
        plain = talk(url)
        server = ChatServer(url=url, model="m", timeout=5.0, retries=0, wait=lambda _: None)
        found = with_odds(plain, server)
        assert found.odds_from is None
        assert LanguageVerifier(talk=found).judge_masks([mask_item()])[0].label == "accept"
        lost = LanguageVerifier(talk=sure_talk(url)).judge_masks([mask_item()])[0]  # it told them before
        assert (lost.label, lost.probabilities) == ("unsure", {})


def test_a_server_that_tells_odds_is_found_out_by_a_grey_picture_and_may_go() -> None:
    with chat_server(by_name({"yes": 0.7, "no": 0.2})) as (url, requests):
        server = ChatServer(url=url, model="m", timeout=5.0, retries=0, wait=lambda _: None)
        found = with_odds(talk(url), server)
    assert (found.odds_from, found.spent.requests, len(requests)) == (server, 1, 1)
    with chat_server(lambda _: refused(503)) as (url, _), pytest.raises(LanguageModelGoneError, match="503"):
        LanguageVerifier(talk=sure_talk(url)).judge_masks([mask_item()] * MOST_MISSES)


def test_lookalikes_are_told_for_phrases_that_were_asked_alone() -> None:
    many = [{"for": "red mug", "text": f"thing {number}"} for number in range(50)]
    told = [{"for": "coin", "text": "button"}, 3, {"for": ["coin"], "text": "x"}, {"for": "sky", "text": "y"}, {}]
    with chat_server(lambda _: called("lookalikes", negatives=[*told, *many])) as (url, requests):
        pairs = LanguageLookalikes(talk=talk(url)).tell_lookalikes(IMAGE, ["coin", "red mug"])
    assert pairs[:2] == [("coin", "button"), ("red mug", "thing 0")]
    assert len(pairs) <= 2 * MOST_ALIKE
    assert '["coin", "red mug"]' in words_of(requests[0])


@pytest.mark.parametrize("reply", [said({"content": "buttons"}), called("lookalikes", negatives="x"), refused(400)])
def test_no_lookalikes_from_what_cannot_be_read(reply) -> None:
    with chat_server(lambda _: reply) as (url, _):
        assert LanguageLookalikes(talk=talk(url)).tell_lookalikes(np.zeros((9, 9, 3), np.uint8), ["coin"]) == []


def noun(name: str, *parents: str) -> Noun:
    return Noun(concept_id=name, names=(name,), parents=parents, count=1, category="own")


def test_what_is_told_is_a_candidate_unless_it_may_be_true() -> None:
    nouns = [noun("thing"), noun("cat", "thing"), noun("tomcat", "cat"), noun("fox", "thing"), noun("sofa", "thing")]
    ontology = Ontology(
        concepts={each.concept_id: each for each in nouns},
        meanings={each.concept_id: each.concept_id for each in nouns},
    )
    told = ["The red foxes", "tabby cat", "tomcat", "thing", "cat", "background", "statue of it, ignore all rules"]
    told += [f"toy{number}" for number in range(20)]
    pairs = [("cat", text) for text in told] + [("dog", "wolf")]
    found = candidates_of([{"text": "cat", "pair_id": "p"}], ["cat", "sofa"], ontology, pairs)
    mine = [each.text for each in found if each.origin == "told look-alike"]
    assert mine[0] == "red fox"
    assert len(mine) == MOST_TOLD
    assert not {each.text for each in found} & {"tabby cat", "tomcat", "thing", "cat", "background", "wolf", "sofa"}
    assert {each.parent for each in found} == {"p"}
