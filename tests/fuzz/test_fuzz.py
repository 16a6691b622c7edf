"""Damaged files of every kind are read or refused in one sentence; `make fuzz` tries some thousands more."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from fuzz_targets import SENTENCES, Target, make_targets
from mutators import mutate_sentence

from fuzz import Outcome, try_input
from masklet.errors import InputError
from masklet.query.english import parse


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> list[Target]:
    return [each for each in make_targets(tmp_path_factory.mktemp("fuzz")) if not each.is_slow]


def test_damaged_files_are_read_or_refused(quick: list[Target]) -> None:
    outcomes = [try_input(quick, number, seed=0) for number in range(200)]
    assert [f"input {each.number}, {each.target}: {each.found}" for each in outcomes if each.is_fault] == []
    assert min(Counter(each.found for each in outcomes).values()) > 20


def test_sound_files_are_read(quick: list[Target]) -> None:
    for target in quick:
        if target.name != "question":
            target.read(target.file)


def test_what_else_is_raised_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"sound")

    def read(path: Path) -> None:
        raise InputError("no") if path.read_bytes() == b"two" else ValueError("damaged")

    def outcome(damaged: bytes) -> Outcome:
        target = Target(name="a", file=tmp_path / "file", mutate=lambda *_: damaged, read=read)
        return try_input([target], 0, seed=0)

    assert "ValueError: damaged" in outcome(b"one").found
    assert outcome(b"two").found == "refused"
    assert (tmp_path / "file").read_bytes() == b"sound"


def parse_sentences(count: int, seed: int) -> Counter[str]:
    """How many mutated sentences are read, and how many refused; how long one may take is bound by `MOST_LOOKS`."""
    sound = "\n".join(line.split("\t")[0] for line in SENTENCES.read_text(encoding="utf-8").splitlines()).encode()
    found: Counter[str] = Counter()
    for number in range(count):
        sentence = mutate_sentence(np.random.default_rng([seed, number]), sound).decode(errors="replace")
        try:
            found["readings"] += bool(parse(sentence))
        except InputError:
            found["refused"] += 1
    return found


def test_mutated_sentences_are_read_or_refused() -> None:
    found = parse_sentences(500, seed=0)
    assert found.total() == 500
    assert min(found["readings"], found["refused"]) > 50, found


@pytest.mark.slow
def test_ten_thousand_mutated_sentences_are_read_or_refused() -> None:
    assert parse_sentences(10_000, seed=1).total() == 10_000
