"""Weight files: three formats in and out, nothing loaded in part, and one clear sentence for every wrong file."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from masklet.checkpoints import hub
from masklet.checkpoints.adapters import read
from masklet.checkpoints.containers import content_hash
from masklet.checkpoints.convert import convert
from masklet.checkpoints.foreign import write_foreign
from masklet.checkpoints.hub import describe_models, fetch, find
from masklet.checkpoints.weights import Weights, belongs, load_detector, write
from masklet.config import debug
from masklet.errors import InputError
from masklet.models.detector import Detector
from masklet.types import DetectionSettings


@pytest.fixture(scope="module")
def weights() -> Weights:
    torch.manual_seed(0)
    return Weights(config=debug(), state=dict(Detector(debug()).state_dict()), origin="a test")


def without(weights: Weights, *parts: str) -> Weights:
    state = {n: t for n, t in weights.state.items() if not any(belongs(n, part) for part in parts)}
    return Weights(config=weights.config, state=state, origin="a test")


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        torch.testing.assert_close(tensor, b[name], rtol=0, atol=0)


def test_own_files_hold_config_origin_and_a_hash_of_the_tensors(weights: Weights, tmp_path: Path) -> None:
    write(weights, tmp_path / "model.safetensors")
    back = read(tmp_path / "model.safetensors")
    assert back.config == weights.config
    assert back.origin == "a test"
    assert back.settings == DetectionSettings()
    assert_same(back.state, weights.state)
    with safe_open(tmp_path / "model.safetensors", "pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dict
        assert opened.metadata()["hash"] == content_hash(tensors)


def test_what_a_model_makes_of_its_scores_is_in_its_file(weights: Weights, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    settings = DetectionSettings(even_score=0.4, max_overlap=0.6)
    write(replace(weights, settings=settings), path)
    assert read(path).settings == settings
    with safe_open(path, "pt") as opened:
        metadata, tensors = opened.metadata(), {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata | {"max_overlap": "some"})
    with pytest.raises(InputError, match="config cannot be read: could not convert string to float: 'some'"):
        read(path)


@pytest.mark.parametrize("kind", ["official", "transformers"])
def test_a_foreign_file_gives_the_same_tensors_back(weights: Weights, kind: str, tmp_path: Path) -> None:
    write_foreign(weights, tmp_path / "model", kind)
    back = read(tmp_path / "model", debug())
    assert back.origin == kind
    points = {name for name in weights.state if name.startswith("prompts.point_")}
    if kind == "transformers":  # its files know no example points
        assert all(back.state[name].eq(0).all() for name in points)
    else:
        points = set()
    assert_same(*({n: t for n, t in w.state.items() if n not in points} for w in (back, weights)))


def test_official_files_hold_the_rotary_tables_of_every_block(weights: Weights, tmp_path: Path) -> None:
    write_foreign(weights, tmp_path / "model.pt", "official")
    tensors = torch.load(tmp_path / "model.pt", weights_only=True)
    tables = [tensors[f"detector.backbone.vision_backbone.trunk.blocks.{i}.attn.freqs_cis"] for i in range(4)]
    assert [tuple(table.shape) for table in tables] == [(16, 8), (64, 8), (16, 8), (64, 8)]
    torch.testing.assert_close(tables[1][9], torch.polar(torch.ones(8), tables[1][9].angle()))
    assert tables[0][1].angle()[:4].tolist() == pytest.approx([1, 0.1, 0.01, 0.001])
    assert tables[1][8].angle()[4:].tolist() == pytest.approx([0.5, 0.05, 0.005, 0.0005], rel=1e-5)


def test_a_checkpoint_may_be_nested_under_model(weights: Weights, tmp_path: Path) -> None:
    write_foreign(weights, tmp_path / "plain.pt", "official")
    torch.save({"model": torch.load(tmp_path / "plain.pt", weights_only=True)}, tmp_path / "nested.pt")
    assert_same(read(tmp_path / "nested.pt", debug()).state, read(tmp_path / "plain.pt", debug()).state)


def test_files_of_a_plain_transformers_model_lack_prefix_and_click_head(weights: Weights, tmp_path: Path) -> None:
    write_foreign(without(weights, "click", "memory"), tmp_path / "whole", "transformers")
    with safe_open(tmp_path / "whole", "pt") as opened:
        tensors = {name.removeprefix("detector_model."): opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    save_file({n: t for n, t in tensors.items() if not n.startswith("tracker_neck.")}, tmp_path / "plain")
    back = read(tmp_path / "plain", debug())
    assert not back.parts
    load_detector(back)


def test_a_folder_of_shards_is_one_file(weights: Weights, tmp_path: Path) -> None:
    write_foreign(weights, tmp_path / "whole", "transformers")
    with safe_open(tmp_path / "whole", "pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    names = sorted(tensors)
    (tmp_path / "shards").mkdir()
    save_file({name: tensors[name] for name in names[::2]}, tmp_path / "shards" / "model-1-of-2.safetensors")
    save_file({name: tensors[name] for name in names[1::2]}, tmp_path / "shards" / "model-2-of-2.safetensors")
    assert_same(read(tmp_path / "shards", debug()).state, read(tmp_path / "whole", debug()).state)


def test_every_difference_is_listed(weights: Weights, tmp_path: Path) -> None:
    state = dict(weights.state)
    del state["text.norm.bias"]
    state["decoder.query"] = torch.zeros(3, 32)
    state["extra.thing"] = torch.zeros(1)
    write(Weights(config=weights.config, state=state, origin="a test"), tmp_path / "wrong.safetensors")
    with pytest.raises(InputError) as caught:
        read(tmp_path / "wrong.safetensors")
    message = str(caught.value)
    assert "masklet layout" in message
    assert "1 missing: text.norm.bias" in message
    assert "1 unknown: extra.thing" in message
    assert "1 of the wrong shape: decoder.query (3, 32) for (10, 32)" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a weight file"),
        (b"hello, this is text", "not a weight file"),
        (b"PK\x03\x04 not really a zip", "not a plain checkpoint"),
        (b"\xff\xff\xff\xff\xff\xff\xff\x7f{", "cannot read weights"),
    ],
)
def test_a_file_that_holds_no_weights_is_named(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputError, match=words):
        read(tmp_path / "file")


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Hostile:
        def __reduce__(self) -> tuple:
            return Path.touch, (ran,)

    torch.save({"weight": Hostile()}, tmp_path / "hostile.pt")
    with pytest.raises(InputError, match="not a plain checkpoint"):
        read(tmp_path / "hostile.pt")
    assert not ran.exists()


def test_nothing_is_written_when_the_input_is_wrong(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "in.safetensors")
    with pytest.raises(InputError, match=r"unknown: detector_model\.a"):
        convert(tmp_path / "in.safetensors", tmp_path / "out.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["in.safetensors"]


def test_conversion_to_an_unknown_format_says_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give masklet, official, transformers"):
        convert("tiny", tmp_path / "out", "onnx")


def test_the_built_in_model_is_there_small_and_unchanged() -> None:
    path = find("tiny")
    assert path.stat().st_size <= 32e6  # bytes: the trunk 12 MiB, the click head and the tracker 5
    with safe_open(path, "pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        metadata = opened.metadata()
    assert metadata["hash"] == content_hash(tensors)
    assert json.loads(metadata["config"])["image_size"] == 448


def test_models_are_described_without_a_network() -> None:
    tiny, sam3 = describe_models()
    assert tiny.location is not None
    assert tiny.location.is_file()
    assert sam3.name == "sam3"


@pytest.mark.parametrize("name", ["sam4", "no/such/file.pt"])
def test_an_unknown_model_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="no model"):
        find(name)


def test_refused_access_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError

    def refuse(*_: object) -> None:
        raise GatedRepoError("gated", response=SimpleNamespace(headers={}, request=None))

    monkeypatch.setattr(hub, "_answers", lambda _: True)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(InputError, match="hf auth login"):
        fetch("sam3")


def test_no_network_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def fail(*_: object) -> None:
        raise OSError("unreachable")

    monkeypatch.setattr(hub, "_answers", lambda _: True)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(InputError, match="copy it and give its path"):
        fetch("sam3")


@pytest.mark.parametrize("kind", ["own", "official", "transformers"])
def test_a_file_may_have_a_click_head_and_no_memory(weights: Weights, kind: str, tmp_path: Path) -> None:
    weights = without(weights, "memory")
    if kind == "own":
        write(weights, tmp_path / "model")
    else:
        write_foreign(weights, tmp_path / "model", kind)
    back = read(tmp_path / "model", debug())
    assert back.parts == {"click"}
    assert all(tensor.eq(0).all() for tensor in load_detector(back).memory.state_dict().values())
