"""Bands of scores are fitted to what people said, and keep the bound that was asked for."""

import math
from pathlib import Path

import pytest
from engine_people import answer_open
from engine_world import ColourSegmenter, open_world, run_world, write_photos

from masklet.engine.verify.by_score import ByScore, fit_by_score
from masklet.errors import InputError
from masklet.workflows.engine.folder import ProjectSettings, write_settings
from masklet.workflows.engine.verifier import BANDS, project_verifier

TELLING = ColourSegmenter(bad=0.4, tells=True)


def test_scores_that_tell_get_bands_and_people_are_asked_less(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 40)
    project = open_world(tmp_path / "project", photos)
    run_world(project, TELLING)
    with pytest.raises(InputError, match="too few"):
        fit_by_score(project, 0.2)
    answer_open(project, "masks", 1e6)
    fitted = fit_by_score(project, 0.2)
    assert 0.41 < fitted.masks.accept < 0.69
    assert fitted.present.accept == math.inf  # nobody answered about the whole
    again = open_world(tmp_path / "again", photos)
    run_world(again, TELLING, verifier=ByScore(masks=fitted.masks))
    before = len(project.view.pairs())
    from masklet.engine.states import State

    assert len(again.view.pairs(State.HUMAN_MASKS)) < before / 2


@pytest.mark.parametrize("text", ["", "[1]", "[1, 2, 3, 4]", '{"a": 1}', "[0.5, 0.5, 0.5, NaN]"])
def test_damaged_bands_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / BANDS).write_text(text)
    with pytest.raises(InputError, match="train anew"):
        project_verifier(tmp_path, "tiny")


def test_bands_of_a_project_are_used_until_there_is_a_head(tmp_path: Path) -> None:
    write_settings(tmp_path / "project", ProjectSettings(photos=str(tmp_path)))
    assert project_verifier(tmp_path / "project", "tiny") is None
    (tmp_path / "project" / BANDS).write_text("[0.6, null, null, 0.1]")
    found = project_verifier(tmp_path / "project", "tiny")
    assert isinstance(found, ByScore)
    assert (found.masks.accept, found.masks.reject, found.present.reject) == (0.6, -math.inf, 0.1)
