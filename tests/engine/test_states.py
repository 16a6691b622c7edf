"""The table of states: nothing else can happen, and whatever can happen ends somewhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masklet.engine.states import ENDED, FINAL, TRANSITIONS, Cause, State, next_state
from masklet.errors import InputError


@given(st.sampled_from(State), st.sampled_from(Cause))
def test_only_listed_transitions_can_happen(state: State, cause: Cause) -> None:
    if cause in TRANSITIONS[state]:
        assert next_state(state, cause) is TRANSITIONS[state][cause]
    else:
        with pytest.raises(InputError, match=str(state)):
            next_state(state, cause)


def test_every_state_has_a_row_and_can_be_reached() -> None:
    reached = {State.PROPOSED}
    while True:
        more = reached | {after for state in reached for after in TRANSITIONS[state].values()}
        if more == reached:
            break
        reached = more
    assert reached == set(State) == set(TRANSITIONS)


def test_from_every_state_a_pair_can_end() -> None:
    ends = set(FINAL | ENDED)
    for _ in State:
        ends |= {state for state, causes in TRANSITIONS.items() if ends & set(causes.values())}
    assert ends == set(State)


def test_only_reopening_leaves_a_final_state() -> None:
    for state in FINAL:
        assert set(TRANSITIONS[state]) == {Cause.AUDIT_FAILED, Cause.STALE, Cause.REVOKED}
        assert not FINAL & set(TRANSITIONS[state].values())
