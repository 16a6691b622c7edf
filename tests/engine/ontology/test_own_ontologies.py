"""Users bring concepts of their own: a table, a tree, or lines of Wikidata; what cannot be used is a sentence."""

import gzip
import json
from pathlib import Path

import pytest
from engine_world import PHRASES, ColourSegmenter, write_photos

from masklet.engine.ontology.own import read_ontology
from masklet.errors import InputError
from masklet.workflows.engine.folder import open_project
from masklet.workflows.engine.run import EngineJob, run_engine


def test_users_bring_their_own_table(tmp_path: Path) -> None:
    path = tmp_path / "parts.csv"
    path.write_text("name,parent,synonyms\nScrew,,\nwood screw,screw,chipboard screw|lag\nmetal  screw,screw,\n")
    ontology = read_ontology(path)
    lag = ontology.find("lag")
    assert lag is not None
    assert ontology.relatives(lag.concept_id) == {"metal screw": "sibling"}
    assert "red" in ontology.adjectives  # words of the shipped table stay known


TREE = """
animal:
  dog: [poodle, "Collie|rough collie"]
  cat:
pet: [dog, cat, {fish: [goldfish]}]
"""


def test_a_tree_has_names_in_names_and_more_than_one_parent(tmp_path: Path) -> None:
    (tmp_path / "tree.yaml").write_text(TREE)
    ontology = read_ontology(tmp_path / "tree.yaml")
    assert set(ontology.concepts) == {"animal", "dog", "poodle", "collie", "cat", "pet", "fish", "goldfish"}
    assert ontology.concepts["dog"].parents == ("animal", "pet")
    collie = ontology.find("rough collie")
    assert collie is not None
    assert collie.names == ("collie", "rough collie")
    assert ontology.relatives("poodle")["collie"] == "sibling"


def entity(key: str, label: str, *aliases: str, **claims: str) -> dict:
    values = {
        name: [{"mainsnak": {"datavalue": {"value": {"id": target}}}}, {"mainsnak": {"snaktype": "novalue"}}]
        for name, target in claims.items()
    }
    names = {"labels": {"en": {"value": label}}, "aliases": {"en": [{"value": each} for each in aliases]}}
    return {"id": key, "claims": values, **names}


def test_of_wikidata_classes_and_taxa_are_taken_and_single_things_are_not(tmp_path: Path) -> None:
    entities = [
        entity("Q1", "Dog", "domestic dog", P31="Q9"),  # a class by what is narrower than it
        entity("Q2", "poodle", P279="Q1"),
        entity("Q3", "collie", P171="Q1"),
        entity("Q4", "Ada Lovelace", P31="Q5"),
        entity("Q5", "human"),
        {"id": "Q6", "labels": {}, "claims": {}},
    ]
    dump = "[\n" + ",\n".join(map(json.dumps, entities)) + "\n]\n"
    path = tmp_path / "extract.json.gz"
    path.write_bytes(gzip.compress(dump.encode()))
    ontology = read_ontology(path)
    assert set(ontology.concepts) == {"Q1", "Q2", "Q3", "Q5"}
    poodle = ontology.find("poodle")
    assert poodle is not None
    assert ontology.ancestors(poodle.concept_id) == ["Q1"]
    assert ontology.relatives("Q2") == {"Q3": "sibling"}
    found = ontology.find("domestic dog")
    assert found is not None
    assert found.names[0] == "dog"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "", "holds no concepts"),
        ("a.csv", "name,parent\n,a\n", "line 2: name"),
        ("a.csv", "name,parent\na,b\n", "line 2: the parent"),
        ("a.yaml", "a: [", "cannot be read"),
        ("a.yaml", "a: &x {b: *x}", "circle"),
        ("a.yaml", "a: [[b]]", "expected the name"),
        ("a.yaml", 'a: &b [x, y]\n"": z', "expected the name"),
        ("a.jsonl", "{}\n", "line 1"),
        ("a.jsonl", '{"id": "Q1", "labels": 3}\n', "line 1"),
        ("a.json.gz", "no gzip", "cannot be read"),
        ("a.owl", "", "expected one of .csv"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        read_ontology(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_few_lines_that_stand_for_billions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("masklet.engine.ontology.own.MOST_CONCEPTS", 10_000)
    lines = ["a0: &a0 [x, y]", *(f"a{n}: &a{n} [b{n}: *a{n - 1}, c{n}: *a{n - 1}]" for n in range(1, 40))]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    with pytest.raises(InputError, match="more than 10000 names"):
        read_ontology(tmp_path / "bomb.yaml")


def test_a_walk_goes_down_the_users_own_concepts(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("shape: [red square, green square, round thing]\n")
    photos = write_photos(tmp_path / "photos", 4)
    job = EngineJob(photos=photos, folder=tmp_path / "project", ontology=tmp_path / "own.yaml")
    run_engine(job, segmenter=ColourSegmenter())  # type: ignore[arg-type]
    pairs = open_project(tmp_path / "project").view.pairs()
    assert {pair["text"] for pair in pairs} == {"red square", "green square"}
    assert {pair["origin"] for pair in pairs} == {"ontology"}


def test_a_walk_may_come_beside_listed_phrases(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("[red square, green square]\n")
    photos = write_photos(tmp_path / "photos", 4)
    own = tmp_path / "own.yaml"
    job = EngineJob(photos=photos, folder=tmp_path / "project", phrases=PHRASES[2:], ontology=own, walk=True)
    run_engine(job, segmenter=ColourSegmenter())  # type: ignore[arg-type]
    pairs = open_project(tmp_path / "project").view.pairs()
    assert {pair["origin"]: pair["text"] for pair in pairs if pair["origin"] == "listed"} == {"listed": "blue square"}
    assert {pair["text"] for pair in pairs if pair["origin"] == "ontology"} == {"red square", "green square"}
