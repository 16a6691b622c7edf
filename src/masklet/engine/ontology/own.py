"""A user's own concepts: a table, a tree, or an extract of Wikidata in place of the shipped ontology.

Of Wikidata the classes are taken, and what hangs below them as taxa; single people, works and places are left out.
Words of the shipped table, such as adjectives and irregular plurals, stay known.
"""

import bz2
import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import yaml

from masklet.engine.digests import digest_of
from masklet.engine.ontology.concepts import Noun, Ontology, shipped
from masklet.errors import InputError

OWN = "own"  # the category of concepts that have none of the 17
MOST_DEPTH = 60
MOST_CONCEPTS = 2_000_000
NARROWER = ("P279", "P171")  # subclass of, parent taxon
KIND_OF = "P31"  # instance of
LANGUAGE = "en"


def read_ontology(path: Path) -> Ontology:
    """Concepts of a file: CSV (name, parent, synonyms), YAML (a tree of names), or lines of Wikidata's JSON.

    Raises: InputError naming the file, the place in it and what is wrong.
    """
    name = path.name.lower().removesuffix(".gz").removesuffix(".bz2")
    reader = next((READERS[ending] for ending in READERS if name.endswith(ending)), None)
    if reader is None:
        raise InputError(f"{path}: got no ending that is known, expected one of {', '.join(READERS)}")
    try:
        with _opened(path) as file:
            concepts = reader(path, file)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}") from error
    if not concepts:
        raise InputError(f"{path} holds no concepts; docs/data-engine.md shows how they are written")
    meanings = {name: each.concept_id for each in reversed(concepts.values()) for name in reversed(each.names)}
    digest = digest_of("own", sorted((each.concept_id, each.names, each.parents) for each in concepts.values()))
    return replace(shipped(), concepts=concepts, meanings=meanings, digest=digest)


def _opened(path: Path) -> TextIOWrapper:
    openers: Mapping[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open}
    opener = openers.get(path.suffix.lower())
    return opener(path, "rt", encoding="utf-8") if opener else path.open(encoding="utf-8", newline="")


def _plain(text: Any) -> str:
    return " ".join(str(text or "").lower().split())


def _own(name: str, names: tuple[str, ...], parents: tuple[str, ...]) -> Noun:
    return Noun(concept_id=name, names=names, parents=parents, count=1, category=OWN)


def _of_table(path: Path, file: TextIOWrapper) -> dict[str, Noun]:
    """A row a concept; a parent is the name of another row."""
    rows = list(csv.DictReader(io.StringIO(file.read())))
    names = [_plain(row.get("name")) for row in rows]
    known = set(names)
    concepts = {}
    for place, (row, name) in enumerate(zip(rows, names, strict=True), 2):
        parent = _plain(row.get("parent"))
        if not name:
            raise InputError(f"{path}: line {place}: name is missing; the columns are name, parent and synonyms")
        if parent and parent not in known:
            raise InputError(f"{path}: line {place}: the parent {parent!r} is no name of this file")
        synonyms = [_plain(each) for each in (row.get("synonyms") or "").split("|") if each.strip()]
        concepts[name] = _own(name, (name, *synonyms), (parent,) if parent else ())
    return concepts


def _of_tree(path: Path, file: TextIOWrapper) -> dict[str, Noun]:
    """Names in names: `animal: {dog: [poodle, "collie|rough collie"], cat: }`; synonyms stand behind bars."""
    found: dict[str, Noun] = {}
    for place, (name, synonyms, parent) in enumerate(_walk(path, yaml.safe_load(file), "", ())):
        if place >= MOST_CONCEPTS:  # a few lines that refer to one another can stand for billions
            raise InputError(f"{path}: got more than {MOST_CONCEPTS} names in its tree")
        there = found.get(name)
        above: list[str] = [*(there.parents if there else ()), *([parent] if parent else [])]
        parents = tuple(dict.fromkeys(above))
        names = tuple(dict.fromkeys([*(there.names if there else (name,)), *synonyms]))
        found[name] = _own(name, names, parents)
    return found


def _walk(path: Path, tree: Any, parent: str, above: tuple[str, ...]) -> Iterator[tuple[str, list[str], str]]:
    where = f"{path}: {' > '.join(above) or 'the tree'}"
    if len(above) > MOST_DEPTH:
        raise InputError(f"{where[:200]}: got more than {MOST_DEPTH} levels, or a circle")
    if isinstance(tree, Mapping):
        pairs = list(tree.items())
    elif isinstance(tree, list):
        pairs = [pair for each in tree for pair in (each.items() if isinstance(each, Mapping) else [(each, None)])]
    elif tree is None:
        return
    else:
        pairs = [(tree, None)]
    for key, below in pairs:
        name, *synonyms = (_plain(part) for part in str(key).split("|"))
        if isinstance(key, (Mapping, list)) or not name:
            raise InputError(f"{where}: got {str(key)[:40]!r}, expected the name of a concept")
        yield name, [each for each in synonyms if each], parent
        yield from _walk(path, below, name, (*above, name))


def _of_wikidata(path: Path, file: TextIOWrapper) -> dict[str, Noun]:
    """A line an entity, as in its dumps. What is an instance is left out, unless others are narrower than it."""
    labels: dict[str, tuple[str, ...]] = {}
    above: dict[str, tuple[str, ...]] = {}
    alone: set[str] = set()  # single things, unless they are classes as well
    for place, line in enumerate(file, 1):
        text = line.strip().rstrip(",")
        if text in ("", "[", "]"):
            continue
        try:
            entity = json.loads(text)
            key, names = entity["id"], _names(entity)
            parents = tuple(each for claim in NARROWER for each in _targets(entity, claim))
            kinds = _targets(entity, KIND_OF)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{path}: line {place}: is no entity of Wikidata: {type(error).__name__}") from error
        if not names or len(labels) >= MOST_CONCEPTS:
            continue
        labels[key], above[key] = names, parents
        if kinds and not parents:
            alone.add(key)
    classes = {parent for parents in above.values() for parent in parents}
    kept = [key for key in labels if key in classes or key not in alone]
    known = set(kept)
    return {
        key: _own(key, labels[key], tuple(dict.fromkeys(each for each in above[key] if each in known))) for key in kept
    }


def _names(entity: Mapping[str, Any]) -> tuple[str, ...]:
    label = entity.get("labels", {}).get(LANGUAGE)
    aliases = entity.get("aliases", {}).get(LANGUAGE, [])
    names = [_plain(each["value"]) for each in ([label] if label else []) + (aliases if label else [])]
    return tuple(dict.fromkeys(name for name in names if name))


def _targets(entity: Mapping[str, Any], claim: str) -> list[str]:
    """What a claim points to; claims without a value point nowhere."""
    found = []
    for each in entity.get("claims", {}).get(claim, []):
        value = each["mainsnak"].get("datavalue", {}).get("value")
        if isinstance(value, Mapping) and isinstance(value.get("id"), str):
            found.append(value["id"])
    return found


READERS: Mapping[str, Callable[[Path, TextIOWrapper], dict[str, Noun]]] = {
    ".csv": _of_table,
    ".yaml": _of_tree,
    ".yml": _of_tree,
    ".json": _of_wikidata,
    ".jsonl": _of_wikidata,
}
