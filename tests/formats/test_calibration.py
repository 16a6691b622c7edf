"""The calibration file: what is written is read again, and whatever else is in a file is said in one sentence."""

import json
from pathlib import Path
from typing import Any

import pytest

from masklet.errors import InputError
from masklet.formats.calibration import MAX_BYTES, Calibration, Thresholds, read_calibration, write_calibration

MODEL = "0123456789abcdef-336-float32"


def calibration() -> Calibration:
    return Calibration(
        model=MODEL,
        default=Thresholds(presence=0.2, score=0.4, mask=0.6),
        phrases={"coin": Thresholds(presence=0.1, score=0.7, mask=0.3), "münze": Thresholds()},
        validation={"folds": 5},
    )


def spoil(tmp_path: Path, **changes: Any) -> Path:
    document = json.loads(write_calibration(calibration(), tmp_path / "good.json").read_text("utf-8"))
    path = tmp_path / "spoilt.json"
    path.write_text(json.dumps(document | changes))
    return path


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = write_calibration(calibration(), tmp_path / "new" / "calibration.json")
    assert read_calibration(path) == calibration()
    assert json.loads(path.read_text("utf-8"))["phrases"]["coin"] == {"presence": 0.1, "score": 0.7, "mask": 0.3}


def test_a_phrase_of_the_file_has_its_own_thresholds_and_any_other_those_of_all() -> None:
    assert calibration().thresholds("coin").score == 0.7
    assert calibration().thresholds("cat") == calibration().default


def test_thresholds_that_were_not_chosen_change_nothing() -> None:
    assert Thresholds() == Thresholds(presence=0, score=0.5, mask=0.5)


def test_it_fits_the_same_weights_and_size_in_any_number_type() -> None:
    calibration().check_model(MODEL)
    calibration().check_model("0123456789abcdef-336-bfloat16")


@pytest.mark.parametrize("identity", ["0123456789abcdef-1008-float32", "fedcba9876543210-336-float32"])
def test_it_does_not_fit_other_weights_or_another_image_size(identity: str) -> None:
    with pytest.raises(InputError, match=f"made for the model {MODEL}, and this one is {identity}"):
        calibration().check_model(identity)


def test_calibrations_that_differ_have_different_digests() -> None:
    other = Calibration(model=MODEL, default=Thresholds(score=0.41))
    assert calibration().digest == calibration().digest != other.digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "something"}, "is not a calibration"),
        ({"version": 2}, "version 2 of the format is unknown"),
        ({"model": 7}, "model is not the identity of a model: 7"),
        ({"model": ""}, "model is not the identity"),
        ({"phrases": []}, "phrases is not a table"),
        ({"validation": None}, "validation is not a table"),
        ({"default": {"score": 0.5}}, "default must hold presence, score, mask and nothing else"),
        ({"default": {"presence": 0, "score": 0.5, "mask": 0.5, "more": 1}}, "nothing else"),
        ({"default": None}, "default must hold"),
        ({"phrases": {"coin": {"presence": 0, "score": "0.5", "mask": 0.5}}}, "phrase 'coin': score is not a number"),
        ({"phrases": {"coin": {"presence": 0, "score": True, "mask": 0.5}}}, "phrase 'coin': score is not a number"),
        ({"phrases": {"coin": {"presence": 0, "score": 1, "mask": 0.5}}}, "score 1 is not between 0 and 1"),
        ({"phrases": {"coin": {"presence": 0, "score": 0.5, "mask": 0}}}, "mask 0 is not between 0 and 1"),
        ({"phrases": {"coin": {"presence": 1.5, "score": 0.5, "mask": 0.5}}}, "presence 1.5 is not in"),
        ({"default": {"presence": float("nan"), "score": 0.5, "mask": 0.5}}, "presence nan is not in"),
    ],
)
def test_what_is_wrong_is_said_with_its_file_and_field(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_calibration(spoil(tmp_path, **changes))
    assert "spoilt.json" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "calibration.json").write_bytes(content)
    with pytest.raises(InputError, match=r"calibration\.json is not a calibration"):
        read_calibration(tmp_path / "calibration.json")


def test_a_file_that_is_missing_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read the calibration .*gone\.json: No such file"):
        read_calibration(tmp_path / "gone.json")
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(InputError, match="larger than any calibration"):
        read_calibration(tmp_path / "large.json")
