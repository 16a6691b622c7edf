"""The states of a pair and the causes that move it: one table, and nothing moves a pair but its rows.

Source: SAM 3 paper, appendix D (mask verification, exhaustivity verification, correction); the states are our own.
"""

from enum import StrEnum

from masklet.errors import InputError


class State(StrEnum):
    """Where a pair of an image and a phrase stands."""

    PROPOSED = "proposed"
    PHRASE_REJECTED = "np_rejected"
    QUEUED = "queued"
    SKIPPED_EASY = "skipped_easy"
    SKIPPED_BALANCE = "skipped_balance"
    MASKED = "masked"
    MASKS_VERIFIED = "mv_done"
    HUMAN_MASKS = "human_mv"
    PENDING = "ev_pending"
    HUMAN_PENDING = "human_ev"
    TO_CORRECT = "to_correct"
    TO_CORRECT_GROUP = "to_correct_group"
    CORRECTED = "corrected"
    RECHECK = "recheck"
    JOB_REJECTED = "job_rejected"
    REJECTED = "rejected"
    FINAL_POSITIVE = "final_positive"
    FINAL_NEGATIVE = "final_negative"


class Cause(StrEnum):
    """Why a pair moves."""

    PHRASE_UNFIT = "phrase unfit"
    ACCEPTED_PHRASE = "phrase accepted"
    EASY = "easy"
    BALANCE = "balance"
    MASKS_FOUND = "masks found"
    MASKS_DECIDED = "masks decided"
    MASKS_UNSURE = "masks unsure"
    ASK_EXHAUSTIVITY = "ask exhaustivity"
    ALL_THERE = "all there"
    NONE_THERE = "none there"
    SOME_MISSING = "some missing"
    NOT_SEPARATED = "not separated"
    EXHAUSTIVITY_UNSURE = "exhaustivity unsure"
    UNGROUNDABLE = "ungroundable"
    CORRECTION_DONE = "correction done"
    CORRECTION_REFUSED = "correction refused"
    CHECK_AGAIN = "check again"
    AUDIT_FAILED = "audit failed"
    STALE = "stale"
    REVOKED = "revoked"


_ANSWERS_TO_EXHAUSTIVITY = {
    Cause.ALL_THERE: State.FINAL_POSITIVE,
    Cause.NONE_THERE: State.FINAL_NEGATIVE,
    Cause.SOME_MISSING: State.TO_CORRECT,
    Cause.NOT_SEPARATED: State.TO_CORRECT_GROUP,
    Cause.UNGROUNDABLE: State.REJECTED,
}
_AFTER_CORRECTION = {
    Cause.CORRECTION_DONE: State.CORRECTED,
    Cause.CORRECTION_REFUSED: State.JOB_REJECTED,
    Cause.STALE: State.QUEUED,
}
_REOPENED = {Cause.AUDIT_FAILED: State.TO_CORRECT, Cause.STALE: State.QUEUED, Cause.REVOKED: State.QUEUED}

TRANSITIONS: dict[State, dict[Cause, State]] = {
    State.PROPOSED: {Cause.PHRASE_UNFIT: State.PHRASE_REJECTED, Cause.ACCEPTED_PHRASE: State.QUEUED},
    State.QUEUED: {
        Cause.MASKS_FOUND: State.MASKED,
        Cause.EASY: State.SKIPPED_EASY,
        Cause.BALANCE: State.SKIPPED_BALANCE,
    },
    State.MASKED: {
        Cause.MASKS_DECIDED: State.MASKS_VERIFIED,
        Cause.MASKS_UNSURE: State.HUMAN_MASKS,
        Cause.STALE: State.QUEUED,
        Cause.EASY: State.SKIPPED_EASY,
    },
    State.HUMAN_MASKS: {Cause.MASKS_DECIDED: State.MASKS_VERIFIED, Cause.STALE: State.QUEUED},
    State.MASKS_VERIFIED: {Cause.ASK_EXHAUSTIVITY: State.PENDING, Cause.STALE: State.QUEUED},
    State.PENDING: {
        **_ANSWERS_TO_EXHAUSTIVITY,
        Cause.EXHAUSTIVITY_UNSURE: State.HUMAN_PENDING,
        Cause.STALE: State.QUEUED,
    },
    State.HUMAN_PENDING: {**_ANSWERS_TO_EXHAUSTIVITY, Cause.STALE: State.QUEUED},
    State.TO_CORRECT: _AFTER_CORRECTION,
    State.TO_CORRECT_GROUP: _AFTER_CORRECTION,
    State.CORRECTED: {
        Cause.CHECK_AGAIN: State.RECHECK,
        Cause.ALL_THERE: State.FINAL_POSITIVE,
        Cause.NONE_THERE: State.FINAL_NEGATIVE,
    },
    State.RECHECK: {
        Cause.ALL_THERE: State.FINAL_POSITIVE,
        Cause.NONE_THERE: State.FINAL_NEGATIVE,
        Cause.SOME_MISSING: State.TO_CORRECT,
        Cause.STALE: State.QUEUED,
    },
    State.FINAL_POSITIVE: _REOPENED,
    State.FINAL_NEGATIVE: _REOPENED,
    State.PHRASE_REJECTED: {},
    State.SKIPPED_EASY: {},
    State.SKIPPED_BALANCE: {},
    State.JOB_REJECTED: {},
    State.REJECTED: {},
}
FINAL = frozenset({State.FINAL_POSITIVE, State.FINAL_NEGATIVE})
ENDED = frozenset(state for state, causes in TRANSITIONS.items() if not causes)
FOR_PEOPLE = frozenset(
    {State.HUMAN_MASKS, State.HUMAN_PENDING, State.TO_CORRECT, State.TO_CORRECT_GROUP, State.RECHECK}
)


def next_state(state: State, cause: Cause) -> State:
    """Where the cause moves a pair. Raises: InputError naming both when the table has no such row."""
    try:
        return TRANSITIONS[state][cause]
    except KeyError:
        listed = ", ".join(TRANSITIONS[state]) or "none, it has ended"
        raise InputError(f"a pair in state {state!s} cannot move by {cause.value!r}; causes are: {listed}") from None


FOR_MODELS = frozenset({State.QUEUED, State.MASKED, State.MASKS_VERIFIED, State.PENDING, State.CORRECTED})
