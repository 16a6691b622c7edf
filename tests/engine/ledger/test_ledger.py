"""Transactions: an outcome is kept whole or not at all."""

import sqlite3
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from masklet.engine.blobs import Blobs
from masklet.engine.ledger import tables as t
from masklet.engine.ledger.ledger import RULES, Ledger
from masklet.engine.records import Author, Fact, Move, Outcome
from masklet.engine.stages.ingest import source_fact
from masklet.engine.stages.phrases import pair_fact, pair_id_of, phrase_fact, phrase_id_of
from masklet.engine.states import TRANSITIONS, Cause, State
from masklet.engine.view import LedgerView
from masklet.errors import InputError

SOURCE = source_fact("photos", "CC0-1.0")


def with_pair(path: Path | str) -> tuple[Ledger, str]:
    ledger = Ledger.open(path)
    media = dict(source_id=SOURCE.values["source_id"], uri="a.png", width=1, height=1, hash64="0", error=None)
    facts = [SOURCE, Fact(table="media", values={"media_id": "m", "profile": None} | media), phrase_fact("cat")]
    ledger.add([*facts, pair_fact("m", phrase_id_of("cat"), "listed")])
    return ledger, pair_id_of("m", phrase_id_of("cat"))


def state_of(ledger: Ledger, pair: str) -> State:
    return State(ledger.read(select(t.pair.c.state).where(t.pair.c.pair_id == pair))[0]["state"])


def counts_of(ledger: Ledger) -> dict[State, int]:
    return LedgerView(ledger, Blobs(Path("none"))).counts()


def test_a_new_ledger_waits_for_another_process_that_makes_its_tables(tmp_path: Path) -> None:
    """SQLite refuses at once, whatever its timeout, to change how a file is logged while somebody writes in it."""
    other = sqlite3.connect(tmp_path / "l.sqlite", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.3, other.execute, ["COMMIT"]).start()
    ledger = Ledger.open(tmp_path / "l.sqlite")
    assert ledger.count("meta") == 1
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    other.close()


def test_a_move_that_is_not_listed_leaves_nothing_behind(tmp_path: Path) -> None:
    ledger, pair = with_pair(tmp_path / "l.sqlite")
    events = ledger.count("event")
    outcome = Outcome(facts=[phrase_fact("dog")], moves=[Move(pair_id=pair, cause=Cause.ALL_THERE)])
    with pytest.raises(InputError, match="proposed"):
        ledger.act(outcome, RULES)
    assert ledger.count("phrase") == 1
    assert ledger.count("event") == events
    assert state_of(ledger, pair) is State.PROPOSED
    assert counts_of(ledger) == {State.PROPOSED: 1}


@given(causes=st.lists(st.sampled_from(Cause), max_size=25))
def test_any_sequence_of_causes_follows_the_table(
    tmp_path_factory: pytest.TempPathFactory, causes: list[Cause]
) -> None:
    ledger, pair = with_pair(tmp_path_factory.mktemp("walk") / "l.sqlite")
    expected, moved = State.PROPOSED, 0
    for cause in causes:
        if cause in TRANSITIONS[expected]:
            ledger.act(Outcome(moves=[Move(pair_id=pair, cause=cause)]), RULES)
            expected, moved = TRANSITIONS[expected][cause], moved + 1
        else:
            with pytest.raises(InputError):
                ledger.act(Outcome(moves=[Move(pair_id=pair, cause=cause)]), RULES)
        assert state_of(ledger, pair) is expected
    assert ledger.count("event") == moved  # the story tells every move, and nothing else
    assert counts_of(ledger) == {expected: 1}
    ledger.close()


def test_facts_added_twice_are_there_once(tmp_path: Path) -> None:
    ledger, _ = with_pair(tmp_path / "l.sqlite")
    ledger.add([phrase_fact("cat"), phrase_fact("cat")])
    assert ledger.count("phrase") == 1
    pairs = [pair_fact("m", phrase_id_of(text), "listed") for text in ("cat", "dog", "dog")]
    ledger.add([phrase_fact("dog"), *pairs])
    assert counts_of(ledger) == {State.PROPOSED: ledger.count("pair")} == {State.PROPOSED: 2}


def test_a_ledger_of_before_the_counts_is_counted_once(tmp_path: Path) -> None:
    with_pair(tmp_path / "l.sqlite")[0].close()
    with sqlite3.connect(tmp_path / "l.sqlite") as raw:
        raw.execute("DROP TABLE tally")
        raw.execute("UPDATE meta SET value = '1' WHERE name = 'schema'")
    for _ in range(2):
        ledger = Ledger.open(tmp_path / "l.sqlite")
        assert counts_of(ledger) == {State.PROPOSED: 1}
        ledger.close()


def test_the_actor_of_a_decision_is_on_record(tmp_path: Path) -> None:
    ledger, pair = with_pair(tmp_path / "l.sqlite")
    ledger.act(Outcome(moves=[Move(pair_id=pair, cause=Cause.ACCEPTED_PHRASE)]), Author(kind="person", name="Ada"))
    told = ledger.read(select(t.event, t.actor.c.name).join(t.actor, t.actor.c.actor_id == t.event.c.actor_id))
    assert [(row["kind"], row["name"]) for row in told] == [("moved", "Ada")]


def test_a_ledger_opens_again_and_refuses_what_is_none(tmp_path: Path) -> None:
    ledger, pair = with_pair(tmp_path / "l.sqlite")
    ledger.close()
    assert state_of(Ledger.open(tmp_path / "l.sqlite"), pair) is State.PROPOSED
    (tmp_path / "text").write_text("not a database at all, and long enough to be looked at " * 20)
    with pytest.raises(InputError, match="not a ledger"):
        Ledger.open(tmp_path / "text")


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    with_pair(tmp_path / "l.sqlite")[0].close()
    with sqlite3.connect(tmp_path / "l.sqlite") as raw:
        raw.execute("UPDATE meta SET value = '99' WHERE name = 'schema'")
    with pytest.raises(InputError, match="schema 99"):
        Ledger.open(tmp_path / "l.sqlite")


def test_rows_of_the_wrong_kind_are_refused(tmp_path: Path) -> None:
    ledger, pair = with_pair(tmp_path / "l.sqlite")
    ledger.close()
    with sqlite3.connect(tmp_path / "l.sqlite") as raw, pytest.raises(sqlite3.IntegrityError):
        raw.execute("UPDATE pair SET state = 'nonsense' WHERE pair_id = ?", [pair])
