import json

import numpy as np
import pytest
import torch
from recognizing_model import MEANING_DIM, recognizing

from masklet.checkpoints.containers import save_tensors
from masklet.checkpoints.weights import Weights, write
from masklet.config import debug
from masklet.errors import InputError
from masklet.models.detector import Detector
from masklet.train.run.loop import run
from masklet.train.tasks.words import WordTable, plural

WORDS = ("cat", "dog", "school bus", "red")


@pytest.fixture
def table(tmp_path):
    vectors = torch.randn(len(WORDS), MEANING_DIM, generator=torch.Generator().manual_seed(0))
    tensors = {"vectors": vectors / vectors.square().mean(1, keepdim=True).sqrt(), "shares": torch.ones(len(WORDS))}
    save_tensors(tensors, tmp_path / "words.safetensors", {"phrases": json.dumps(WORDS)})
    torch.manual_seed(0)
    model = Detector(recognizing())
    write(Weights(config=recognizing(), state=model.state_dict(), origin="test"), tmp_path / "start.safetensors")
    return tmp_path


def test_phrases_learn_their_vectors_and_nothing_else_is_learnt(table, tmp_path) -> None:
    overrides = [
        f"data.root={table}",
        f"initial_weights={table / 'start.safetensors'}",
        "phases=[{steps: 60, batch_size: 16}]",
        "optim={lr_text: 0.01, warmup_steps: 5, cooldown_steps: 20, timescale: 60, layer_decay: 1}",
        "log_every=20",
        "ema_decay=0.5",
    ]
    assert run("builtin-words", overrides, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert lines[-1]["loss_meaning"] < 0.6 * lines[0]["loss_meaning"]
    from safetensors.torch import load_file

    before, after = load_file(table / "start.safetensors"), load_file(tmp_path / "run/weights.safetensors")
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name].half(), after[name].half())}
    assert changed == {"text"}


def test_a_phrase_is_said_in_other_ways_with_the_same_noun(table) -> None:
    opened = WordTable.open(table / "words.safetensors")
    said = {opened.said_otherwise(0, np.random.default_rng(seed))[0] for seed in range(200)}
    assert {"cat", "cats", "red cat", "a cat"} <= said
    _, vector = next(
        each
        for each in (opened.said_otherwise(0, np.random.default_rng(seed)) for seed in range(200))
        if each[0] == "red cat"
    )
    assert torch.cosine_similarity(vector, opened.vectors[0], dim=0) > 0.8
    assert vector.square().mean().sqrt() == pytest.approx(1, abs=1e-5)


def test_weights_without_meanings_are_refused(table, tmp_path) -> None:
    write(Weights(config=debug(), state=Detector(debug()).state_dict(), origin="test"), table / "plain.safetensors")
    overrides = [f"data.root={table}", f"initial_weights={table / 'plain.safetensors'}"]
    with pytest.raises(InputError, match="compare no meanings with images"):
        run("builtin-words", overrides, tmp_path / "run")


@pytest.mark.parametrize(
    ("noun", "expected"), [("cat", "cats"), ("bus", "buses"), ("puppy", "puppies"), ("toy", "toys")]
)
def test_plurals_are_regular(noun: str, expected: str) -> None:
    assert plural(noun) == expected


def test_a_file_that_is_no_table_is_named(tmp_path) -> None:
    save_tensors({"vectors": torch.ones(1, 2)}, tmp_path / "other.safetensors", {})
    with pytest.raises(InputError, match=r"other\.safetensors is not a table of words: 'phrases' is missing"):
        WordTable.open(tmp_path / "other.safetensors")
