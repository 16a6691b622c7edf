"""Small files of each benchmark, by hand."""

import json
import pickle

import numpy as np
import pytest

from masklet.errors import InputError
from masklet.formats.referring import draw, read_benchmark, read_reasonseg, read_refs

SQUARE = [[2, 2], [6, 2], [6, 6], [2, 6]]
LARGE = [[0, 0], [10, 0], [10, 10], [0, 10]]


def test_reasonseg_paints_larger_shapes_first_and_leaves_flags_out(tmp_path) -> None:
    shapes = [
        {"label": "target", "points": SQUARE},
        {"label": "ignore", "points": LARGE},
        {"label": "flag_x", "points": LARGE},
    ]
    content = json.dumps({"text": ["caf\u00e9?", "two"], "is_sentence": True, "shapes": shapes}, ensure_ascii=False)
    (tmp_path / "a.json").write_bytes(content.encode("cp1252"))
    first, second = read_reasonseg(tmp_path)
    assert (first.id, first.image, first.text, first.sort) == ("a-0", "a.jpg", "caf\u00e9?", "long")
    target, ignored = draw(second, (12, 12))
    assert target.sum() == 16
    assert ignored.sum() == 100 - 16
    assert not (target & ignored).any()


def references(tmp_path, refs, name="refs(unc).p"):
    instances = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 12, "width": 12}],
        "annotations": [
            {"id": 5, "image_id": 1, "segmentation": [[2, 2, 6, 2, 6, 6, 2, 6]]},
            {"id": 6, "image_id": 1, "segmentation": {"size": [12, 12], "counts": [0, 12, 132]}},
        ],
    }
    (tmp_path / "instances.json").write_text(json.dumps(instances))
    content = json.dumps(refs).encode() if name.endswith(".json") else pickle.dumps(refs)
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


def ref(ann_id, split="val"):
    return {"split": split, "ann_id": ann_id, "image_id": 1, "sentences": [{"sent_id": 9, "sent": "the left one"}]}


@pytest.mark.parametrize("name", ["refs(unc).p", "grefs(unc).json"])
def test_references_to_one_to_several_and_to_nothing(tmp_path, name) -> None:
    path = references(tmp_path, [ref(5), ref([5, 6]), ref([-1]), ref(5, "testA")], name)
    one, both, none = read_benchmark("grefcoco", path)
    assert (one.id, one.image, one.text) == ("9", "a.jpg", "the left one")
    areas = [int(draw(each, (12, 12))[0].sum()) for each in (one, both, none)]
    assert areas == [16, 16 + 12, 0]


class Evil:
    def __reduce__(self):
        return (print, ("owned",))


def test_a_pickle_with_code_is_refused_and_does_nothing(tmp_path, capsys) -> None:
    path = references(tmp_path, [Evil()])
    with pytest.raises(InputError, match="only plain values are read"):
        list(read_refs(path, "val"))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"cposix\nsystem\n", pickle.dumps({"a": 1}), pickle.dumps([1])])
def test_what_is_no_file_of_references_is_refused(tmp_path, content) -> None:
    path = references(tmp_path, [])
    path.write_bytes(content)
    with pytest.raises(InputError, match="no file of references"):
        list(read_refs(path, "val"))


def test_references_to_what_is_not_there_are_named(tmp_path) -> None:
    with pytest.raises(InputError, match="reference 1 lacks 77"):
        list(read_refs(references(tmp_path, [ref(77)]), "val"))
    with pytest.raises(InputError, match="unknown benchmark 'x'"):
        read_benchmark("x", tmp_path)
    with pytest.raises(InputError, match="holds no JSON file of ReasonSeg"):
        list(read_reasonseg(tmp_path / "nothing"))


def test_an_ignored_part_on_top_is_not_judged(tmp_path) -> None:
    shapes = [{"label": "target", "points": LARGE}, {"label": "ignore", "points": SQUARE}]
    (tmp_path / "a.json").write_text(json.dumps({"text": ["x"], "is_sentence": False, "shapes": shapes}))
    (only,) = read_reasonseg(tmp_path)
    target, ignored = draw(only, (12, 12))
    assert (target.sum(), ignored.sum()) == (100 - 16, 16)
    assert np.logical_xor(target, ignored)[:10, :10].all()
