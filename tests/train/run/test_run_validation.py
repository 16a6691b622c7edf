"""Validation in the loop: when, on what, which weights are kept, and that training does not notice."""

import json
from pathlib import Path

import pytest
import torch
from labelled_pictures import write_pictures
from safetensors.torch import load_file

from masklet.checkpoints.adapters import read
from masklet.checkpoints.weights import Weights
from masklet.config import PRESETS
from masklet.errors import InputError
from masklet.train.recipes.schema import load_recipe, parse_recipe
from masklet.train.run import loop
from masklet.train.run.exporter import Exporter
from masklet.train.run.observers import Observer
from masklet.train.run.validator import (
    Figures,
    Validator,
    best_validation,
    read_validations,
    updates_of_epoch,
    validation_images,
)

SOURCE = {"kind": "coco", "annotations": "annotations.json", "images": "images"}


class Scripted:
    """Gives weights the marks that a test wants; keeps a hash-like sum of what it was given."""

    def __init__(self, marks: dict[int, float], pictures: int = 4) -> None:
        self.marks, self.pictures = marks, pictures
        self.given: dict[int, Weights] = {}

    def __len__(self) -> int:
        return self.pictures

    def __call__(self, weights: Weights, step: int) -> Figures:
        self.given[step] = weights
        torch.rand(3)  # whoever predicts may draw random numbers
        mark = self.marks[step]
        return Figures(metrics={"cgF1": mark, "IL_MCC": 1.0, "pmF1": mark, "macro_F1": None}, phrases=())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"), count=40)


def overrides(base: Path, pictures: Path, *changes: str) -> list[str]:
    small = ["device=cpu", "bfloat16=false", "data.workers=0", "phases.0.image_size=112", "phases.0.steps=4"]
    rates = [f"optim.lr_{part}=1e-3" for part in ("vision", "text", "rest")]
    few = ["train=['decoder.*']", "ema_decay=0.9", "validation.every=1"]
    return [*small, *rates, *few, f"initial_weights={base}", f"data.root={pictures}", *changes]


MARKS = {0: 0.9, 1: 0.2, 2: 0.5, 3: 0.5, 4: 0.1}


def test_a_validated_run_equals_one_that_is_not_and_keeps_the_best(base, pictures, tmp_path) -> None:
    validate = Scripted(MARKS)
    given = overrides(base, pictures)
    assert loop.run("finetune", given, tmp_path / "validated", validate=validate)
    assert loop.run("finetune", given, tmp_path / "plain")
    last = "checkpoints/step-00000004/part-0-of-1.safetensors"
    one, two = load_file(tmp_path / "validated" / last), load_file(tmp_path / "plain" / last)
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.equal(value, two[name]), name

    lines = read_validations(tmp_path / "validated")
    assert [(line["step"], line["best"]) for line in lines] == [
        (0, False),
        (1, True),
        (2, True),
        (3, False),
        (4, False),
    ]
    best = best_validation(lines)
    assert best is not None
    assert best["step"] == 2  # not the base, and of two alike the earlier
    kept, final = (read(tmp_path / "validated" / name).state for name in ("weights.safetensors", "last.safetensors"))
    asked = validate.given
    assert all(torch.equal(value, asked[2].state[name]) for name, value in kept.items())
    assert all(torch.equal(value, asked[4].state[name]) for name, value in final.items())
    assert any(not torch.equal(value, kept[name]) for name, value in final.items())
    assert all(torch.equal(value, read(base).state[name]) for name, value in asked[0].state.items())
    whole = read(tmp_path / "plain/weights.safetensors").state  # the averages at the end
    assert all(torch.equal(value, final[name]) for name, value in whole.items())
    assert not (tmp_path / "plain/last.safetensors").exists()


def test_a_run_that_is_continued_remembers_what_was_best(base, pictures, tmp_path) -> None:
    given = overrides(base, pictures)
    assert not loop.run("finetune", given, tmp_path, validate=Scripted(MARKS), max_steps=2)
    kept = (tmp_path / "weights.safetensors").read_bytes()
    again = Scripted(MARKS)
    assert loop.run("finetune", given, tmp_path, validate=again, resume=True)
    assert sorted(again.given) == [3, 4]  # what was validated is not validated again
    assert (tmp_path / "weights.safetensors").read_bytes() == kept
    assert [line["step"] for line in read_validations(tmp_path)] == [0, 1, 2, 3, 4]


def test_a_run_stopped_before_its_first_validation_leaves_weights_for_use(base, pictures, tmp_path) -> None:
    given = overrides(base, pictures, "validation.every=3")
    validate = Scripted({0: 0.0, 3: 0.0, 4: 0.1})
    assert not loop.run("finetune", given, tmp_path, validate=validate, max_steps=1)
    first, last = (read(tmp_path / f"{name}.safetensors").state for name in ("weights", "last"))
    assert all(torch.equal(value, last[name]) for name, value in first.items())
    assert loop.run("finetune", given, tmp_path, validate=validate, resume=True)
    final = read(tmp_path / "weights.safetensors").state
    assert all(torch.equal(value, validate.given[4].state[name]) for name, value in final.items())


def test_of_adapters_the_best_and_the_last_are_kept_and_the_whole_model_is_asked(base, pictures, tmp_path) -> None:
    validate = Scripted(MARKS)
    given = overrides(base, pictures, "train=[]", "lora.rank=2", "lora.layers=['decoder.layers.*_attention.*']")
    assert loop.run("finetune-lora", given, tmp_path, validate=validate)
    for name, step in (("adapter", 2), ("last-adapter", 4)):
        state, asked = read(tmp_path / f"{name}.safetensors").state, validate.given[step].state
        assert state.keys() == asked.keys()
        assert all(torch.equal(value.float(), asked[each].float()) for each, value in state.items())
    assert not (tmp_path / "weights.safetensors").exists()


class Told(Observer):
    def __init__(self) -> None:
        self.steps: list[int] = []

    def validated(self, validation) -> None:
        self.steps.append(validation.line["step"])


def test_observers_are_told_and_speed_is_that_of_training(base, pictures, tmp_path) -> None:
    told = Told()
    given = overrides(base, pictures, "validation.every=2", "log_every=1")
    loop.run("finetune", given, tmp_path, validate=Scripted(MARKS), observers=[told])
    assert told.steps == [0, 2, 4]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    (line,) = (line for line in read_validations(tmp_path) if line["step"] == 4)
    assert line["epoch"] == pytest.approx(4 * 2 / len(training_pictures(pictures)), abs=0.01)


def training_pictures(pictures: Path) -> list[int]:
    recipe = parse_recipe(values(pictures, validation={"source": {**SOURCE, "split": "train"}}))
    found = validation_images(recipe)
    assert found is not None
    return found[1]


def values(pictures: Path, **changes) -> dict:
    phase = {"image_size": 112, "batch_size": 2, "weights": {"mine": 1.0}, "steps": 100}
    data = {"root": str(pictures), "sources": {"scenes": {"kind": "scenes"}, "mine": SOURCE}}
    return {"preset": "debug", "data": data, "phases": [phase], "validation": {}, **changes}


def test_what_the_first_files_hold_out_is_validated_on_unless_a_source_is_named(pictures) -> None:
    held_out = validation_images(parse_recipe(values(pictures)))
    assert held_out is not None
    source, places = held_out
    assert len(source) + len(training_pictures(pictures)) == 40
    assert places == list(range(len(source)))
    named = validation_images(parse_recipe(values(pictures, validation={"source": SOURCE, "pictures": 10})))
    assert named is not None
    assert len(named[0]) == 40  # a source that is named is used whole
    assert named[1] == list(range(0, 40, 4))
    few = write_pictures(pictures / "few", count=2)
    assert validation_images(parse_recipe(values(few))) is None
    whole = {"root": str(pictures), "sources": {"mine": {**SOURCE, "split": "all"}}}
    assert validation_images(parse_recipe(values(pictures, data=whole))) is None
    assert validation_images(parse_recipe(values(pictures, validation=None))) is None
    missing = {**SOURCE, "annotations": "nowhere.json"}
    with pytest.raises(InputError, match=r"nowhere\.json"):
        validation_images(parse_recipe(values(pictures, validation={"source": missing})))


def test_validations_of_pictures_without_phrases_are_refused(pictures) -> None:
    davis = {"kind": "davis", "annotations": "a", "images": "b"}
    with pytest.raises(InputError, match="no phrases"):
        parse_recipe(values(pictures, validation={"source": davis}))


def steps_of(pictures: Path, epoch: float | None, number: int, **validation) -> list[int]:
    recipe = parse_recipe(values(pictures, validation=validation))
    nothing = Weights(config=PRESETS["debug"](), state={}, origin="")
    exporter = Exporter(base=nothing, recipe=recipe, names=frozenset(), out=pictures / "none")
    validator = Validator(Scripted({}, number), exporter, recipe, epoch)
    return [step for step in range(101) if validator.is_due(step)]


def test_validations_are_an_epoch_apart_but_never_most_of_the_time(pictures) -> None:
    assert steps_of(pictures, 25.0, 4) == [25, 50, 75, 100]
    assert steps_of(pictures, 23.0, 4) == [25, 50, 75, 100]  # at even distances
    assert steps_of(pictures, 1.5, 4) == list(range(5, 101, 5))  # twenty at most
    assert steps_of(pictures, 1.5, 50) == [50, 100]  # of fifty pictures, as a hundred are learnt from in between
    assert steps_of(pictures, 900.0, 4) == [100]
    assert steps_of(pictures, None, 4) == list(range(5, 101, 5))
    assert steps_of(pictures, 25.0, 4, every=40) == [40, 80, 100]


def test_an_epoch_is_of_pictures_in_files(pictures) -> None:
    found = validation_images(parse_recipe(values(pictures, validation={"source": SOURCE})))
    assert found is not None
    recipe = load_recipe("finetune", [])
    assert updates_of_epoch(recipe, [found[0]]) == 20
    assert updates_of_epoch(recipe, []) is None


def test_ties_are_decided_by_what_is_found_then_for_the_earlier() -> None:
    def line(step: int, cgf1: float, pmf1: float) -> dict:
        return {"step": step, "metrics": {"cgF1": cgf1, "pmF1": pmf1}}

    lines = [line(0, 0.9, 0.9), line(1, 0.0, 0.4), line(2, 0.0, 0.6), line(3, 0.0, 0.6)]
    assert best_validation(lines) is lines[2]
    assert best_validation(lines[:1]) is None


@pytest.mark.parametrize("content", ['{"step": 1', '{"step": 1}\n', "[1]\n", '{"metrics": {"cgF1": 1, "pmF1": 1}}\n'])
def test_a_damaged_list_of_validations_is_one_sentence(tmp_path, content) -> None:
    (tmp_path / "validation.jsonl").write_text(content)
    with pytest.raises(InputError, match=r"validation\.jsonl is not a list of validations"):
        read_validations(tmp_path)
