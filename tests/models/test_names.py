"""The tables of names cover every tensor once, on both sides, and lead there and back."""

import re
from collections import Counter

import pytest
import torch
from torch import Tensor

from masklet.config import debug, sam3
from masklet.models.detector import Detector
from masklet.models.names import TRACKER_NAMES, Layout, names_of, official, transformers

LAYOUTS = {"official": official, "transformers": transformers}
DEAD_IN_OFFICIAL = (
    524_288 + 2 * 852_480 + 590_592 + 1_024
)  # text projection, fourth levels, third pixel stage, class row
MEMORY_LAYERS, FUSER_LAYERS = 4, 2  # of the published tracker


def shapes(config: Detector.Config) -> dict[str, Tensor]:
    with torch.device("meta"):
        return Detector(config).state_dict()


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    return shapes(sam3())


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> Layout:
    return LAYOUTS[request.param](sam3())


def ours_of(layout: Layout) -> list[str]:
    return [name for entry in layout.concept + layout.click for name in names_of(entry.ours)]


def theirs_of(layout: Layout) -> list[str]:
    return [name for entry in layout.concept + layout.click for name in names_of(entry.theirs)]


def expand(pattern: str) -> list[str]:
    layers = FUSER_LAYERS if "fuser" in pattern else MEMORY_LAYERS
    return [pattern.replace("#", str(i)) for i in range(layers)] if "#" in pattern else [pattern]


def test_the_published_size_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        detector = Detector(sam3())
    count = sum(value.numel() for name, value in detector.named_parameters() if not name.startswith("click."))
    assert count == 848_311_862 - DEAD_IN_OFFICIAL


def test_the_click_head_has_the_published_number_of_values() -> None:
    """Prompt encoder, mask decoder and the vector that stands for no memory; the fixed frequencies are a buffer."""
    with torch.device("meta"):
        click = Detector(sam3()).click
    assert sum(value.numel() for value in click.parameters()) == 6_220 + 4_215_109 + 256


def test_every_own_tensor_has_one_place(layout: Layout, published: dict[str, Tensor]) -> None:
    assert sorted([*ours_of(layout), *layout.absent]) == sorted(published)


def test_no_foreign_name_is_used_twice(layout: Layout) -> None:
    assert Counter([*theirs_of(layout), *layout.dead]).most_common(1)[0][1] == 1


def test_the_official_table_has_the_published_number_of_keys() -> None:
    layout = official(sam3())
    depth = sam3().vision.trunk.depth
    names = [*theirs_of(layout), *layout.dead, *(layout.ignored[0].replace("#", str(i)) for i in range(depth))]
    tracker = [
        *(name for name in names if name.startswith("tracker.")),
        *(n for kept in layout.kept for n in expand(kept)),
    ]
    assert len([name for name in names if name.startswith("detector.")]) == 1156
    assert len(tracker) == len(set(tracker)) == 309


def test_the_golden_files_hold_nothing_unknown(official_weights: dict[str, Tensor]) -> None:
    layout = official(debug())
    kept = [re.compile(re.escape(pattern).replace(r"\#", r"\d+")) for pattern in layout.kept]
    known = {*theirs_of(layout), *layout.dead}
    rest = {name for name in official_weights if not any(pattern.fullmatch(name) for pattern in kept)}
    assert rest == known


def test_unread_tensors_have_the_shapes_that_are_said(official_weights: dict[str, Tensor]) -> None:
    for name, shape in official(debug()).dead.items():
        given = official_weights[name].shape
        assert [a for a, b in zip(given, shape, strict=True) if b >= 0] == [b for b in shape if b >= 0], name


@pytest.mark.parametrize("kind", LAYOUTS)
def test_written_weights_read_back_the_same(kind: str, detector: Detector) -> None:
    layout, state = LAYOUTS[kind](debug()), detector.state_dict()
    theirs = {name: value for entry in layout.concept + layout.click for name, value in entry.write(state).items()}
    ours = {name: value for entry in layout.concept + layout.click for name, value in entry.read(theirs).items()}
    torch.testing.assert_close(
        ours, {name: value for name, value in state.items() if name not in layout.absent}, rtol=0, atol=0
    )


def test_read_weights_write_back_the_same(official_weights: dict[str, Tensor]) -> None:
    """All but the class row of the position table, which no part of the model reads."""
    layout = official(debug())
    ours = {
        name: value for entry in layout.concept + layout.click for name, value in entry.read(official_weights).items()
    }
    for entry in layout.concept + layout.click:
        for name, value in entry.write(ours).items():
            if name.endswith("pos_embed"):
                assert value[:, 0].eq(0).all()
                torch.testing.assert_close(value[:, 1:], official_weights[name][:, 1:], rtol=0, atol=0)
            else:
                torch.testing.assert_close(value, official_weights[name], rtol=0, atol=0)


def test_the_formats_name_the_tracker_one_to_one() -> None:
    official_names, transformers_names = zip(*TRACKER_NAMES, strict=True)
    assert len(set(official_names)) == len(set(transformers_names)) == len(TRACKER_NAMES)
