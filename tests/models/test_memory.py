"""The mask memory equals the official one: functions of tests/golden/official/4c_functions, and what objects share."""

import json
from dataclasses import replace

import pytest
import torch
from einops import rearrange
from official_data import GOLDEN, check, load_official, tensors
from torch import Tensor, nn

from masklet.config import debug
from masklet.models.detector import Detector
from masklet.models.memory import MaskMemory, MemoryTokens, place, stack_reads
from masklet.nn.attention import KeyValues, attend
from masklet.nn.positions import pointer_code, sine_map
from masklet.nn.rope import rotate

FUNCTIONS = tensors("official/4c_functions")
CASES = {
    f"{case['fn']}.{case['index']}": case["args"]
    for case in json.loads((GOLDEN / "official/4c_functions.json").read_text())["cases"]
}
GRID, DIM, MEMORY_DIM = 8, 32, 8


@pytest.fixture(scope="module")
def memory(official_weights: dict[str, Tensor]) -> MaskMemory:
    """The golden memory, its maps in float32."""
    config = debug()
    return load_official(
        Detector(replace(config, memory=replace(config.memory, half_maps=False))), official_weights
    ).memory


@pytest.mark.parametrize("index", range(3))
def test_maps_equal_the_official_ones(memory: MaskMemory, index: int) -> None:
    """Of two objects, one seen and one not; of a mask that was given; of a mask at another size."""
    case = f"memory_encoder.{index}"
    logits = FUNCTIONS[f"{case}.in.object_score_logits"][:, 0]
    binary = torch.full_like(logits, CASES[case]["from_points"], dtype=torch.bool)
    maps = memory.encode(FUNCTIONS[f"{case}.in.level2"], FUNCTIONS[f"{case}.in.high_res_masks"][:, 0], logits, binary)
    check(maps, FUNCTIONS[f"{case}.out.memory"], "function")
    places = sine_map(GRID, GRID, MEMORY_DIM, torch.device("cpu"))
    expected = rearrange(FUNCTIONS[f"{case}.out.pos"], "o c h w -> o (h w) c")
    check(places.expand(len(expected), -1, -1), expected, "function")


def test_codes_of_ages_equal_the_official_ones(memory: MaskMemory) -> None:
    code = pointer_code(FUNCTIONS["sine1d.0.in.pos"], DIM)
    check(code, FUNCTIONS["sine1d.0.out.pe"], "function")
    for index in range(2):
        args = CASES[f"pointer_tpos.{index}"]
        ages = torch.tensor(args["offsets"]) / (args["max_abs_pos"] - 1)
        code = memory.pointer_age(pointer_code(ages, DIM))
        check(code, FUNCTIONS[f"pointer_tpos.{index}.out.tpos"], "function")


def test_a_picture_looks_at_itself_as_the_official_one_does(memory: MaskMemory) -> None:
    """The stored queries, keys and values differ, so they go through the parts of the fused projection."""
    attention = memory.layers[0].self_attention
    rows = attention.qkv.weight.chunk(3), attention.qkv.bias.chunk(3)
    q, k, v = (
        nn.functional.linear(FUNCTIONS[f"memory_rope_attention.0.in.{name}"], weight, bias)[:, None]
        for name, weight, bias in zip("qkv", *rows, strict=True)
    )
    rotation = memory._rotation(GRID, GRID, q.device)
    mixed = attend(rotate(q, rotation), KeyValues(keys=rotate(k, rotation), values=v))
    check(attention.out(mixed[:, 0]), FUNCTIONS["memory_rope_attention.0.out.out"], "function")


def test_a_picture_looks_back_as_the_official_one_does(memory: MaskMemory) -> None:
    """Two maps stand on the grid, eight parts of pointers do not."""
    q, k, v = (FUNCTIONS[f"memory_rope_attention.1.in.{name}"] for name in "qkv")
    parts = CASES["memory_rope_attention.1"]["num_k_exclude_rope"]
    read = MemoryTokens(values=v, positions=k - v, num_cells=k.shape[1] - parts)
    rotation = memory._rotation(GRID, GRID, q.device)
    seen = memory.layers[1]._attend(q, [place(read, rotation)], rotation)
    check(seen, FUNCTIONS["memory_rope_attention.1.out.out"], "function")


def make_read(memory: MaskMemory, num_objects: int, num_maps: int, num_pointers: int) -> MemoryTokens:
    generator = torch.Generator().manual_seed(100 * num_objects + 10 * num_maps + num_pointers)

    def noise(*shape: int) -> Tensor:
        return torch.randn(num_objects, *shape, generator=generator)

    return memory.assemble(
        [noise(MEMORY_DIM, GRID, GRID) for _ in range(num_maps)],
        list(range(num_maps)),
        [noise(DIM) for _ in range(num_pointers)],
        [age / 15 for age in range(num_pointers)],
    )


def rows_of(read: MemoryTokens) -> list[MemoryTokens]:
    return [replace(read, values=read.values[row : row + 1]) for row in range(len(read.values))]


def test_objects_of_different_ages_side_by_side_see_what_each_sees_alone(memory: MaskMemory) -> None:
    image = torch.randn(1, DIM, GRID, GRID, generator=torch.Generator().manual_seed(3))
    reads = [make_read(memory, 1, 1, 1), make_read(memory, 2, 4, 9), make_read(memory, 1, 7, 0)]
    together = memory.look_back(image, reads)
    alone = torch.cat([memory.look_back(image, [row]) for read in reads for row in rows_of(read)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 0.1  # they do see different things


def test_equal_reads_stand_as_one(memory: MaskMemory) -> None:
    image = torch.randn(1, DIM, GRID, GRID, generator=torch.Generator().manual_seed(4))
    reads = [make_read(memory, 2, 3, 2), make_read(memory, 1, 3, 2)]
    stacked = stack_reads(reads)
    assert stacked.values.shape[0] == stacked.positions.shape[0] == 3
    torch.testing.assert_close(memory.look_back(image, [stacked]), memory.look_back(image, reads), rtol=0, atol=1e-5)


def test_objects_share_the_picture_until_they_look_back(memory: MaskMemory) -> None:
    """The first look of the picture at itself is one row, however many objects there are; later a few go together."""
    rows: list[int] = []
    hooks = [
        layer.self_attention.register_forward_hook(lambda _module, inputs, _output: rows.append(len(inputs[0])))
        for layer in memory.layers
    ]
    image = torch.zeros(1, DIM, GRID, GRID)
    memory.look_back(image, [make_read(memory, 3, 1, 1), make_read(memory, 2, 2, 1)])
    for hook in hooks:
        hook.remove()
    assert rows == [1, 3, 2]


def test_the_kept_maps_are_halved_where_the_config_says_so(detector: Detector, memory: MaskMemory) -> None:
    arguments = torch.zeros(1, DIM, GRID, GRID), torch.zeros(1, 16, 16), torch.ones(1), torch.zeros(1).bool()
    assert detector.memory.encode(*arguments).dtype == torch.bfloat16
    assert memory.encode(*arguments).dtype == torch.float32


def test_an_unseen_object_has_one_pointer_and_its_maps_say_so(memory: MaskMemory) -> None:
    tokens = torch.randn(3, DIM, generator=torch.Generator().manual_seed(5))
    pointers = memory.point(tokens, torch.tensor([1.0, 0.0, -1.0]))
    assert torch.equal(pointers[1], memory.unseen_pointer)
    assert torch.equal(pointers[2], memory.unseen_pointer)
    assert not torch.equal(pointers[0], memory.unseen_pointer)
    image, masks, binary = torch.zeros(2, DIM, GRID, GRID), torch.zeros(2, 16, 16), torch.zeros(2).bool()
    seen, unseen = memory.encode(image, masks, torch.tensor([1.0, -1.0]), binary)
    torch.testing.assert_close(unseen - seen, memory.unseen_map[:, None, None].expand_as(seen), rtol=0, atol=1e-5)


def test_a_memory_narrower_than_the_pointers_parts_is_refused() -> None:
    with pytest.raises(ValueError, match="not a multiple of memory_dim 12"):
        MaskMemory.Config(dim=32, memory_dim=12)
