"""No annotation without what it must rest on."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masklet.engine.stages.finalise import MODELS, PEOPLE, SYNTHETIC, check_evidence, tier_of
from masklet.errors import InputError

KINDS = {"person": PEOPLE, "model": MODELS, "rule": SYNTHETIC}


def verdict(task: str, kind: str, label: str, number: int | None = None) -> dict[str, str]:
    return {"task": task, "kind": kind, "label": label, "subject": "set" if number is None else f"set#{number}"}


@pytest.mark.parametrize(("first", "second"), list(product(KINDS, KINDS)))
def test_the_tier_is_that_of_the_best_who_said_that_all_are_there(first: str, second: str) -> None:
    verdicts = [verdict("exhaustivity", kind, "accept") for kind in (first, second)]
    order = [PEOPLE, MODELS, SYNTHETIC]
    assert tier_of(verdicts) == min((KINDS[first], KINDS[second]), key=order.index)


def test_a_person_who_only_judged_masks_makes_no_tier_of_people() -> None:
    assert tier_of([verdict("mask", "person", "accept", 0), verdict("exhaustivity", "rule", "accept")]) == SYNTHETIC


@given(
    accepted=st.lists(st.integers(0, 4), unique=True),
    judged=st.lists(st.integers(0, 4), unique=True),
    whole=st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.sampled_from(["accept", "reject"])), max_size=3),
    state=st.sampled_from(["final_positive", "final_negative"]),
)
def test_evidence_is_whole_or_the_pair_is_refused(
    accepted: list[int], judged: list[int], whole: list[tuple[str, str]], state: str
) -> None:
    verdicts = [verdict("mask", "rule", "accept", number) for number in judged]
    verdicts += [verdict("exhaustivity", kind, label) for kind, label in whole]
    fits = (
        set(accepted) <= set(judged)
        and any(label == "accept" for _, label in whole)
        and (state == "final_positive") == bool(accepted)
    )
    pair = {"pair_id": "p", "state": state}
    if fits:
        check_evidence(pair, verdicts, accepted, tier_of(verdicts))
    else:
        with pytest.raises(InputError):
            check_evidence(pair, verdicts, accepted, tier_of(verdicts))
