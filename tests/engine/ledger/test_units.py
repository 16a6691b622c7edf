"""Leases: one worker a unit, and none is lost with its worker."""

from pathlib import Path

import pytest

from masklet.engine.ledger.ledger import RULES, Ledger
from masklet.engine.ledger.units import LEASE_SECONDS, MOST_ATTEMPTS, LeaseLostError, Units
from masklet.engine.records import Fact, Outcome, Unit
from masklet.engine.stages.phrases import phrase_fact


@pytest.fixture
def units(tmp_path: Path) -> Units:
    ledger = Ledger.open(tmp_path / "l.sqlite")
    ledger.add([Fact(table="run", values={"run_id": "r", "started_at": 0, "code": "", "config": ""})])
    return Units(ledger)


def unit(subject: str, **changes: object) -> Unit:
    return Unit(**{"stage": "s", "version": 1, "subject": subject, "inputs": ["x"], **changes})  # type: ignore[arg-type]


def test_equal_work_is_planned_once(units: Units) -> None:
    assert units.plan([unit("a"), unit("b")], "r") == 2
    assert units.plan([unit("a"), unit("b", inputs=["y"]), unit("b", version=2)], "r") == 2
    assert unit("a", inputs=["x", "y"]).key == unit("a", inputs=["y", "x"]).key


def test_two_owners_never_hold_one_unit(units: Units) -> None:
    units.plan([unit(str(number)) for number in range(5)], "r")
    first, second = units.claim("s", "A", 3), units.claim("s", "B", 3)
    assert len(first) == 3
    assert len(second) == 2
    assert not {lease.key for lease in first} & {lease.key for lease in second}
    assert not units.claim("s", "C")


def test_the_highest_priority_comes_first(units: Units) -> None:
    units.plan([unit("low", priority=0.0), unit("high", priority=2.0), unit("middle", priority=1.0)], "r")
    assert [units.claim("s", "A")[0].subject for _ in range(3)] == ["high", "middle", "low"]


def test_a_lease_that_ran_out_goes_to_another_and_the_first_adds_nothing(units: Units) -> None:
    units.plan([unit("a")], "r")
    (late,) = units.claim("s", "A", now=0)
    assert not units.claim("s", "B", now=LEASE_SECONDS - 1)
    assert units.is_busy("s", now=LEASE_SECONDS - 1)
    assert not units.is_busy("s", now=LEASE_SECONDS + 1)
    (taken,) = units.claim("s", "B", now=LEASE_SECONDS + 1)
    with pytest.raises(LeaseLostError, match="another worker"):
        units.complete(late, "A", Outcome(facts=[phrase_fact("late")]), RULES)
    with pytest.raises(LeaseLostError):
        units.renew(late, "A")
    assert units.ledger.count("phrase") == 0
    units.complete(taken, "B", Outcome(facts=[phrase_fact("in time")]), RULES)
    assert units.counts() == {("s", "done"): 1}


def test_a_renewed_lease_is_kept(units: Units) -> None:
    units.plan([unit("a")], "r")
    (lease,) = units.claim("s", "A", now=0)
    units.renew(lease, "A", now=LEASE_SECONDS - 1)
    assert not units.claim("s", "B", now=LEASE_SECONDS + 1)


def test_a_unit_that_fails_again_and_again_is_set_aside(units: Units) -> None:
    units.plan([unit("a")], "r")
    for attempt in range(MOST_ATTEMPTS):
        (lease,) = units.claim("s", "A")
        assert units.fail(lease, "A", "broken") == (attempt == MOST_ATTEMPTS - 1)
    assert not units.claim("s", "A")
    assert units.counts_of("s") == {"poison": 1}
    assert units.retried() == {"s": 1}


def test_units_of_the_dead_are_given_back_and_those_of_the_living_are_not(units: Units) -> None:
    units.plan([unit("a"), unit("b")], "r")
    units.claim("s", "dead")
    units.claim("s", "alive")
    assert units.release_dead(lambda owner: owner == "dead") == 1
    assert units.retried() == {}
    assert len(units.claim("s", "B", 2)) == 1
