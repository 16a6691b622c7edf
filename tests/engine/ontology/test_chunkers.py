"""Captions are cut by spaCy where a model of it is installed, else by the word classes of the ontology."""

import pickle
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from engine_world import open_world, write_photos

from masklet.engine.ledger.ledger import RULES
from masklet.engine.ontology.chunkers import MODELS, SmallChunker, SpacyChunker, chunker_here
from masklet.engine.ontology.concepts import shipped
from masklet.engine.records import Fact
from masklet.engine.runner import Runner
from masklet.engine.stages.ingest import Ingest, source_fact
from masklet.engine.stages.proposals import CaptionPhrases
from masklet.engine.states import State

CAPTION = "It shows two red mugs on the background."


def chunk(text: str, pos: str = "NOUN") -> SimpleNamespace:
    return SimpleNamespace(text=text, root=SimpleNamespace(pos_=pos))


def fake(name: str, version: str = "3.8.0", chunks: tuple = ()) -> ModuleType:
    module = ModuleType(name)
    module.__version__ = version  # type: ignore[attr-defined]
    module.load = lambda: lambda _: SimpleNamespace(noun_chunks=chunks)  # type: ignore[attr-defined]
    return module


@pytest.fixture
def bare(monkeypatch):
    """No spaCy, whatever this machine has."""
    for name in ("spacy", *MODELS):
        monkeypatch.setitem(sys.modules, name, None)
    return monkeypatch


@pytest.fixture
def with_spacy(bare):
    chunks = (chunk("It", "PRON"), chunk("two red mugs"), chunk("the background"))
    bare.setitem(sys.modules, "spacy", fake("spacy"))
    bare.setitem(sys.modules, "en_core_web_sm", fake("en_core_web_sm", chunks=chunks))
    return bare


def test_without_spacy_the_small_chunker_cuts(bare) -> None:
    assert chunker_here(shipped()) == SmallChunker(ontology=shipped())
    bare.setitem(sys.modules, "spacy", fake("spacy"))
    chunker = chunker_here(shipped())  # spaCy without a model
    assert chunker.actor == RULES
    assert chunker.phrases("two red mugs") == ["red mug"]


def test_the_best_model_of_spacy_cuts_and_its_version_is_told(with_spacy) -> None:
    small = chunker_here(shipped())
    assert small == pickle.loads(pickle.dumps(small)) == SpacyChunker(model="en_core_web_sm", version="3.8.0")
    assert small.phrases(CAPTION) == ["two red mugs", "the background"]
    with_spacy.setitem(sys.modules, "en_core_web_lg", fake("en_core_web_lg", "3.7.1"))
    assert chunker_here(shipped()).actor.name == "spaCy en_core_web_lg 3.7.1"


def test_a_project_has_on_record_who_cut_and_asks_anew_when_that_changes(with_spacy, tmp_path: Path) -> None:
    project = open_world(tmp_path / "project", write_photos(tmp_path / "photos", 1))
    source = source_fact("squares", "CC0-1.0")
    project.view.ledger.add(
        [source, Fact(table="run", values={"run_id": "r", "started_at": 0, "code": "", "config": ""})]
    )
    ingest = Ingest(source_id=source.values["source_id"])

    def stage() -> CaptionPhrases:
        return CaptionPhrases(captions={"0000.png": CAPTION}, ontology=shipped(), chunker=chunker_here(shipped()))

    Runner(project, [ingest, stage()], "r").run()
    rows = {row["text"]: row["state"] for row in project.view.pairs()}
    assert rows == {"red mug": State.QUEUED, "the background": State.PHRASE_REJECTED}
    assert ("model", "spaCy en_core_web_sm 3.8.0") in {(row["kind"], row["name"]) for row in project.view.authors()}
    planned = {unit.key for unit in stage().plan(project)}
    assert planned
    with_spacy.setitem(sys.modules, "spacy", None)
    assert planned.isdisjoint(unit.key for unit in stage().plan(project))
