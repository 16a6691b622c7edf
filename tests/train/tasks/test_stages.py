"""The stages of the built-in model in small: each begins from what the one before left; the last file does it all."""

import json

import numpy as np

import masklet
from masklet.checkpoints.adapters import read
from masklet.checkpoints.weights import belongs
from masklet.train.run import loop

SMALL = ["device=cpu", "bfloat16=false", "data.workers=0", "data.sources={scenes: {kind: scenes}}", "log_every=1"]
PHASE = {
    "steps": 2,
    "image_size": 112,
    "batch_size": 2,
    "weights": {"scenes": 1},
    "options": {"scenes": {"difficulty": 0}},
}
ROUNDS = {"refine": {"rounds": 1, "share": 1.0}}
CLIPS = {"tracking": {"num_frames": 2, "corrections": 1, "image_corrections": 1, "image_batch": 2}}


def test_four_stages_make_a_model(tmp_path) -> None:
    before = None
    for recipe, more in (
        ("builtin-encoders", {}),
        ("builtin", {}),
        ("builtin-refine", ROUNDS),
        ("builtin-tracker", CLIPS),
    ):
        begins = "preset=debug" if before is None else f"initial_weights={before}"
        changes = [*SMALL, begins, f"phases={json.dumps([{**PHASE, **more}])}"]
        assert loop.run(recipe, changes, tmp_path / recipe), recipe
        line = json.loads((tmp_path / recipe / "log.jsonl").read_text().splitlines()[-1])
        assert (line["step"], "loss_refined" in line) == (2, recipe == "builtin-refine")
        before = tmp_path / recipe / "weights.safetensors"
    stages = {
        name: read(tmp_path / name / "weights.safetensors").state for name in ("builtin-refine", "builtin-tracker")
    }
    detector = stages["builtin-refine"]
    assert all((value == stages["builtin-tracker"][name]).all() for name, value in detector.items())
    learnt = stages["builtin-tracker"].keys() - detector.keys()
    assert learnt
    assert all(belongs(name, "click") or belongs(name, "memory") for name in learnt)
    model = masklet.load(before)
    picture = np.zeros((60, 80, 3), np.uint8)
    assert model.segment(picture, "red circle").masks.shape[1:] == (60, 80)
    session = model.open(picture)
    assert session.click(points=[(10, 10)], labels=[1]).masks.shape[1:] == (60, 80)
