"""A world that is known answers for the whole machine: with an oracle for a segmenter a miss is a fault of ours."""

import pytest
from toy_world import OracleSession, is_exact, questions, world

from masklet.agent.episode import run
from masklet.agent.hands import Hands
from masklet.agent.planners import RulesPlanner
from masklet.agent.state import Settings
from masklet.query.english import read_question
from masklet.query.evaluate import ask

WORLDS = range(30)


def test_compound_questions_are_answered_exactly() -> None:
    asked, missed = 0, []
    for seed in WORLDS:
        scene = world(seed)
        session = OracleSession(world=scene)
        for question in questions(scene, seed):
            node = read_question(question.sentence)[0].node
            answer = ask(lambda names, least, session=session: session.find(names, threshold=least), scene.image, node)
            asked += 1
            if not is_exact([each.mask for each in answer.instances], question.answer):
                missed.append((seed, question.sentence))
    assert asked > 270
    assert len(missed) <= 0.01 * asked, missed


@pytest.mark.parametrize("is_fast", [True, False])
def test_the_agent_with_the_planner_of_rules_solves_all_of_it(is_fast) -> None:
    missed = []
    for seed in range(6):
        scene = world(seed)
        hands = Hands(session=OracleSession(world=scene), image=scene.image)
        for question in questions(scene, seed):
            outcome = run(question.sentence, scene.image, RulesPlanner(), hands, Settings(is_fast=is_fast))
            if not is_exact([mark.mask for mark in outcome.marks], question.answer):
                missed.append((seed, question.sentence, outcome.status, outcome.reason))
            assert outcome.status in ("answered", "none")
    assert missed == []
