"""The loop closed on real photos: what a model learns from labels raw, verified, corrected, and made by people.

    python benchmarks/engine_loop.py annotations.json images --source desk --learn 60 --held 60 --steps 60 --out loop

Some photos lose their labels, others are held out. The model labels the first by itself; its own scores verify; people
who are never wrong answer and correct for ten minutes (2 s an answer, 30 s a pair), after the scores or before a
verifier is trained from what they say; the labels that were there are the last arm. From each the recipe
`builtin-finetune` learns as long, without validation, and is measured on the held-out photos. Figures stand in
`loop.json`; an arm that is there is not made again.
"""

import argparse
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

SUPPORT = Path(__file__).parents[1] / "tests" / "support"
sys.path.insert(0, str(SUPPORT))

import numpy as np  # noqa: E402
from engine_people import answer_open, correct_waiting, shares  # noqa: E402

import masklet  # noqa: E402
from masklet.engine.project.exports import coco_of  # noqa: E402
from masklet.engine.stages.stage import Project  # noqa: E402
from masklet.engine.verify.oracle import Truth  # noqa: E402
from masklet.files import link_or_copy, write_atomically  # noqa: E402
from masklet.formats.coco import CocoFile, read_coco  # noqa: E402
from masklet.formats.records import decode_mask  # noqa: E402
from masklet.formats.tools.objects import name_of_image, size_of  # noqa: E402
from masklet.inference.output.export import CocoWriter  # noqa: E402
from masklet.media.images import read_image  # noqa: E402
from masklet.phrases import phrase_key  # noqa: E402
from masklet.workflows.engine.folder import open_project  # noqa: E402
from masklet.workflows.engine.run import EngineJob, run_engine  # noqa: E402
from masklet.workflows.engine.verifier import train_project_verifier  # noqa: E402
from masklet.workflows.evaluation.concepts import ConceptsJob, evaluate_concepts  # noqa: E402
from masklet.workflows.evaluation.evaluate import AskedModel  # noqa: E402
from masklet.workflows.model_choice import ModelChoice  # noqa: E402

SECONDS, ROUNDS = 600.0, 3  # of people's time; how often what they did is taken further
MOST_FALSE = 0.1  # wrong answers that a verifier may let pass, which is trained from five minutes of them
FIGURES = {"cgF1": 100.0, "IL_MCC": 1.0, "positive_micro_F1": 100.0}


@dataclass(frozen=True)
class Loop:
    """What all arms share."""

    folder: Path
    labels: CocoFile  # of the photos that are learnt from
    model: str
    overrides: tuple[str, ...]

    @property
    def photos(self) -> Path:
        return self.folder / "full" / "images"

    @property
    def phrases(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.labels.categories.values())

    def truth(self) -> Truth:
        """The labels that were there, by the pixels of a photo."""
        found = self.labels.by_image()
        known = {
            read_image(self.photos / name_of_image(image)).tobytes(): (size_of(image), found.get(key, ()))
            for key, image in self.labels.images.items()
        }
        names = {key: phrase_key(each.name) for key, each in self.labels.categories.items()}

        def masks(image: np.ndarray, phrase: str) -> list[np.ndarray]:
            size, records = known[image.tobytes()]
            asked = phrase_key(phrase)
            return [decode_mask(each.segmentation, size) for each in records if names[each.category_id] == asked]

        return masks

    def project(self, name: str) -> Project:
        """A project of the photos, run as far as models bring it."""
        self.run(name)
        return open_project(self.folder / name / "project")

    def run(self, name: str) -> None:
        """Brings a project further; in that of `people first` scores decide nothing."""
        folder, people = self.folder / name / "project", name == "people first"
        run_engine(EngineJob(photos=self.photos, folder=folder, phrases=self.phrases, model=self.model, people=people))


def part(labels: CocoFile, keys: set[Any]) -> CocoFile:
    """The labels of some images, and the categories that these show."""
    records = [each for each in labels.annotations if each.image_id in keys]
    used = {each.category_id for each in records}
    return replace(
        labels,
        images={key: image for key, image in labels.images.items() if key in keys},
        categories={key: each for key, each in labels.categories.items() if key in used},
        annotations=records,
    )


def write_arm(folder: Path, labels: CocoFile, images: Path) -> None:
    """A folder that is learnt from."""
    for image in labels.images.values():
        link_or_copy(images / name_of_image(image), folder / "images" / name_of_image(image))
    write_atomically(folder / "annotations.json", json.dumps(labels.to_json()))


def raw(loop: Loop) -> tuple[CocoFile, str]:
    """What the model finds, as it is."""
    writer, model = CocoWriter(), masklet.load(loop.model)
    for path in sorted(loop.photos.iterdir()):
        writer.add(model.segment(path, list(loop.phrases)), path.name)
    return writer.build(), f"{len(writer.build().annotations)} masks"


def verified(loop: Loop) -> tuple[CocoFile, str]:
    """What is final without people."""
    return taken(loop, loop.project("verified"))


def corrected(loop: Loop) -> tuple[CocoFile, str]:
    """What is final after ten minutes of people."""
    project, truth, left = loop.project("corrected"), loop.truth(), SECONDS
    for _ in range(ROUNDS):
        for task in ("masks", "exhaustivity"):
            left = answer_open(project, task, left, truth=truth)
            loop.run("corrected")
        left = correct_waiting(project, left, truth=truth)
        loop.run("corrected")
    labels, told = taken(loop, project)
    return labels, f"{told}, {(SECONDS - left) / 60:.1f} minutes of people"


def people_first(loop: Loop) -> tuple[CocoFile, str]:
    """What is final after ten minutes of people, of which half go to questions that a verifier is trained from."""
    name = "people first"
    project, truth = loop.project(name), loop.truth()
    left = answer_open(project, "masks", SECONDS / 2, order="random", truth=truth) + SECONDS / 2
    told = "; ".join(train_project_verifier(loop.folder / name / "project", most_false=MOST_FALSE))
    for _ in range(ROUNDS):
        loop.run(name)
        left = SECONDS / 4 + answer_open(project, "exhaustivity", max(0.0, left - SECONDS / 4), truth=truth)
        loop.run(name)
        left = correct_waiting(project, left, truth=truth)
    labels, sentence = taken(loop, project)
    sys.stderr.write(f"{told}\n")
    return labels, f"{sentence}, {(SECONDS - left) / 60:.1f} minutes of people"


def taken(loop: Loop, project: Project) -> tuple[CocoFile, str]:
    """The labels of a project, and how many there are and how many are right."""
    rows = project.view.annotations()
    of_all, of_final = shares(project, loop.truth())
    told = f"{len(rows)} of {len(project.view.pairs())} pairs final, {of_final:.0%} of them right ({of_all:.0%} of all)"
    return coco_of(project, rows, sorted({row["text"] for row in rows})), told


def full(loop: Loop) -> tuple[CocoFile, str]:
    """The labels that were there."""
    return loop.labels, f"{len(loop.labels.annotations)} masks"


ARMS: Mapping[str, Callable[[Loop], tuple[CocoFile, str]]] = {
    "raw": raw,
    "verified": verified,
    "corrected": corrected,
    "people first": people_first,
    "full": full,
}


def learn(loop: Loop, arm: Path) -> Path:
    """The weights that an arm leads to."""
    weights = arm / "run" / "weights.safetensors"
    if not weights.is_file():
        command = [sys.executable, "-m", "masklet.train.run.loop", "builtin-finetune", str(arm / "run")]
        command += [f"data.root={arm}", "data.sources.mine.split=all", f"initial_weights={loop.model}"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([*command, *loop.overrides], check=True, env=environment)
    return weights


def measure(model: str, held: Path, out: Path) -> dict[str, float]:
    """The figures of a model on the held-out photos."""
    asked = AskedModel(choice=ModelChoice(name=model), folders=(held / "images",), cache=out / "cache")
    job = ConceptsJob(gt=(str(held / "annotations.json"),), model=asked, iou="masks", out=out)
    metrics = evaluate_concepts(job).scores["metrics"]["segm"]
    return {name: round(scale * metrics[name], 2) for name, scale in FIGURES.items()}


def show(name: str, row: Mapping[str, Any]) -> None:
    """One arm."""
    figures = " | ".join(f"{row['figures'][key]:.{2 if key == 'IL_MCC' else 1}f}" for key in FIGURES)
    sys.stdout.write(f"| {name} | {row['labels']} | {figures} |\n")
    sys.stdout.flush()


def main() -> None:
    """Makes the arms one after the other; prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--source", default="", help="how the names of the photos begin")
    parser.add_argument("--learn", type=int, default=60)
    parser.add_argument("--held", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0, help="of which photos are learnt from, and of learning")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--size", type=int, default=224, help="pixels while learning")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--out", type=Path, default=Path("loop"))
    given = parser.parse_args()
    labels = read_coco(given.labels)
    keys = [key for key, image in labels.images.items() if name_of_image(image).startswith(given.source)]
    random.Random(given.seed).shuffle(keys)
    source = part(labels, set(keys))
    learnt, held = (
        replace(part(source, set(chosen)), categories=source.categories)
        for chosen in (keys[: given.learn], keys[given.learn : given.learn + given.held])
    )
    write_arm(given.out / "held", held, given.images)
    write_arm(given.out / "full", learnt, given.images)
    overrides = (f"phases.0.steps={given.steps}", f"phases.0.image_size={given.size}", f"seed={given.seed}")
    loop = Loop(given.out.resolve(), learnt, given.model, overrides)
    done = given.out / "loop.json"
    rows: dict[str, Any] = json.loads(done.read_text()) if done.is_file() else {}
    for name in ("before", *ARMS):
        if name not in rows:
            weights, told = given.model, "none"
            if name in ARMS:
                found, told = ARMS[name](loop)
                write_arm(loop.folder / name, found, loop.photos)
                weights = str(learn(loop, loop.folder / name))
            figures = measure(weights, loop.folder / "held", loop.folder / "scores" / name)
            rows[name] = {"labels": told, "figures": figures}
            write_atomically(done, json.dumps(rows, indent=1))
        show(name, rows[name])


if __name__ == "__main__":
    main()
