"""The agent without a language model: what it solves, what it survives, what it costs.

    python benchmarks/agent.py [--episodes 10000] [--worlds 200] [--model tiny] [--seen 120] [--own 300] [--workers 2]
                               [--table benchmarks/agent.md]

`--seen` is how many worlds the model itself is shown, `--own` how many sentences of our own set; 0 leaves them out.
With `--table` the rows between the two marks of that file are written anew, all of one state of the code.

The toy world is drawn with known relations (tests/support/toy_world.py); faults are injected into planners' replies and
into the planner itself.
"""

import argparse
import datetime
import json
import multiprocessing
import random
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from itertools import groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import numpy as np
from toy_world import OracleSession, Question, World, is_exact, questions, world

from masklet.agent.episode import run
from masklet.agent.hands import Hands
from masklet.agent.judge import ModelJudge
from masklet.agent.planners import RulesPlanner
from masklet.agent.state import Settings
from masklet.errors import InputError
from masklet.eval.tasks.referring import is_exact_set
from masklet.inference.model import Model, load
from masklet.llm.calls import calls_in
from masklet.llm.messages import Reply
from masklet.llm.server import ServerProblem
from masklet.media.images import read_image
from masklet.protocols import ImageSegmenter
from masklet.query.english import read_question
from masklet.query.evaluate import Find, ask
from masklet.query.nodes import phrases
from masklet.query.text import to_text
from masklet.scenes.own_questions import OwnItem, draw_own_scene, own_items
from masklet.workflows.demo import EVERYDAY, PHOTO

ROOT = Path(__file__).parents[1]
TOOLS = frozenset({"segment", "query", "facts", "inspect", "judge", "combine", "propose", "answer", "answer_none"})
PHRASES = ["coin", "cat", "cup", "table", "person"]
REQUEST = "the two cups not on the table"
SETTINGS = {
    "free": Settings(),
    "two-call": Settings(mode="two-call", shows="facts and drawing"),
    "high effort": Settings(effort="high"),
}
SHOWN_SHARE = 20  # every which episode draws what it shows; the rest read facts alone, which takes less time
BEGIN, END = "<!-- rows: made by --table -->", "<!-- end of rows -->"


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
        fitting["propose"] = ["phrases"]
        names = fitting.get(tool, []) if rng.random() < 0.6 else rng.sample(list(arguments), rng.randint(0, 2))
        text = json.dumps({"tool": tool, "arguments": {key: arguments[key] for key in names}})
        for _ in range(rng.choice([0, 0, 0, 1, 2, 3])):
            place = rng.randrange(len(text) + 1)
            text = rng.choice(
                [text[:place], text[:place] + rng.choice("{}[]\"',:") + text[place:], text + text[place:]]
            )
        calls, problem = calls_in(text, TOOLS)
        return Reply(text=text, calls=calls, problem=problem)


def faults(seeds: Sequence[int]) -> tuple[Counter[str], int]:
    """How episodes with faulty planners end, in three ways of working, and how many raised."""
    ends: Counter[str] = Counter()
    raised = 0
    scenes = [world(seed) for seed in range(8)]
    ways = list(SETTINGS.values())
    for seed in seeds:
        scene, settings = scenes[seed % len(scenes)], ways[seed % len(ways)]
        if settings.mode == "two-call" and seed % SHOWN_SHARE:
            settings = replace(settings, shows="facts")
        judge = ModelJudge(model=Faulty(-seed), workers=1)
        hands = Hands(session=OracleSession(world=scene), image=scene.image, judge=judge)
        try:
            outcome = run(REQUEST, scene.image, Faulty(seed), hands, settings, keep_images=False)
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


Rights = dict[str, list[bool]]  # by sort, and by who answered


@cache
def model_of(name: str) -> Model:
    """One model a process."""
    return load(name)


def seen_worlds(name: str, seeds: Sequence[int]) -> Rights:
    """Whether questions about worlds shown to the model are right: by the query language, and by the noun alone."""
    found: Rights = defaultdict(list)
    for seed in seeds:
        scene = world(1000 + seed)
        with model_of(name).open(scene.image) as session:
            for question in questions(scene, 1000 + seed):
                meant = [thing.mask for thing in question.answer]
                _compare(found, "toy world", session, scene.image, question.sentence, meant)
    return dict(found)


def own_share(name: str, items: Sequence[OwnItem]) -> Rights:
    """The same of our own sentences, with an oracle on generated scenes; items of one image come together."""
    photos = {path.name: read_image(path) for path in (PHOTO, EVERYDAY)}
    found: Rights = defaultdict(list)
    for (image_name, seed), group in groupby(items, key=lambda item: (item.image, item.seed)):
        scene = None if seed is None else draw_own_scene(seed)
        image = photos[image_name] if scene is None else scene.image
        with model_of(name).open(image) as session:
            for item in group:
                meant = [thing.mask for thing in item.answer]
                _compare(found, item.sort, session, image, item.sentence, meant)
                if scene is not None:
                    node = read_question(item.sentence)[0].node
                    masks = [each.mask for each in ask(_asking(OracleSession(world=scene)), image, node).instances]
                    found[f"{item.sort}|oracle"].append(_is_right(masks, meant, image))
    return dict(found)


def _compare(
    found: Rights, sort: str, session: ImageSegmenter, image: np.ndarray, sentence: str, meant: list[np.ndarray]
) -> None:
    node = read_question(sentence)[0].node
    masks = [each.mask for each in ask(_asking(session), image, node).instances]
    found[f"{sort}|language"].append(_is_right(masks, meant, image))
    found[f"{sort}|noun"].append(_is_right(list(session.find(phrases(node)[0]).masks), meant, image))


def _is_right(masks: list[np.ndarray], meant: list[np.ndarray], image: np.ndarray) -> bool:
    """As many instances as are meant, each with an IoU above one half."""
    one, other = (np.stack(each) if each else np.zeros((0, *image.shape[:2]), bool) for each in (masks, meant))
    return is_exact_set(one, other)


def _asking(session: ImageSegmenter) -> Find:
    return lambda names, least: session.find(names, threshold=least)


def put_together(parts: Iterable[Rights]) -> Rights:
    """Answers of several processes."""
    whole: Rights = defaultdict(list)
    for part in parts:
        for key, values in part.items():
            whole[key] += values
    return dict(whole)


def dealt(items: Sequence, parts: int) -> list[list]:
    """Runs of items, one a part, of about the same length."""
    size = -(-len(items) // max(parts, 1))
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def held_out() -> tuple[int, int]:
    """Of the sentences held out, how many are read as a person reads them, and how many there are."""
    rows = [line.split("\t") for line in (ROOT / "tests/query/held_out.tsv").read_text().splitlines()]
    return sum(_reading(sentence) == meaning for sentence, meaning in rows), len(rows)


def _reading(sentence: str) -> str:
    try:
        return to_text(read_question(sentence)[0].node)
    except InputError:
        return "!"


def parser_ms() -> tuple[float, float, int]:
    """Processor ms a sentence of the two tables of tests: the median, the slowest, and how many there are."""
    files = ("held_out.tsv", "sentences.tsv")
    rows = [line.split("\t")[0] for name in files for line in (ROOT / "tests/query" / name).read_text().splitlines()]
    times = [median_ms(lambda row=row: _reading(row), 5, time.process_time) for row in rows]
    return statistics.median(times), max(times), len(rows)


def median_ms(
    function: Callable[[], object], repeats: int = 9, clock: Callable[[], float] = time.perf_counter
) -> float:
    """The median of several runs."""
    times = []
    for _ in range(repeats):
        began = clock()
        function()
        times.append(1000 * (clock() - began))
    return statistics.median(times)


def compound_cost(name: str, turns: int = 9) -> tuple[float, float, float]:
    """Median ms of five phrases in one call and of a question with the same five concepts, in turn, and their ratio."""
    model = model_of(name)
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    question = " or ".join(f'"{phrase}"' for phrase in PHRASES)
    calls = (lambda: model.segment(image, PHRASES, threshold=0.25), lambda: model.ask(image, question))
    pairs = [[median_ms(call, 1) for call in calls] for _ in range(turns + 1)][1:]
    five, one = (statistics.median(column) for column in zip(*pairs, strict=True))
    return five, one, statistics.median(pair[1] / pair[0] for pair in pairs)


def together() -> tuple[float, float]:
    """Seconds of 64 episodes at once over eight open images, and the most MB that the process had."""
    scenes = [world(seed) for seed in range(8)]
    began = time.perf_counter()
    with ThreadPoolExecutor(64) as pool:
        list(pool.map(lambda seed: by_rules(scene := scenes[seed % 8], next(questions(scene, seed))), range(64)))
    return time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def plain_rows(given: argparse.Namespace) -> Iterator[tuple[str, str, str]]:
    """What needs no model: what, figure, aim."""
    seconds, memory = together()
    share, asked = exact_share(given.worlds, by_rules)
    yield "toy world, rules over an oracle", f"{100 * share:.2f} % of {asked:,} questions exactly right", "99 %"
    if given.episodes:
        with _processes(given.workers) as pool:
            parts = list(pool.map(faults, dealt(range(given.episodes), given.workers)))
        ends = sum((part[0] for part in parts), Counter())
        told = ", ".join(f"{count:,} {status}" for status, count in ends.most_common())
        raised = sum(part[1] for part in parts)
        yield f"{given.episodes:,} episodes with faults in planner and judge", f"{raised} raised; {told}", "none raised"
    middle, slowest, count = parser_ms()
    yield f"parser, {count} sentences", f"median {middle:.2f} ms, slowest {slowest:.2f} ms", "2 ms"
    right, count = held_out()
    yield "held-out sentences, read as a person reads them", f"{right} of {count}", ""
    yield "64 episodes at once", f"{seconds:.1f} s in all; the process had at most {memory:.0f} MB", "bounded"


def model_rows(given: argparse.Namespace) -> Iterator[tuple[str, str, str, str, str]]:
    """What the model gets right: sentences, how many, and shares over an oracle, by the model, by the noun alone."""
    photos = {path.name: read_image(path).shape[:2] for path in (PHOTO, EVERYDAY)}
    items = sorted(own_items(photos, given.own), key=lambda item: (item.image, item.seed or 0)) if given.own else []
    with _processes(given.workers) as pool:
        jobs = [pool.submit(seen_worlds, given.model, seeds) for seeds in dealt(range(given.seen), 2 * given.workers)]
        jobs += [pool.submit(own_share, given.model, part) for part in dealt(items, 2 * given.workers)]
        rights = put_together(job.result() for job in jobs)
    for sort in sorted({key.split("|")[0] for key in rights}, key=lambda sort: (sort != "toy world", sort)):
        shares = [_percent(rights.get(f"{sort}|{who}")) for who in ("oracle", "language", "noun")]
        yield sort, str(len(rights[f"{sort}|language"])), *shares


def _percent(values: list[bool] | None) -> str:
    return f"{100 * float(np.mean(values)):.1f} %" if values else ""


def _processes(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def state_of_code(name: str) -> str:
    """The day, the commit and the weights that figures are of."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    commit = said.stdout.strip() or "unknown"
    return f"{datetime.date.today().isoformat()}, commit {commit}, weights {model_of(name).identity.split('-')[0]}"


def as_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def main() -> None:
    """Prints the rows, and writes them into a file where it is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=10_000)
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--seen", type=int, default=120)
    parser.add_argument("--own", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--table", type=Path)
    given = parser.parse_args()
    began = time.perf_counter()
    five, one, ratio = compound_cost(given.model)  # before anything else, while the machine is quiet
    told = f"{one:.0f} ms and {five:.0f} ms: {ratio:.2f} times"
    cost = ("a question of 5 concepts, against asking the 5 phrases", told, "1.15 times")
    parts = [as_table(("what", "figure", "aim"), [*plain_rows(given), cost])]
    print(parts[0], flush=True)
    if given.seen or given.own:
        head = ("sentences", "how many", "query language over an oracle", f"query language, `{given.model}`")
        parts.append(as_table((*head, f"the noun alone, `{given.model}`"), model_rows(given)))
        print(parts[1], flush=True)
    took = f"{(time.perf_counter() - began) / 60:.0f} minutes on {given.workers} processes"
    text = f"{state_of_code(given.model)}; {took}.\n\n" + "\n\n".join(parts)
    if given.table is not None:
        whole = given.table.read_text(encoding="utf-8")
        before, _, rest = whole.partition(BEGIN)
        after = rest.partition(END)[2]
        given.table.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
