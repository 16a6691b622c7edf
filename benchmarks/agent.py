"""The agent without a language model: what it solves, what it survives, what it costs.

    python benchmarks/agent.py [--episodes 10000] [--worlds 200] [--model tiny]

The toy world is drawn with known relations (tests/support/toy_world.py); faults are injected into planners' replies and
into the planner itself.
"""

import argparse
import json
import random
import resource
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import numpy as np
from toy_world import OracleSession, Question, World, is_exact, questions, world

from masklet.agent.core import Settings
from masklet.agent.episode import run
from masklet.agent.hands import Hands
from masklet.agent.planners import RulesPlanner
from masklet.inference.model import load
from masklet.llm.calls import calls_in
from masklet.llm.messages import Reply
from masklet.llm.server import ServerProblem
from masklet.query.english import read_question

TOOLS = frozenset({"segment", "query", "facts", "inspect", "judge", "combine", "answer", "answer_none"})
PHRASES = ["coin", "cat", "cup", "table", "person"]


class Faulty:
    """Writes calls with slips: cut, doubled, misspelt, of other types; now and then it cannot be asked at all."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def reply(self, messages, tools) -> Reply:  # noqa: ARG002 - a protocol's
        """A reply that was written badly."""
        rng = self.rng
        if rng.random() < 0.02:
            raise ServerProblem("gone")
        arguments = {
            "phrases": rng.choice([["cup"], ["box", "table"], "cup", [3]]),
            "masks": rng.choice([["A1"], ["A1", "B1"], ["Z9"], []]),
            "question": rng.choice(["the leftmost cup", "", "no words of it"]),
        }
        kept = {key: arguments[key] for key in rng.sample(list(arguments), rng.randint(0, 2))}
        text = json.dumps({"tool": rng.choice([*TOOLS, "nonsense"]), "arguments": kept})
        for _ in range(rng.randint(0, 3)):
            place = rng.randrange(len(text) + 1)
            text = rng.choice(
                [text[:place], text[:place] + rng.choice("{}[]\"',:") + text[place:], text + text[place:]]
            )
        calls, problem = calls_in(text, TOOLS)
        return Reply(text=text, calls=calls, problem=problem)


def faults(count: int) -> tuple[Counter[str], int]:
    """How episodes with faulty planners end, and how many raised."""
    ends: Counter[str] = Counter()
    raised = 0
    scenes = [world(seed) for seed in range(8)]
    for seed in range(count):
        scene = scenes[seed % len(scenes)]
        hands = Hands(session=OracleSession(world=scene), image=scene.image)
        try:
            outcome = run(
                "the two cups not on the table", scene.image, Faulty(seed), hands, Settings(), keep_images=False
            )
            ends[outcome.status] += 1
        except Exception:  # noqa: BLE001 - counting them is the point
            raised += 1
    return ends, raised


def exact_share(count: int, answer: Callable[[World, Question], list[np.ndarray]]) -> tuple[float, int]:
    """The share of the toy world's questions whose masks are exactly right, and how many there are."""
    right = [
        is_exact(answer(scene, question), question.answer)
        for seed in range(count)
        for scene in [world(1000 + seed)]
        for question in questions(scene, 1000 + seed)
    ]
    return float(np.mean(right)), len(right)


def by_rules(scene: World, question: Question) -> list[np.ndarray]:
    """The agent with rules over an oracle."""
    hands = Hands(session=OracleSession(world=scene), image=scene.image)
    outcome = run(question.sentence, scene.image, RulesPlanner(), hands, Settings(is_fast=False), keep_images=False)
    return [mark.mask for mark in outcome.marks]


def median_ms(function: Callable[[], object], repeats: int = 9) -> float:
    """The median of several runs."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def compound_cost(name: str) -> tuple[float, float]:
    """Milliseconds of five phrases in one call, and of a question with the same five concepts."""
    model = load(name)
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    question = " or ".join(f'"{phrase}"' for phrase in PHRASES)
    five = median_ms(lambda: model.segment(image, PHRASES, threshold=0.25))
    one = median_ms(lambda: model.ask(image, question))
    return five, one


def main() -> None:
    """Prints a line a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=10_000)
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--model", default="tiny")
    given = parser.parse_args()
    share, asked = exact_share(given.worlds, by_rules)
    print(f"toy world, rules over an oracle: {100 * share:.2f} % of {asked} questions exactly right")
    ends, raised = faults(given.episodes)
    print(f"{given.episodes} episodes with faults: {raised} raised; {dict(ends)}")
    sentence = "the two largest cups on the table but not the red cup next to the laptop"
    print(
        f"parser: {median_ms(lambda: read_question(sentence), 50):.2f} ms a sentence of {len(sentence.split())} words"
    )
    began = time.perf_counter()
    with ThreadPoolExecutor(64) as pool:
        list(pool.map(lambda seed: by_rules(scene := world(seed), next(questions(scene, seed))), range(64)))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"64 episodes at once: {time.perf_counter() - began:.1f} s, at most {memory:.0f} MB")
    five, one = compound_cost(given.model)
    print(f"five phrases {five:.0f} ms, a question of the five {one:.0f} ms: {one / five:.2f} times")


if __name__ == "__main__":
    main()
