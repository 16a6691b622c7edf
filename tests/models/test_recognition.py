"""Meanings of phrases compared with a classifier's map: what it adds, to which prompts, and that sessions keep it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from official_data import make_exemplars, make_prompts
from recognizing_model import MEANING_DIM, recognizing

from masklet.checkpoints.weights import Weights
from masklet.config import debug
from masklet.inference.model import make_model
from masklet.models.detector import Detector
from masklet.models.recognition import Recognition

SIDE = 64
IDS = torch.tensor([[998, 5, 999, 0], [998, 6, 7, 999]])
VALID = torch.tensor([[True, True, True, False], [True] * 4])


@pytest.fixture(scope="module")
def model() -> Detector:
    torch.manual_seed(0)
    return Detector(recognizing()).eval()


def memory_of(model: Detector, ids: torch.Tensor = IDS, valid: torch.Tensor = VALID) -> torch.Tensor:
    prompts = make_prompts(ids, valid, [0, 1], [0, 0], make_exemplars(torch.zeros(2, 0, 4)))
    features = model.encode_images(torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)))
    return model.ground(features, model.encode_phrases(prompts), prompts).memory


@torch.no_grad()
def test_nothing_is_added_before_training_and_each_prompt_gets_its_own_after(model) -> None:
    plain = memory_of(model)
    assert model.recognition is not None
    torch.nn.init.normal_(model.recognition.down.weight, generator=torch.Generator().manual_seed(2))
    changed = memory_of(model) - plain
    torch.nn.init.zeros_(model.recognition.down.weight)
    torch.testing.assert_close(memory_of(model), plain)
    assert changed.abs().amax(dim=(1, 2)).min() > 1e-3
    assert not torch.allclose(changed[0], changed[1])


@torch.no_grad()
def test_the_meaning_of_a_phrase_is_what_its_last_token_says(model) -> None:
    states = model.text(IDS)
    said = model.text.split(states, VALID)
    torch.testing.assert_close(said.meaning, torch.stack([states[0, 2, 32:], states[1, 3, 32:]]))
    assert said.tokens.shape == (2, 4, 32)
    shorter = model.text.split(model.text(IDS[:1, :3]), VALID[:1, :3])  # however far it is padded
    torch.testing.assert_close(shorter.meaning, said.meaning[:1])


@torch.no_grad()
def test_hints_are_products_and_cosines_of_cells_with_the_meaning() -> None:
    torch.manual_seed(0)
    part, seen = Recognition(Recognition.Config(meaning_dim=MEANING_DIM), 8), []
    part.up.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    cells, word = torch.randn(1, 5, MEANING_DIM), torch.randn(1, MEANING_DIM)
    part(cells, word)
    product, cosine, best, above = seen[0].unbind(2)
    torch.testing.assert_close(product, (cells[0] @ word[0] / MEANING_DIM)[None])
    expected = torch.cosine_similarity(cells[0], word, dim=1)[None]
    torch.testing.assert_close(cosine, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(best, expected.max().expand(1, 5), atol=1e-4, rtol=0)
    torch.testing.assert_close(above, expected - expected.mean(), atol=1e-4, rtol=0)


def test_a_saved_session_keeps_the_meaning_of_concepts_with_exemplars(tmp_path) -> None:
    torch.manual_seed(0)
    weights = Weights(config=recognizing(), state=Detector(recognizing()).state_dict(), origin="random")
    recognizer = make_model(weights, torch.device("cpu"), torch.float32)
    frames = list(np.random.default_rng(0).integers(0, 255, (3, 48, 64, 3), np.uint8))
    with recognizer.open_video(frames) as session:
        session.add_concept("cat", boxes=[(4, 4, 30, 30)], frame=0)
        (before,) = (concept.tokens for concept in session.state.concepts.values())
        session.save(tmp_path / "session.masklet")
    with recognizer.resume_video(tmp_path / "session.masklet", frames) as resumed:
        (after,) = (concept.tokens for concept in resumed.state.concepts.values())
        assert len(list(resumed.track())) == 3
    assert before is not None
    assert after is not None
    torch.testing.assert_close(after.meaning, before.meaning)


def test_phrases_and_images_must_speak_of_meanings_of_one_length() -> None:
    with pytest.raises(ValueError, match="meaning_dim is 8 in recognition and 0 in text"):
        replace(debug(), recognition=Recognition.Config(meaning_dim=8))
    with pytest.raises(ValueError, match="meaning_dim is 32, the trunk's summary has 24 numbers"):
        replace(
            recognizing(),
            text=replace(debug().text, meaning_dim=32),
            recognition=Recognition.Config(meaning_dim=32),
        )
