"""`masklet train-report` over the folder of a run: forgetting and remedies, the page, and runs that lack something."""

import json
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from masklet import cli
from masklet.checkpoints.adapters import read
from masklet.checkpoints.weights import Weights, write
from masklet.config import PRESETS
from masklet.eval.analysis import forgetting
from masklet.eval.analysis.forgetting import Change, Forgetting, Standing
from masklet.models.detector import Detector
from masklet.train.recipes.schema import Recipe, load_recipe, to_json
from masklet.workflows.observer import JobObserver
from masklet.workflows.training.remedies import find_remedies
from masklet.workflows.training.train_report import ReportJob, report_training

SIDE = 112
FEW = {"SCENES": 2, "SCENE_SIDE": 64, "ABSENT_QUESTIONS": 16}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A debug model that says no to everything."""
    torch.manual_seed(0)
    config = PRESETS["debug"]()
    state = dict(Detector(config).state_dict())
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    write(Weights(config=config, state=with_presence(state, -20.0), origin="a test"), path)
    return path


def with_presence(state: dict[str, torch.Tensor], logit: float) -> dict[str, torch.Tensor]:
    """The same model with a fixed answer to whether a concept is there, and full trust in its queries where it is."""
    last = max(name for name in state if name.startswith("decoder.presence_head.") and name.endswith(".bias"))
    weight = last.replace(".bias", ".weight")
    return {**state, last: torch.full_like(state[last], logit), weight: torch.zeros_like(state[weight])}


@pytest.fixture(autouse=True)
def few_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in FEW.items():
        monkeypatch.setattr(forgetting, name, value)


@pytest.fixture(scope="module")
def finished(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A finished run whose weights say yes to everything, as training leaves its files; and what was printed of it."""
    folder = tmp_path_factory.mktemp("finished")
    write_pictures(folder / "data")
    out = folder / "run"
    out.mkdir()
    source = "{kind: coco, annotations: annotations.json, images: images}"
    overrides = [f"initial_weights={base}", f"data.root={folder / 'data'}", "device=cpu", "phases.0.steps=4"]
    recipe = load_recipe("finetune", [*overrides, f"validation.source={source}", "phases.0.image_size=112"])
    (out / "recipe.json").write_text(to_json(recipe))
    weights = read(base)
    state = with_presence(weights.state, 20.0)
    write(Weights(config=weights.config, state=state, origin="trained"), out / "weights.safetensors")
    log = [{"step": step, "lr": 0.1, "loss": 9.0 - step, "loss_mask": 1.0, "gradient_norm": 2.0} for step in (1, 2, 4)]
    (out / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    (out / "validation.jsonl").write_text("".join(json.dumps(validated(step)) + "\n" for step in (0, 4)))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in FEW.items():
            patch.setattr(forgetting, name, value)
        return out, report_training(ReportJob(out=out)).lines()


@pytest.fixture
def run(finished: tuple[Path, list[str]], tmp_path: Path) -> Path:
    """The same run with the answers of its models, but without what was made of them."""
    out = tmp_path / "run"
    shutil.copytree(finished[0], out)
    for name in ("report.html", "forgetting.json"):
        (out / name).unlink()
    return out


class Counter(JobObserver):
    """Counts images."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.count = 0

    def started(self, total: int | None, unit: str) -> None:
        assert unit == "images"
        self.total = total

    def advanced(self) -> None:
        self.count += 1


def write_pictures(folder: Path) -> None:
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for index in range(4):
        picture = np.full((SIDE, SIDE, 3), 60 * index, np.uint8)
        picture[20:80, 30:90] = (200, 60, 40)
        Image.fromarray(picture).save(folder / f"images/{index}.png")
        images.append({"id": index, "file_name": f"{index}.png", "width": SIDE, "height": SIDE})
        outline = [[30, 20, 90, 20, 90, 80, 30, 80]]
        annotations.append(
            {"id": index, "image_id": index, "category_id": 1, "bbox": [30, 20, 60, 60], "segmentation": outline}
        )
    categories = [{"id": 1, "name": "fire truck"}, {"id": 2, "name": "dog"}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(document))


def validated(step: int) -> dict:
    row = {"phrase": "fire truck", "cgF1": 0.1, "pmF1": 0.2 + step / 10, "IL_MCC": 0.5, "positives": 4, "negatives": 4}
    metrics = {"cgF1": 0.1 + step / 10, "IL_MCC": 0.5, "pmF1": 0.2 + step / 10}
    return {"step": step, "epoch": 1.0, "seconds": 1.0, "metrics": metrics, "phrases": [row], "best": step == 4}


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = cli.main(["train-report", *map(str, arguments)])
    output = capsys.readouterr()
    return status, output.out, output.err


def test_a_run_that_unlearnt_no_is_told_with_commands_that_help(finished):
    out, lines = finished
    assert lines[0].startswith("forgetting: it unlearnt to say no: 100.0 % of absent phrases were rejected before, ")
    assert lines[-1] == f"report: {out / 'report.html'}"
    found = json.loads((out / "forgetting.json").read_text())
    assert found["lost"] == ["rejections"]
    assert [each["name"] for each in found["sets"]] == ["scenes", "everyday"]
    everyday = found["sets"][1]
    assert (everyday["before"]["absent"], everyday["before"]["rejected"]) == (16, 16)
    assert everyday["after"]["rejected"] < 8
    assert not {"fire truck", "police car"} & everyday["after"]["false_alarms"].keys()
    page = (out / "report.html").read_text()
    for title in ("By phrase", "What it cost elsewhere", "What may help", "What it looks like", "Training data"):
        assert f"<h2>{title}</h2>" in page
    commands = [each["command"] for each in found["remedies"]]
    assert [shlex.split(each)[2] for each in commands] == ["presence-only", "finetune-replay", "finetune-lora"]
    assert [line.strip() for line in lines if line.startswith("    ")] == commands


def test_a_second_time_models_are_not_asked_again(run, finished, capsys, monkeypatch):
    monkeypatch.setattr("masklet.inference.model.Model.open", lambda *_: pytest.fail("asked again"))
    status, out, err = command(capsys, run)
    assert (status, err) == (0, "")
    first, again = (json.loads((folder / "forgetting.json").read_text()) for folder in (finished[0], run))
    assert first["sets"] == again["sets"]
    assert out.splitlines()[0] == finished[1][0]


def test_as_json_and_without_the_check(run, capsys):
    status, out, _ = command(capsys, run, "--json", "--no-forgetting")
    assert status == 0
    assert json.loads(out) == {
        "report": str(run / "report.html"),
        "forgetting": None,
        "remedies": [],
        "notes": [],
    }
    assert not (run / "forgetting.json").exists()
    page = (run / "report.html").read_text()
    assert "What it cost elsewhere" not in page
    assert "<h2>What it looks like</h2>" in page


def test_general_pictures_of_ones_own_are_asked_too(run, tmp_path):
    write_pictures(tmp_path / "general")
    recipe = json.loads((run / "recipe.json").read_text())
    folder = tmp_path / "general"
    recipe["data"]["sources"]["photos"] = {
        "kind": "coco",
        "annotations": str(folder / "annotations.json"),
        "images": str(folder / "images"),
        "split": "all",
    }
    recipe["general"] = "photos"
    (run / "recipe.json").write_text(json.dumps(recipe))
    counter = Counter()
    assert report_training(ReportJob(out=run), counter).page == run / "report.html"
    sets = {each["name"]: each for each in json.loads((run / "forgetting.json").read_text())["sets"]}
    assert list(sets) == ["scenes", "general", "everyday"]
    assert sets["general"]["images"] == 4
    assert sets["general"]["after"]["pmF1"] is not None
    assert counter.count == counter.total == 2 * (2 + 4 + 4) + 4


def test_without_the_packages_that_draw_it_everything_but_the_page_is_there(run, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    status, out, _ = command(capsys, run)
    assert status == 0
    assert out.splitlines()[-1] == 'no report: charts need matplotlib: pip install "masklet[eval]"'
    assert (run / "forgetting.json").is_file()
    assert not (run / "report.html").exists()


def test_a_base_that_is_gone_costs_the_check_alone(run, capsys):
    recipe = json.loads((run / "recipe.json").read_text())
    (run / "recipe.json").write_text(json.dumps({**recipe, "initial_weights": "gone.safetensors"}))
    status, out, _ = command(capsys, run)
    assert status == 0
    assert "no model 'gone.safetensors'" in out
    assert (run / "report.html").is_file()


def test_what_is_not_there_yet_is_left_out(run, capsys):
    """A run that has begun, and one that tracks."""
    (run / "weights.safetensors").unlink()
    (run / "validation.jsonl").unlink()
    assert command(capsys, run)[0] == 0
    assert "<h2>Loss</h2>" in (run / "report.html").read_text()
    assert not (run / "forgetting.json").exists()
    (run / "recipe.json").unlink()
    assert command(capsys, run)[0] == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("log.jsonl", None, "holds no training run: there is no log.jsonl"),
        ("log.jsonl", '{"loss": 3}\n', "line 1 is not of a training log"),
        ("recipe.json", "[]", "does not hold a recipe"),
        ("recipe.json", "{", "cannot be read"),
        ("recipe.json", '{"phases": 3}', "the recipe does not fit"),
        ("validation.jsonl", "{}\n", "is not a list of validations"),
    ],
)
def test_broken_files_are_one_line(run, name, content, message, capsys):
    (run / name).unlink()
    if content is not None:
        (run / name).write_text(content)
    status, out, err = command(capsys, run, "--no-forgetting")
    assert (status, out, len(err.splitlines())) == (1, "", 1)
    assert message in err


# --- remedies -----------------------------------------------------------------------------------------------------


def standing(rejected: int, pm_f1: float) -> Standing:
    return Standing(
        pairs=200,
        absent=100,
        rejected=rejected,
        rejections=float(rejected),
        low=rejected - 3.0,
        high=rejected + 3.0,
        cgF1=50.0,
        IL_MCC=0.5,
        pmF1=pm_f1,
        false_alarms={},
    )


def lost(rejections: int = 0, quality: int = 0) -> Forgetting:
    before, after = standing(90, 60.0), standing(90 - rejections, 60.0 - quality)
    change = Change(name="scenes", title="Scenes", images=9, sure=True, before=before, after=after)
    return Forgetting(changes=(change,))


def remedies(found: Forgetting, recipe: Recipe) -> dict[str, list[str]]:
    name = "adapter.safetensors" if recipe.lora is not None else "weights.safetensors"
    commands = [each.command for each in find_remedies(found, recipe, Path("a run"), Path("a run") / name)]
    return {shlex.split(command)[2]: shlex.split(command) for command in commands}


def test_nothing_helps_where_nothing_is_lost():
    assert remedies(lost(), load_recipe("finetune")) == {}


def test_remedies_fit_what_was_lost_and_how_it_was_trained():
    both = lost(rejections=50, quality=20)
    assert list(remedies(lost(quality=20), load_recipe("finetune"))) == ["finetune-replay", "finetune-lora"]
    assert list(remedies(both, load_recipe("finetune-replay"))) == ["presence-only", "finetune-lora"]
    assert "presence-only" not in remedies(both, load_recipe("presence-only"))
    adapted = remedies(both, load_recipe("finetune-lora"))
    assert list(adapted) == ["presence-only", str(Path("a run/softer.safetensors")), "finetune-replay"]
    assert adapted[str(Path("a run/softer.safetensors"))] == [
        *("masklet", "merge", "a run/softer.safetensors", "a run/adapter.safetensors=0.5")
    ]


@pytest.mark.parametrize(
    "changes",
    [
        [],
        ["data.root=my data", "phases.0.image_size=336", "device=cpu", "initial_weights=tiny"],
        ["data.sources.mine={kind: masks, folder: my masks}", "validation.source={kind: masks, folder: others}"],
        ["data.sources.more={kind: saco, annotations: a.json, images: b}", "phases.0.weights={mine: 3, more: 1}"],
    ],
)
def test_each_command_trains_on_the_same_data(changes):
    recipe = load_recipe("finetune", changes)
    own_sources = any(change.startswith("data.sources") for change in changes)
    for name, arguments in remedies(lost(rejections=50), recipe).items():
        assert arguments[:3] == ["masklet", "train", name]
        assert arguments[-2:] == ["--out", f"a run-{name.removeprefix('finetune-').removesuffix('-only')}"]
        other = load_recipe(name, arguments[3:-2])
        assert other.initial_weights == (
            "a run/weights.safetensors" if name == "presence-only" else recipe.initial_weights
        )
        assert other.data.root == recipe.data.root
        assert any(argument.startswith("data.sources.mine=") for argument in arguments) == own_sources
        assert other.device == recipe.device
        assert other.phases[0].image_size == recipe.phases[0].image_size
        assert other.validation == recipe.validation
        weights = dict(other.phases[0].weights)
        general = weights.pop("general", 0.0)
        assert general == (0.0 if name == "finetune-lora" else sum(weights.values()))
        shares = {source: weight / sum(weights.values()) for source, weight in weights.items()}
        total = sum(recipe.phases[0].weights.values())
        assert shares == {source: weight / total for source, weight in recipe.phases[0].weights.items()}
        for source in weights:
            assert other.data.sources[source] == recipe.data.sources[source]


def test_replay_learns_as_the_run_did():
    recipe = load_recipe("builtin-finetune", ["phases.0.steps=50", "data.root=mine"])
    arguments = remedies(lost(rejections=50), recipe)["finetune-replay"]
    other = load_recipe("finetune-replay", arguments[3:-2])
    assert other.optim == recipe.optim  # shares of a run follow its length
    assert (other.train, other.checkpoint_activations) == (recipe.train, recipe.checkpoint_activations)
    (phase,), (own,) = other.phases, recipe.phases
    assert phase.steps == 2 * own.steps
    assert (phase.batch_size, phase.accumulate, phase.image_size) == (own.batch_size, own.accumulate, own.image_size)
    adapted = remedies(lost(rejections=50), load_recipe("finetune-lora"))["finetune-replay"]
    assert load_recipe("finetune-replay", adapted[3:-2]).optim == load_recipe("finetune-replay").optim
