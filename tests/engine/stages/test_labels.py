"""Labels that exist are checked, not trusted: what is wrong with them is ranked, and people's word stays."""

import json
from pathlib import Path

import numpy as np
import pytest
from engine_world import PHRASES, ColourSegmenter, open_world, stages, true_masks, write_photos

from masklet.data.labels.conversion import WRITERS, LabelExport
from masklet.data.labels.layouts import recognise
from masklet.engine.project.label_errors import label_errors
from masklet.engine.records import Fact
from masklet.engine.review.corrections import to_row
from masklet.engine.runner import Runner
from masklet.engine.stages.labels import CheckLabels
from masklet.engine.stages.stage import Project
from masklet.engine.states import FINAL
from masklet.errors import InputError
from masklet.formats.coco import CocoFile, read_coco
from masklet.formats.records import to_json
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


@pytest.mark.parametrize("layout", ["saco", "lvis", "yolo", "labelstudio", "cvat", "labelme", "ytvis"])
def test_labels_of_every_layout_are_checked(tmp_path: Path, layout: str) -> None:
    photos = write_photos(tmp_path / "photos", 4)
    write_labels(photos, tmp_path / "labels.json", spoilt=False)
    labels = read_coco(tmp_path / "labels.json")
    folder = tmp_path / "other"
    if layout == "ytvis":
        path = write_frames(labels, folder)
    else:
        written = WRITERS[layout](LabelExport(labels=labels, folder=folder, find_image=lambda name: photos / name))
        path = next((each for each in written if each.suffix in (".yaml", ".xml")), written[0])
        path = folder if layout == "labelme" else path
    assert recognise(path) == layout
    project = run_labels(tmp_path / "project", photos, path, ColourSegmenter())
    assert {row["origin"] for row in project.view.pairs()} >= {"labels"}
    assert sum(row["origin"] == "labels" for row in project.view.pairs()) == len(
        {(each.image_id, each.category_id) for each in labels.annotations}
    )
    assert [each for each in label_errors(project.view) if each.certainty > 0.2] == []
    assert {pair["state"] for pair in project.view.pairs() if pair["origin"] == "labels"} == {"final_positive"}


def write_frames(labels: CocoFile, folder: Path) -> Path:
    """Each photo as a video of one frame."""
    folder.mkdir()
    size = {"height": 96, "width": 96}
    videos = [{"id": k, "file_names": [each.file_name], "length": 1, **size} for k, each in labels.images.items()]
    records = [
        {
            "id": place,
            "video_id": each.image_id,
            "category_id": each.category_id,
            "segmentations": [to_json(each.segmentation)],
            "iscrowd": 0,
            **size,
        }
        for place, each in enumerate(labels.annotations)
    ]
    names = [{"id": key, "name": each.name} for key, each in labels.categories.items()]
    path = folder / "videos.json"
    path.write_text(json.dumps({"videos": videos, "annotations": records, "categories": names}))
    return path


def test_labels_that_speak_of_other_photos_are_told(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 2)
    write_labels(photos, tmp_path / "labels.json", spoilt=False)
    text = (tmp_path / "labels.json").read_text()
    (tmp_path / "labels.json").write_text(text.replace("000", "IMG_"))
    with pytest.raises(InputError, match=r"names no photo of .* it has IMG_0\.png, the folder has 0000\.png"):
        CheckLabels.read(tmp_path / "labels.json", photos, ColourSegmenter())  # type: ignore[arg-type]
