"""What all results can do, tried on each kind: of an image, of a frame, of clicks."""

import csv
import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from frame_results import make, rectangle
from PIL import Image, ImageShow

from masklet.errors import InputError
from masklet.inference.image.clicks import ClickResult
from masklet.inference.result import Result

SIZE = (40, 60)


@pytest.fixture
def frame() -> Result:
    masks = [rectangle(SIZE, 6, 4, 24, 16), rectangle(SIZE, 10, 20, 50, 36)]
    return make(masks, [0.9, 0.6], concepts=["cat", ""], image=np.full((*SIZE, 3), 128, dtype=np.uint8))


@pytest.fixture
def clicked() -> Result:
    logits = torch.full((2, 20, 30), -5.0)
    logits[0, 2:8, 3:12] = 5
    logits[1, 10:18, 5:25] = 5
    image = np.full((*SIZE, 3), 128, dtype=np.uint8)
    return ClickResult(image=image, logits=logits, filled=logits, iou_scores=np.array([0.9, 0.6], dtype=np.float32))


@pytest.fixture(params=["result", "frame", "clicked"])
def each(request: pytest.FixtureRequest) -> Result:
    """Two instances of two kinds of size, as a result of each kind."""
    return request.getfixturevalue(request.param)


def test_every_kind_speaks_the_same_words(each) -> None:
    assert isinstance(each, Result)
    assert (len(each), each.size) == (2, SIZE)
    assert each.areas.tolist() == [int(mask.sum()) for mask in each.masks] == [each.mask(0).sum(), each.mask(1).sum()]
    assert len(each.phrases) == len(each.scores) == len(each.boxes) == 2
    assert sum(each.counts().values()) == 2
    assert each.summary() in repr(each) or each.summary().startswith("frame 3")


def test_filtering_keeps_what_scores_and_covers_enough(each) -> None:
    assert len(each.filter()) == 2
    assert each.filter(score=0.7).scores.tolist() == each.scores[:1].tolist()
    assert len(each.filter(score=float(each.scores[1]))) == 2  # at least
    assert each.filter(area=300).areas.tolist() == each.areas[each.areas >= 300].tolist() != []
    assert len(each.filter(score=2.0)) == 0
    assert isinstance(each.filter(area=1), type(each))


def test_indexing_slicing_and_going_through(each) -> None:
    assert [len(one) for one in each] == [1, 1]
    assert each[-1].areas.tolist() == each[1:].areas.tolist() == each[[1]].areas.tolist() == each.areas[1:].tolist()
    assert len(each[[]]) == 0
    assert each[::-1].scores.tolist() == each.scores[::-1].tolist()
    with pytest.raises(IndexError):
        each[2]


def test_a_crop_is_the_picture_around_an_instance(each) -> None:
    x0, y0, x1, y1 = each.boxes[0].astype(int)
    assert each.crop(0).size == (x1 - x0, y1 - y0)
    assert each.crop(-2, margin=1000).size == SIZE[::-1]
    cutout = np.asarray(each.crop(0, cutout=True, margin=2))
    assert (cutout[..., 3] > 0).sum() == each.areas[0]
    with pytest.raises(IndexError, match="no instance 2"):
        each.crop(2)


def test_iou_compares_masks_of_any_two_kinds(each, result, frame) -> None:
    table = each.iou(each)
    np.testing.assert_allclose(np.diag(table), 1)
    assert table[0, 1] == 0
    assert result.iou(frame)[0, 0] == 1  # the same rectangle
    assert each.iou(each[:0]).shape == (2, 0)
    with pytest.raises(InputError, match="60 x 40 and of 8 x 8 pixels"):
        each.iou(make([rectangle((8, 8), 0, 0, 4, 4)], [0.5]))


def test_rows_are_a_table(each) -> None:
    rows = each.to_rows()
    assert [row["area"] for row in rows] == each.areas.tolist()
    assert [row["phrase"] for row in rows] == list(each.phrases)
    assert [row["x1"] for row in rows] == each.boxes[:, 2].tolist()
    file = io.StringIO()
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    assert len(file.getvalue().splitlines()) == 3
    json.dumps(rows)
    assert each[:0].to_rows() == []


def test_saving_goes_by_the_suffix(each, tmp_path) -> None:
    assert Image.open(each.save(tmp_path / "a.png")).size[0] >= SIZE[1]
    json.loads(each.save(str(tmp_path / "a.json")).read_text())
    with pytest.raises(InputError, match="suffix must be one of"):
        each.save(tmp_path / "a.txt")


def test_notebooks_show_the_picture_and_escape_the_words(each) -> None:
    assert Image.open(io.BytesIO(each._repr_png_())).format == "PNG"
    page = each._repr_html_()
    assert "data:image/png;base64," in page
    if hasattr(each, "queries"):
        from dataclasses import replace

        assert "<b>" not in replace(each, queries=("<b>", "dog"))._repr_html_()


def test_a_frame_without_its_picture_still_says_what_is_on_it() -> None:
    bare = make([rectangle(SIZE, 6, 4, 24, 16)], [0.9])
    assert bare._repr_png_() is None
    assert "dog 1" in bare._repr_html_()
    with pytest.raises(InputError, match="no image"):
        bare.crop(0)


def test_show_opens_the_overlay_or_says_that_nothing_can(each, monkeypatch) -> None:
    shown: list[Image.Image] = []
    monkeypatch.setattr(ImageShow, "show", lambda image: bool(shown.append(image)) or True)
    each.show()
    assert shown[0].size[0] >= SIZE[1]
    monkeypatch.setattr(ImageShow, "show", lambda _: False)
    with pytest.raises(InputError, match="save"):
        each.show()


def test_every_kind_goes_to_supervision(each, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=lambda **fields: fields))
    fields = each.to_supervision()
    assert fields["mask"].shape == (2, *SIZE)
    assert fields["data"]["class_name"].tolist() == list(each.phrases)


def test_what_was_clicked_is_called_an_object(frame, clicked) -> None:
    assert frame.counts() == {"cat": 1, "object": 1}
    assert frame.summary() == "frame 3 at 0.300 s: cat 1, object 1"
    assert clicked.summary() == "2 masks, expected IoU 0.90, 0.60"
    assert clicked.counts() == {"object": 2}
