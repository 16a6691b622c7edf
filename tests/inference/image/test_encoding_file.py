"""What was computed of an image goes to a file and comes back to the last bit, of both kinds of trunk."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import masklet
from masklet.inference.image.encoding_file import read_encoding, write_encoding
from masklet.inference.image.image_session import ImageSession
from masklet.inference.model import Model
from masklet.types import Bundle

PIXELS = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="module", params=["untrained", "tiny"])
def model(request: pytest.FixtureRequest, base: Path) -> Model:
    return masklet.load(base if request.param == "untrained" else "tiny", device="cpu")


def answers(session: ImageSession) -> list[torch.Tensor]:
    found = session.find(["coin", "a large cup"], threshold=0.0).detections
    liked = session.find("coin", boxes=[(10, 10, 40, 30)], threshold=0.0).detections
    clicked = session.click([(20, 20)], [1])
    return [each for part in (found, liked) for each in (part.scores, part.boxes_xyxy, part.mask_logits)] + [
        torch.as_tensor(clicked.logits)
    ]


def bytes_of(part: torch.Tensor | Bundle | None) -> int:
    assert part is not None
    if isinstance(part, torch.Tensor):
        return part.nbytes
    sizes: list[int] = []
    part.map(lambda tensor: sizes.append(tensor.nbytes) or tensor)
    return sum(sizes)


@pytest.mark.parametrize("is_clicked", [False, True])
def test_a_session_from_a_file_answers_as_before(model: Model, tmp_path: Path, *, is_clicked: bool) -> None:
    session = model.open(PIXELS)
    if is_clicked:
        session.click([(5, 5)], [1])
    path = tmp_path / "encoding.pt"
    write_encoding(path, session)
    again = read_encoding(path, model, PIXELS)
    assert again is not None
    assert again.num_bytes == session.num_bytes
    first = answers(session)
    assert len(first[0])
    for one, other in zip(answers(again), first, strict=True):
        assert torch.equal(one, other)


def test_sessions_are_read_by_many_at_once(model: Model, tmp_path: Path) -> None:
    write_encoding(tmp_path / "encoding.pt", model.open(PIXELS))
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda _: read_encoding(tmp_path / "encoding.pt", model, PIXELS), range(40)))
    assert None not in again


def test_clicks_let_the_maps_of_the_trunk_go(model: Model) -> None:
    session = model.open(PIXELS)
    before, whole = session.find("coin", threshold=0.0).detections, session.num_bytes
    trunk = session.features.trunk
    session.click([(5, 5)], [1])
    assert session.features.trunk is None
    assert session.num_bytes == whole - bytes_of(trunk) + bytes_of(session.click_features)
    assert torch.equal(session.find("coin", threshold=0.0).detections.mask_logits, before.mask_logits)


def test_a_file_of_another_model_or_none_at_all_is_passed_over(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "encoding.pt"
    assert read_encoding(path, model, PIXELS) is None
    write_encoding(path, model.open(PIXELS))
    content = torch.load(path, weights_only=False)
    torch.save(content | {"identity": "another"}, path)
    assert read_encoding(path, model, PIXELS) is None


def test_nothing_in_a_file_runs(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "encoding.pt"
    write_encoding(path, model.open(PIXELS))
    content = torch.load(path, weights_only=False)
    torch.save(content | {"features": _Maker(tmp_path / "made")}, path)
    assert read_encoding(path, model, PIXELS) is None
    assert not (tmp_path / "made").exists()


class _Maker:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.mkdir, (self.path,)
