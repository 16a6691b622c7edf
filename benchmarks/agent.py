"""The agent without a language model: what it solves, what it survives, what it costs.

    python benchmarks/agent.py [--episodes 10000] [--worlds 200] [--model tiny] [--seen 20] [--own 300]

`--seen` is how many worlds the model itself is shown, `--own` how many sentences of our own set; 0 leaves them out.

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
from toy_world import HEIGHT, WIDTH, OracleSession, Question, World, is_exact, questions, world

from masklet.agent.episode import run
from masklet.agent.hands import Hands
from masklet.agent.planners import RulesPlanner
from masklet.agent.state import Settings
from masklet.eval.tasks.referring import is_exact_set
from masklet.inference.model import load
from masklet.llm.calls import calls_in
from masklet.llm.messages import Reply
from masklet.llm.server import ServerProblem
from masklet.media.images import read_image
from masklet.protocols import ImageSegmenter
from masklet.query.answer import Answer
from masklet.query.english import read_question
from masklet.query.evaluate import Find, ask
from masklet.query.nodes import phrases
from masklet.scenes.own_questions import draw_own_scene, own_items
from masklet.workflows.demo import EVERYDAY, PHOTO

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
        tool = rng.choice([*TOOLS, "nonsense"])
        fitting = {"segment": ["phrases"], "query": ["question"], "answer": ["masks"], "judge": ["masks"]}
        names = fitting.get(tool, []) if rng.random() < 0.6 else rng.sample(list(arguments), rng.randint(0, 2))
        text = json.dumps({"tool": tool, "arguments": {key: arguments[key] for key in names}})
        for _ in range(rng.choice([0, 0, 0, 1, 2, 3])):
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


def by_model(name: str, count: int) -> tuple[float, float, int]:
    """Of questions about worlds shown to the model: shares right by the query language, and by the kind asked alone.

    Right is the same number of instances, each with an IoU above one half.
    """
    model, compound, plain = load(name), [], []
    for seed in range(count):
        scene = world(1000 + seed)
        with model.open(scene.image) as session:
            for question in questions(scene, 1000 + seed):
                node = read_question(question.sentence)[0].node
                found = ask(_asking(session), scene.image, node)
                phrase = session.find(phrases(node)[0])
                meant = _stack([thing.mask for thing in question.answer])
                compound.append(is_exact_set(_stack([each.mask for each in found.instances]), meant))
                plain.append(is_exact_set(phrase.masks, meant))
    return float(np.mean(compound)), float(np.mean(plain)), len(compound)


def _stack(masks: list[np.ndarray]) -> np.ndarray:
    return np.stack(masks) if masks else np.zeros((0, HEIGHT, WIDTH), bool)


def _asking(session: ImageSegmenter) -> Find:
    return lambda names, least: session.find(names, threshold=least)


def _masks(answer: Answer) -> list[np.ndarray]:
    return [each.mask for each in answer.instances]


def own_set(name: str, count: int) -> dict[str, dict[str, float]]:
    """Exact sets of our own sentences, by sort: over an oracle (generated scenes alone), and by the model."""
    photos = {path.name: read_image(path) for path in (PHOTO, EVERYDAY)}
    right: dict[str, dict[str, list[bool]]] = {each: {} for each in ("oracle", name, f"{name}, the noun alone")}
    model = load(name)
    for item in own_items({key: image.shape[:2] for key, image in photos.items()}, count):
        scene = None if item.seed is None else draw_own_scene(item.seed)
        image = photos[item.image] if scene is None else scene.image
        meant = [thing.mask for thing in item.answer]
        node = read_question(item.sentence)[0].node

        found: dict[str, list[np.ndarray]] = {}
        if scene is not None:
            found["oracle"] = _masks(ask(_asking(OracleSession(world=scene)), image, node))
        with model.open(image) as session:
            found[name] = _masks(ask(_asking(session), image, node))
            found[f"{name}, the noun alone"] = list(session.find(phrases(node)[0]).masks)
        for who, masks in found.items():
            sets = [np.stack(each) if each else np.zeros((0, *image.shape[:2]), bool) for each in (masks, meant)]
            right[who].setdefault(item.sort, []).append(is_exact_set(*sets))
    return {who: {sort: float(np.mean(each)) for sort, each in sorts.items()} for who, sorts in right.items()}


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
    parser.add_argument("--seen", type=int, default=20)
    parser.add_argument("--own", type=int, default=300)
    given = parser.parse_args()
    if given.seen:
        compound, plain, asked = by_model(given.model, given.seen)
        print(
            f"toy world, {given.model}: {100 * compound:.1f} % of {asked} right; the phrase alone {100 * plain:.1f} %"
        )
    if given.own:
        for who, shares in own_set(given.model, given.own).items():
            told = ", ".join(f"{sort} {100 * share:.0f} %" for sort, share in sorted(shares.items()))
            print(f"own set of {given.own}, {who}: {told}", flush=True)
    if not given.episodes:
        return
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
