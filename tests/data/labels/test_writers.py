"""Files that are written from examples are read back as what they were, by the readers of training and evaluation."""

import json

import numpy as np

from masklet.data.labels.saco import SacoSource
from masklet.data.labels.writers import write_saco, write_veval
from masklet.data.schema import Clip, Example, PhraseQuery
from masklet.ops.masks import rle_decode
from masklet.scenes.layout import SceneConfig
from masklet.scenes.moving.clips import render_clip
from masklet.scenes.scene import render_scene

SCENES = [render_scene(seed, SceneConfig(size=96)) for seed in range(3)]


def test_pictures_come_back_with_their_phrases_and_masks(tmp_path):
    pairs = write_saco(SCENES, tmp_path / "scenes.json", tmp_path / "images")
    assert pairs == sum(len(scene.queries) for scene in SCENES)
    source = SacoSource(tmp_path / "scenes.json", tmp_path / "images", split="all")
    assert len(source) == len(SCENES)
    for place, scene in enumerate(SCENES):
        example = source.example(place)
        np.testing.assert_array_equal(example.image, scene.image)
        by_phrase = {query.phrase: query for query in example.queries}
        for query in scene.queries:
            found = by_phrase[query.phrase]
            assert found.exhaustive == query.exhaustive
            np.testing.assert_array_equal(
                example.masks[list(found.object_index)], scene.masks[list(query.object_index)]
            )


def test_objects_without_masks_are_written_as_boxes(tmp_path):
    example = Example(
        image=np.zeros((10, 20, 3), np.uint8),
        boxes_xyxy=np.array([[2, 3, 12, 8]], np.float32),
        masks=np.zeros((1, 10, 20), dtype=bool),
        mask_valid=np.array([False]),
        queries=(
            PhraseQuery(phrase="cell", object_index=(0,), exhaustive=False),
            PhraseQuery(phrase="dog", object_index=()),
        ),
        source="boxes",
    )
    assert write_saco([example], tmp_path / "boxes.json", tmp_path) == 2
    document = json.loads((tmp_path / "boxes.json").read_text())
    assert [pair["is_instance_exhaustive"] for pair in document["images"]] == [0, 1]
    (record,) = document["annotations"]
    assert "segmentation" not in record
    np.testing.assert_allclose(record["bbox"], [0.1, 0.3, 0.5, 0.5], atol=1e-7)


def test_clips_come_back_with_their_masklets(tmp_path):
    clip = render_clip(5, SceneConfig(size=64, crowd_share=0.0), 4)
    empty = Clip(frames=clip.frames[:1])
    pairs = write_veval([clip, empty], tmp_path / "clips.json", tmp_path / "videos")
    document = json.loads((tmp_path / "clips.json").read_text())
    assert pairs == len(document["video_np_pairs"])
    assert [video["length"] for video in document["videos"]] == [4, 1]
    assert all((tmp_path / "videos" / name).is_file() for video in document["videos"] for name in video["file_names"])
    names = {each["id"]: each["name"] for each in document["categories"]}
    for masklet in document["annotations"]:
        assert names[masklet["category_id"]] == masklet["noun_phrase"]
    counted = {(pair["video_id"], pair["noun_phrase"]): pair["num_masklets"] for pair in document["video_np_pairs"]}
    for query in clip.frames[0].queries:
        objects = {
            index
            for frame in clip.frames
            for each in frame.queries
            if each.phrase == query.phrase
            for index in each.object_index
        }
        assert counted[0, query.phrase] == len(objects)
        masklets = [
            each for each in document["annotations"] if (each["video_id"], each["noun_phrase"]) == (0, query.phrase)
        ]
        for index, masklet in zip(sorted(objects), masklets, strict=True):
            for frame, record in zip(clip.frames, masklet["segmentations"], strict=True):
                mask = frame.masks[index]
                assert (record is None) == (not mask.any())
                if record is not None:
                    np.testing.assert_array_equal(rle_decode(record["counts"], *record["size"]), mask)
