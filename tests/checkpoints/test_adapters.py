"""Files of adapters: they load as a model, only over the base that they were made for, and merge in shares."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import masklet
from masklet.checkpoints.adapters import merge_adapters, read, write_adapter
from masklet.checkpoints.convert import convert
from masklet.checkpoints.weights import Weights, load_detector, write
from masklet.config import PRESETS
from masklet.errors import InputError
from masklet.models.detector import Detector
from masklet.nn.lora import Adapter, LoraConfig, add_lora, is_adapter
from masklet.types import DetectionSettings

LAYER = "decoder.layers.0.self_attention.q"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = PRESETS["debug"]()
    state = {name: value.half() for name, value in Detector(config).state_dict().items()}
    path = tmp_path / "models" / "base.safetensors"
    write(Weights(config=config, state=state, origin="a test", settings=DetectionSettings(even_score=0.4)), path)
    return path


def random_adapter(seed: int) -> Adapter:
    model = Detector(PRESETS["debug"]())
    config = LoraConfig(rank=2, alpha=1.0)
    add_lora(model, config, lambda name: True)  # noqa: ARG005
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: value.shape for name, value in model.named_parameters() if is_adapter(name)}
    tensors: dict[str, Tensor] = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return Adapter(tensors=tensors, scale=config.scale)


def adapter_file(folder: Path, base: Path, seed: int = 1) -> Path:
    path = folder / f"adapter{seed}.safetensors"
    write_adapter(random_adapter(seed), read(base), str(base), path)
    return path


def test_an_adapter_loads_as_its_base_changed(tmp_path: Path, base: Path) -> None:
    path = adapter_file(tmp_path, base)
    weights, before = read(path), read(base)
    assert (weights.config, weights.settings, weights.parts) == (before.config, before.settings, before.parts)
    adapter = random_adapter(1)
    expected = before.state[f"{LAYER}.weight"].float() + adapter.scale * (
        adapter.tensors[f"{LAYER}.lora_up"] @ adapter.tensors[f"{LAYER}.lora_down"]
    )
    assert torch.equal(weights.state[f"{LAYER}.weight"], expected)
    assert torch.equal(weights.state[f"{LAYER}.bias"], before.state[f"{LAYER}.bias"])
    model, plain = (masklet.load(each, device="cpu", dtype="float32") for each in (path, base))
    assert torch.equal(model.detector.state_dict()[f"{LAYER}.weight"], expected)
    assert model.identity != plain.identity
    assert path.stat().st_size < 0.5 * base.stat().st_size


def test_a_merged_file_is_a_model_of_its_own(tmp_path: Path, base: Path) -> None:
    path, out = adapter_file(tmp_path, base), tmp_path / "merged.safetensors"
    convert(path, out)
    base.unlink()
    merged = load_detector(read(out)).state_dict()
    with pytest.raises(InputError, match="neither beside it nor where it was"):
        read(path)
    assert set(merged) == set(Detector(PRESETS["debug"]()).state_dict())
    assert "with 1 adapter" in read(out).origin


def test_a_base_is_found_beside_the_adapter_when_both_were_moved(tmp_path: Path, base: Path) -> None:
    path = adapter_file(tmp_path / "here", base)
    expected = read(path).state[f"{LAYER}.weight"]
    moved = base.rename(path.parent / base.name)
    assert torch.equal(read(path).state[f"{LAYER}.weight"], expected)
    elsewhere = moved.rename(tmp_path / "renamed.safetensors")
    assert torch.equal(merge_adapters({path: 1.0}, elsewhere).state[f"{LAYER}.weight"], expected)


def test_another_base_is_refused(tmp_path: Path, base: Path) -> None:
    path = adapter_file(tmp_path, base)
    weights = read(base)
    weights.state[f"{LAYER}.bias"] += 1
    write(weights, base)
    with pytest.raises(InputError, match="adapter of another model"):
        read(path)
    with pytest.raises(InputError, match="adapter of another model"):
        merge_adapters({path: 1.0}, masklet.checkpoints.hub.find("tiny"))


def test_adapters_are_merged_in_shares(tmp_path: Path, base: Path) -> None:
    paths = [adapter_file(tmp_path, base, seed) for seed in (1, 2)]
    both = merge_adapters({paths[0]: 0.5, paths[1]: -0.25})
    single = [read(path).state[f"{LAYER}.weight"] for path in paths]
    plain = read(base).state[f"{LAYER}.weight"].float()
    expected = plain + 0.5 * (single[0] - plain) - 0.25 * (single[1] - plain)
    torch.testing.assert_close(both.state[f"{LAYER}.weight"], expected)
    assert both.identity != merge_adapters({paths[0]: 0.5, paths[1]: 0.25}).identity
    assert merge_adapters({paths[0]: 1.0}).identity == read(paths[0]).identity


def test_an_adapter_over_an_adapter_is_refused(tmp_path: Path, base: Path) -> None:
    path = adapter_file(tmp_path, base)
    above = tmp_path / "above.safetensors"
    write_adapter(random_adapter(2), read(path), str(path), above)
    with pytest.raises(InputError, match="itself an adapter"):
        read(above)


def test_what_is_no_adapter_is_not_merged(tmp_path: Path, base: Path) -> None:
    path = adapter_file(tmp_path, base)
    with pytest.raises(InputError, match="is not an adapter"):
        merge_adapters({path: 1.0, base: 1.0})


@pytest.mark.parametrize("scale", ["wide", None])
def test_broken_adapters_are_refused(tmp_path: Path, base: Path, scale: str | None) -> None:
    path = adapter_file(tmp_path, base)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    changed = {**metadata, "scale": scale} if scale else {k: v for k, v in metadata.items() if k != "scale"}
    save_file(load_file(path), path, changed)
    with pytest.raises(InputError, match="scale"):
        read(path)
    tensors = load_file(path)
    del tensors[f"{LAYER}.lora_up"]
    save_file(tensors, path, metadata)
    with pytest.raises(InputError, match="no pair"):
        read(path)


def test_a_name_as_base_means_that_model(tmp_path: Path) -> None:
    weights = read(masklet.checkpoints.hub.find("tiny"))
    name = "decoder.presence_head.layers.2.bias"
    adapter = Adapter(tensors={name: weights.state[name].float() + 2}, scale=1.0)
    write_adapter(adapter, weights, "tiny", tmp_path / "calmer.safetensors")
    torch.testing.assert_close(read(tmp_path / "calmer.safetensors").state[name], weights.state[name].float() + 2)
