"""The tables of names cover every tensor once, on both sides, and lead there and back."""

from collections import Counter

import pytest
import torch
from torch import Tensor

from masklet.checkpoints.names import Layout, names_of, official, transformers
from masklet.checkpoints.names.entries import Unread
from masklet.config import debug, sam3
from masklet.models.detector import Detector

LAYOUTS = {"official": official, "transformers": transformers}
DEAD_IN_OFFICIAL = (
    524_288 + 2 * 852_480 + 590_592 + 1_024
)  # text projection, fourth levels, third pixel stage, class row


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
    return [name for entry in layout.entries for name in names_of(entry.ours)]


def theirs_of(layout: Layout) -> list[str]:
    return [name for entry in layout.entries for name in names_of(entry.theirs)]


def test_the_published_size_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        detector = Detector(sam3())
    count = sum(
        value.numel() for name, value in detector.named_parameters() if not name.startswith(("click.", "memory."))
    )
    assert count == 848_311_862 - DEAD_IN_OFFICIAL


def test_the_click_head_has_the_published_number_of_values() -> None:
    """Prompt encoder, mask decoder and the vector that stands for no memory; the fixed frequencies are a buffer."""
    with torch.device("meta"):
        click = Detector(sam3()).click
    assert sum(value.numel() for value in click.parameters()) == 6_220 + 4_215_109 + 256


def test_the_tracker_has_the_published_number_of_values() -> None:
    """With the click head's, and the one vector of the file that no model reads."""
    with torch.device("meta"):
        detector = Detector(sam3())
    count = sum(value.numel() for part in (detector.click, detector.memory) for value in part.parameters())
    frequencies, unread = 2 * 128, 256
    assert count + frequencies + unread == 11_743_618


def test_every_own_tensor_has_one_place(layout: Layout, published: dict[str, Tensor]) -> None:
    assert sorted([*ours_of(layout), *layout.absent]) == sorted(published)


def test_no_foreign_name_is_used_twice(layout: Layout) -> None:
    assert Counter([*theirs_of(layout), *layout.dead]).most_common(1)[0][1] == 1


def test_the_official_table_has_the_published_number_of_keys() -> None:
    layout = official(sam3())
    depth = sam3().vision.trunk.depth
    names = [*theirs_of(layout), *layout.dead, *(layout.ignored[0].replace("#", str(i)) for i in range(depth))]
    tracker = [name for name in names if name.startswith("tracker.")]
    assert len([name for name in names if name.startswith("detector.")]) == 1156
    assert len(tracker) == len(set(tracker)) == 309


def test_the_golden_files_hold_nothing_unknown(official_weights: dict[str, Tensor]) -> None:
    layout = official(debug())
    assert official_weights.keys() == {*theirs_of(layout), *layout.dead}


def test_unread_tensors_have_the_shapes_that_are_said(official_weights: dict[str, Tensor]) -> None:
    for name, shape in official(debug()).dead.items():
        given = official_weights[name].shape
        assert [a for a, b in zip(given, shape, strict=True) if b >= 0] == [b for b in shape if b >= 0], name


@pytest.mark.parametrize("kind", LAYOUTS)
def test_written_weights_read_back_the_same(kind: str, detector: Detector) -> None:
    layout, state = LAYOUTS[kind](debug()), detector.state_dict()
    theirs = {name: value for entry in layout.entries for name, value in entry.write(state).items()}
    ours = {name: value for entry in layout.entries for name, value in entry.read(theirs).items()}
    torch.testing.assert_close(
        ours, {name: value for name, value in state.items() if name not in layout.absent}, rtol=0, atol=0
    )


def test_read_weights_write_back_the_same(official_weights: dict[str, Tensor]) -> None:
    """All but the class row of the position table and the tracker's idle vector, which no part of the model reads."""
    layout = official(debug())
    ours = {name: value for entry in layout.entries for name, value in entry.read(official_weights).items()}
    for entry in layout.entries:
        for name, value in entry.write(ours).items():
            if name.endswith("pos_embed"):
                assert value[:, 0].eq(0).all()
                torch.testing.assert_close(value[:, 1:], official_weights[name][:, 1:], rtol=0, atol=0)
            elif not isinstance(entry, Unread):
                torch.testing.assert_close(value, official_weights[name], rtol=0, atol=0)
