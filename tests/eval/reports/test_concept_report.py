"""The page of a run over painted scenes, and what is said of runs that cannot be read."""

import json
from pathlib import Path

import pytest
from scene_outcomes import write_run

from masklet.errors import InputError
from masklet.eval.analysis.mistakes import MEANINGS, judge
from masklet.eval.concepts.outcomes import RunFiles, read_outcomes
from masklet.eval.reports.concept_report import build_concept_report, read_scores, scaled
from masklet.eval.reports.page import Chart, Gallery, Report, Table, render_report


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFiles, Path]:
    folder = tmp_path_factory.mktemp("run")
    return write_run(folder / "run", folder / "pictures", 12), folder / "pictures"


@pytest.fixture(scope="module")
def report(run: tuple[RunFiles, Path]) -> Report:
    return build_concept_report(run[0], [run[1]])


def table(report: Report, title: str) -> Table:
    found = next(section for section in report.sections if section.title == title)
    assert isinstance(found, Table)
    return found


def test_headline_figures_are_those_of_the_run(run: tuple[RunFiles, Path], report: Report) -> None:
    metrics = read_scores(run[0])["metrics"]["segm"]
    shown = {figure.name: figure for figure in report.figures}
    assert shown["cgF1"].value == pytest.approx(100 * metrics["cgF1"])
    assert shown["IL_MCC"].value == pytest.approx(metrics["IL_MCC"])
    assert shown["pmF1"].value == pytest.approx(100 * metrics["positive_micro_F1"])
    for name in ("cgF1", "IL_MCC", "pmF1", "macro F1"):
        assert shown[name].low < shown[name].value < shown[name].high  # type: ignore[operator]
    assert shown["Pairs"].value == sum(1 for _ in read_outcomes(run[0].outcomes))


def test_errors_are_sorted_by_what_they_cost(run: tuple[RunFiles, Path], report: Report) -> None:
    rows = table(report, "What goes wrong").rows
    assert {row[0] for row in rows} == set(MEANINGS)
    assert all(row[1] for row in rows), "the scenes show every kind of error"
    gains = [row[3] for row in rows]
    assert gains == sorted(gains, reverse=True)  # type: ignore[type-var]
    counts = {row[0]: row[1] for row in rows}
    found = [judge(outcome).counts() for outcome in read_outcomes(run[0].outcomes)]
    assert counts == {kind: sum(each[kind] for each in found) for kind in MEANINGS}


def test_every_pair_is_in_the_tables_once(run: tuple[RunFiles, Path], report: Report) -> None:
    pairs = sum(1 for _ in read_outcomes(run[0].outcomes))
    subsets = table(report, "By subset").rows
    assert [row[0] for row in subsets] == ["gardens", "kitchens", "average"]
    assert subsets[0][1] + subsets[1][1] == subsets[2][1] == pairs  # type: ignore[operator]
    presence = table(report, "Pairs by presence").rows
    assert sum(presence[-1][1:]) == pairs  # type: ignore[arg-type]
    assert table(report, "By object size (masks)").rows == [
        ["small", 40.0, 12],
        ["medium", None, 0],
        ["large", 60.0, 30],
    ]


def test_pictures_are_of_errors_and_each_pair_is_shown_once(report: Report) -> None:
    gallery = report.sections[-1]
    assert isinstance(gallery, Gallery)
    assert all(card.tags for card in gallery.cards)
    assert {tag for card in gallery.cards for tag in card.tags} == set(MEANINGS)
    assert len({(card.caption, card.details) for card in gallery.cards}) == len(gallery.cards)
    assert len([section for section in report.sections if isinstance(section, Chart)]) == 6


def test_the_page_is_the_same_each_time(run: tuple[RunFiles, Path], report: Report) -> None:
    assert render_report(build_concept_report(run[0], [run[1]])) == render_report(report)


def test_a_run_of_one_subset_without_errors_or_pictures(tmp_path: Path) -> None:
    line = {"pair_id": 1, "phrase": "cat", "image": "a.jpg", "subset": "one", "height": 9, "width": 9}
    files = RunFiles(tmp_path)
    files.outcomes.write_text(json.dumps(line) + "\n")
    files.scores.write_text(
        json.dumps(
            {
                "format": "masklet-eval-concepts",
                "version": 1,
                "metrics": {"bbox": {"cgF1": 0.0}},
                "settings": {},
                "strata": {},
            }
        )
    )
    report = build_concept_report(files, [])
    assert "By subset" not in [section.title for section in report.sections]
    assert report.subtitle.endswith("compared by boxes")
    assert render_report(report)


def test_figures_as_published_tables_print_them() -> None:
    assert scaled("cgF1", 0.5) == 50
    assert scaled("IL_MCC", 0.5) == 0.5
    assert scaled("instances", 12) == 12
    assert scaled("positive_macro_F1@0.5", -1) is None
    for value in (float("nan"), "text", None, False):
        assert scaled("cgF1", value) is None


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ("{", "scores.json: the document: is no JSON"),
        ("[]", "scores.json: the document: is "),
        ({"format": "masklet-eval-tracks"}, "scores.json: format: is "),
        ({"version": 2}, "version: is "),
        ({"metrics": {"segm": 3}}, "metrics.segm: is "),
        ({"strata": {"segm": {"size": {"small": {"F1": "text"}}}}}, "strata.segm.size.small.F1"),
    ],
)
def test_scores_of_another_kind_are_refused(tmp_path: Path, scores: str | dict, message: str) -> None:
    sound = {"format": "masklet-eval-concepts", "version": 1, "settings": {}, "metrics": {}, "strata": {}}
    RunFiles(tmp_path).scores.write_text(scores if isinstance(scores, str) else json.dumps(sound | scores))
    with pytest.raises(InputError, match=message):
        build_concept_report(RunFiles(tmp_path), [])


@pytest.mark.parametrize(
    ("outcomes", "message"),
    [
        ("", "holds no pairs"),
        ('{"pair_id": 1}\n', "line 1 is not an outcome"),
        ("nonsense\n", "line 1 is not an outcome"),
    ],
)
def test_outcomes_that_cannot_be_read(tmp_path: Path, run: tuple[RunFiles, Path], outcomes: str, message: str) -> None:
    files = RunFiles(tmp_path)
    files.scores.write_text(run[0].scores.read_text())
    files.outcomes.write_text(outcomes)
    with pytest.raises(InputError, match=message):
        build_concept_report(files, [])
