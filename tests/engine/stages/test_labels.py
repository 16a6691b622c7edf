"""Labels that exist are checked, not trusted: what is wrong with them is ranked, and people's word stays."""

import json
from pathlib import Path

import numpy as np
import pytest
from engine_world import PHRASES, ColourSegmenter, open_world, stages, true_masks, write_photos

from masklet.engine.project.label_errors import label_errors
from masklet.engine.records import Fact
from masklet.engine.review.corrections import to_row
from masklet.engine.runner import Runner
from masklet.engine.stages.labels import CheckLabels
from masklet.engine.stages.stage import Project
from masklet.engine.states import FINAL
from masklet.errors import InputError
from masklet.media.images import read_image


def write_labels(photos: Path, path: Path, *, spoilt: bool = True) -> dict[str, int]:
    """COCO labels of all squares; in each third photo one is overlooked, misnamed, cut short or doubled, in turn."""
    images, annotations, planted = [], [], dict.fromkeys(("overlooked", "wrong name", "badly outlined", "doubled"), 0)
    for number, photo in enumerate(sorted(photos.glob("*.png"))):
        image = read_image(photo)
        images.append({"id": number, "file_name": photo.name, "width": image.shape[1], "height": image.shape[0]})
        masks = [(name, mask) for name in range(len(PHRASES)) for mask in true_masks(image, PHRASES[name])]
        if spoilt and number % 3 == 0 and masks:
            kind = list(planted)[number // 3 % 4]
            planted[kind] += 1
            name, mask = masks.pop(0)
            if kind == "wrong name":
                masks.append(((name + 1) % len(PHRASES), mask))
                planted["overlooked"] += 1  # under its own name it is missing
            elif kind == "badly outlined":
                rows = np.flatnonzero(mask.any(axis=1))
                mask = mask.copy()
                mask[rows[len(rows) * 6 // 10] :] = False
                masks.append((name, mask))
            elif kind == "doubled":
                masks += [(name, mask), (name, mask)]
        for name, mask in masks:
            row = to_row(mask)
            size = {"size": list(row.size), "counts": row.counts}
            annotations.append({"id": len(annotations), "image_id": number, "category_id": name, "segmentation": size})
    categories = [{"id": number, "name": name} for number, name in enumerate(PHRASES)]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return planted


def run_labels(folder: Path, photos: Path, labels: Path, segmenter: ColourSegmenter, run_id: str = "r") -> Project:
    project = open_world(folder, photos)
    made = [stage for stage in stages(project, segmenter) if stage.name != "phrases"]
    made.insert(2, CheckLabels.read(labels, photos, segmenter))  # type: ignore[arg-type]
    project.view.ledger.add([Fact(table="run", values={"run_id": run_id, "started_at": 0, "code": "", "config": ""})])
    Runner(project, made, run_id).run()
    return project


def test_every_planted_error_is_found_and_nothing_else(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 24)
    planted = write_labels(photos, tmp_path / "labels.json")
    project = run_labels(tmp_path / "project", photos, tmp_path / "labels.json", ColourSegmenter())
    found = label_errors(project.view)
    assert {kind: sum(each.kind == kind for each in found) for kind in planted} == planted
    assert [each.certainty for each in found] == sorted((each.certainty for each in found), reverse=True)


def test_right_labels_become_final_and_unsupported_ones_do_not(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 6)
    write_labels(photos, tmp_path / "labels.json", spoilt=False)
    segmenter = ColourSegmenter()
    project = run_labels(tmp_path / "project", photos, tmp_path / "labels.json", segmenter)
    assert label_errors(project.view) == []
    assert set(project.view.counts()) == FINAL
    origins = {row["origin"] for row in project.view.pairs()}
    assert origins == {"labels", "listed"}
    blind = run_labels(tmp_path / "blind", photos, tmp_path / "labels.json", ColourSegmenter(drop=1.0))
    assert not [row for row in blind.view.annotations() if row["polarity"]]


def test_labels_never_touch_what_is_there(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 3)
    write_labels(photos, tmp_path / "labels.json", spoilt=False)
    project = run_labels(tmp_path / "project", photos, tmp_path / "labels.json", ColourSegmenter())
    before = project.view.annotations()
    document = json.loads((tmp_path / "labels.json").read_text())
    (tmp_path / "labels.json").write_text(json.dumps(document | {"annotations": document["annotations"][:1]}))
    again = run_labels(tmp_path / "project", photos, tmp_path / "labels.json", ColourSegmenter(), "second")
    assert again.view.annotations() == before


@pytest.mark.parametrize("content", ["", "{}", "[1, 2]", '{"images": [{"id": 1}]}'])
def test_hostile_labels_get_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(InputError) as caught:
        CheckLabels.read(tmp_path / "labels.json", tmp_path, ColourSegmenter())  # type: ignore[arg-type]
    assert "labels.json" in str(caught.value)
    assert "\n" not in str(caught.value)
