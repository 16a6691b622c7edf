"""The text encoder equals the official one on every real token: tests/golden/official/1_detector."""

import torch
from official_data import check, make_prompts, tensors

from masklet.models.detector import Detector

GOLDEN = tensors("official/1_detector")
IDS, VALID = GOLDEN["token_ids"], GOLDEN["text_valid"].bool()


def test_the_last_hidden_states_equal_the_official_ones(detector: Detector) -> None:
    seen = []
    handle = detector.text.norm.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    detector.text(IDS)
    handle.remove()
    check(seen[0][VALID], GOLDEN["text_hidden"][VALID], "text")


def test_the_phrase_tokens_equal_the_official_ones(detector: Detector) -> None:
    phrases = detector.encode_phrases(make_prompts(IDS, VALID, [], []))
    check(phrases.tokens[VALID], GOLDEN["text_tokens"][VALID], "text")


def test_a_phrase_shows_its_padding_as_not_valid(detector: Detector) -> None:
    torch.testing.assert_close(detector.encode_phrases(make_prompts(IDS, VALID, [], [])).valid, VALID)


def test_no_token_sees_a_later_one(detector: Detector) -> None:
    changed = IDS.clone()
    changed[:, 3:] = 5
    torch.testing.assert_close(detector.text(changed)[:, :3], detector.text(IDS)[:, :3], rtol=0, atol=1e-6)
