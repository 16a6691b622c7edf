"""Videos: objects keep their index in clips, frames are pictures with phrases, and broken records are named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from masklet.data.clip_transforms import ClipAugmentConfig
from masklet.data.labels.davis import DavisVideos
from masklet.data.labels.ytvis import YtvisVideos
from masklet.data.sources import QueryConfig
from masklet.data.videos import VideoClips, VideoFrames, draw_frames
from masklet.errors import InputError
from masklet.ops.masks import rle_encode

HEIGHT, WIDTH, FRAMES = 24, 36, 6
ALL = QueryConfig(split="all")
COLOURS = {1: (250, 0, 0), 2: (0, 250, 0)}


def object_mask(number: int, frame: int) -> np.ndarray:
    """Object 1 moves to the right along the upper edge, object 2 is seen on the first two frames only."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    if number == 1:
        mask[2:10, 4 * frame : 4 * frame + 8] = True
    elif frame < 2:
        mask[14:22, 20:30] = True
    return mask


def picture(frame: int) -> Image.Image:
    pixels = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    for number, colour in COLOURS.items():
        pixels[object_mask(number, frame)] = colour
    return Image.fromarray(pixels)


def ytvis_document() -> dict[str, Any]:
    def masks(number: int) -> list[Any]:
        found = [object_mask(number, frame) for frame in range(FRAMES)]
        return [{"size": [HEIGHT, WIDTH], "counts": rle_encode(mask)} if mask.any() else None for mask in found]

    names = [f"v/{frame}.png" for frame in range(FRAMES)]
    return {
        "videos": [{"id": 1, "width": WIDTH, "height": HEIGHT, "length": FRAMES, "file_names": names}],
        "categories": [{"id": 1, "name": "red box"}, {"id": 2, "name": "green box"}, {"id": 3, "name": "dog"}],
        "annotations": [{"id": n, "video_id": 1, "category_id": n, "segmentations": masks(n)} for n in (1, 2)],
    }


def open_ytvis(folder: Path, change: Callable[[dict[str, Any]], object] = lambda d: d, config=ALL) -> YtvisVideos:
    (folder / "v").mkdir(exist_ok=True)
    for frame in range(FRAMES):
        picture(frame).save(folder / f"v/{frame}.png")
    document = ytvis_document()
    change(document)
    (folder / "ytvis.json").write_text(json.dumps(document))
    return YtvisVideos(folder / "ytvis.json", folder, config)


def open_davis(folder: Path, frames: range = range(FRAMES)) -> DavisVideos:
    for place in ("labels/v", "labels/empty", "pictures/v"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    for frame in range(FRAMES):
        picture(frame).save(folder / f"pictures/v/{frame:05d}.jpg", quality=95)
    for frame in frames:
        numbers = np.sum([number * object_mask(number, frame) for number in COLOURS], axis=0).astype(np.uint8)
        numbers[:1] = 255
        label = Image.fromarray(numbers, "P")
        label.putpalette([0] * 768)
        label.save(folder / f"labels/v/{frame:05d}.png")
    return DavisVideos(folder / "labels", folder / "pictures", ALL)


@pytest.mark.parametrize("kind", ["ytvis", "davis"])
def test_objects_keep_their_index_and_go_with_their_pixels(tmp_path, kind) -> None:
    videos = open_ytvis(tmp_path) if kind == "ytvis" else open_davis(tmp_path)
    frames = videos.frames(0, [0, 4], np.random.default_rng(0))
    for frame, example in zip((0, 4), frames, strict=True):
        for row, number in enumerate(COLOURS):
            np.testing.assert_array_equal(example.masks[row], object_mask(number, frame))
    np.testing.assert_array_equal(frames[0].boxes_xyxy, [[0, 2, 8, 10], [20, 14, 30, 22]])
    assert frames[1].mask_valid.tolist() == [True, False]


def test_a_frame_is_a_picture_with_the_phrases_it_answers(tmp_path) -> None:
    frames = VideoFrames(open_ytvis(tmp_path))
    assert len(frames) == FRAMES
    assert frames.name(5) == "v/5.png"
    late = frames.example(5, np.random.default_rng(0))
    assert len(late.masks) == 1
    answers = {query.phrase: query.object_index for query in late.queries}
    assert answers == {"red box": (0,), "green box": (), "dog": ()}
    assert late.absent == {"dog"}


def test_without_complete_labels_what_is_out_of_sight_is_not_asked(tmp_path) -> None:
    partial = QueryConfig(split="all", complete=False)
    late = VideoFrames(open_ytvis(tmp_path, config=partial)).example(5, np.random.default_rng(0))
    assert [(query.phrase, query.object_index, query.exhaustive) for query in late.queries] == [
        ("red box", (0,), False)
    ]


def test_a_crowd_makes_its_phrase_inexhaustive_and_no_negative(tmp_path) -> None:
    def crowd(document: dict[str, Any]) -> None:
        document["annotations"][1]["iscrowd"] = 1

    example = VideoFrames(open_ytvis(tmp_path, crowd)).example(0, np.random.default_rng(0))
    assert {query.phrase for query in example.queries} == {"red box", "dog"}


def test_pairs_say_what_was_asked_of_a_video(tmp_path) -> None:
    def pairs(document: dict[str, Any]) -> None:
        document["categories"].append({"id": 4, "name": "cat"})
        document["video_np_pairs"] = [{"video_id": 1, "category_id": category} for category in (1, 2, 4)]

    example = VideoFrames(open_ytvis(tmp_path, pairs)).example(0, np.random.default_rng(0))
    assert {query.phrase for query in example.queries} == {"red box", "green box", "cat"}
    assert example.absent == {"cat"}


@pytest.mark.parametrize("kind", ["ytvis", "davis"])
def test_clips_show_the_same_objects_from_frame_to_frame(tmp_path, kind) -> None:
    videos = open_ytvis(tmp_path) if kind == "ytvis" else open_davis(tmp_path)
    still = {"degrees": 0.0, "shear": 0.0, "color": (0.0, 0.0, 0.0), "flicker": (0.0, 0.0, 0.0)}
    augment = ClipAugmentConfig(**still, grey_probability=0.0, mosaic_probability=0.0)
    source = VideoClips(videos=videos, size=48, num_frames=3, augment=augment)
    forwards = set()
    for seed in range(12):
        clip = source.sample(np.random.default_rng(seed))
        assert len({len(frame.masks) for frame in clip.frames}) == 1
        assert clip.frames[0].masks.any()
        for frame in clip.frames:
            assert frame.image.shape == (48, 48, 3)
            red = frame.image[frame.masks[0]].astype(int)
            if len(red) > 100:
                assert np.median(red, axis=0)[0] > 200 > np.median(red, axis=0)[1]
        middles = [np.argwhere(frame.masks[0])[:, 1].mean() for frame in clip.frames if frame.masks[0].any()]
        forwards.add(middles == sorted(middles))
    assert forwards == {True, False}  # backwards or mirrored
    first, again = (source.sample(np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.frames[2].image, again.frames[2].image)


def test_frames_are_drawn_at_an_even_distance_that_fits() -> None:
    drawn = [draw_frames(20, 4, np.random.default_rng(seed)) for seed in range(200)]
    assert {abs(int(step)) for frames in drawn for step in np.diff(frames)} == {1, 2, 3, 4, 5}
    assert all(len(set(np.diff(frames).tolist())) == 1 and 0 <= min(frames) <= max(frames) < 20 for frames in drawn)
    assert {tuple(draw_frames(4, 4, np.random.default_rng(seed))) for seed in range(20)} == {(0, 1, 2, 3)}
    assert 0 <= draw_frames(3, 1, np.random.default_rng(0))[0] < 3


def test_clips_that_cannot_be_had_are_refused(tmp_path) -> None:
    clips = VideoClips(videos=open_davis(tmp_path), size=48, num_frames=7)
    with pytest.raises(InputError, match="clips have 7 frames, and the longest video 6"):
        clips.sample(np.random.default_rng(0))
    for label in (tmp_path / "labels/v").iterdir():
        Image.new("P", (WIDTH, HEIGHT)).save(label)
    with pytest.raises(InputError, match="shows an object in its first frame"):
        VideoClips(videos=open_davis(tmp_path, range(0)), size=48, num_frames=2).sample(np.random.default_rng(0))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda d: d["videos"][0].pop("height"), "video 1: height: is missing"),
        (lambda d: d["videos"][0].update(file_names=[]), "video 1: file_names"),
        (lambda d: d["videos"][0].update(file_names=["../x.png"] * FRAMES), "video 1, frame 0.*leads out"),
        (
            lambda d: (d["videos"][0].update(width=99), d["annotations"].clear()),
            r"video 1, frame 0: .*0\.png has 36 x 24 pixels, and its labels state 99 x 24",
        ),
        (
            lambda d: d["annotations"][0].update(category_id=9),
            "annotation 1: category_id: there is no category 9",
        ),
        (lambda d: d["annotations"][0].update(video_id=9), "annotation 1: video_id: there is no video 9"),
        (lambda d: d.update(video_np_pairs=[{"video_id": 1}]), "pair 0: category_id: is missing"),
        (
            lambda d: d.update(video_np_pairs=[{"video_id": 1, "category_id": 9}]),
            "the pair of video 1 and category 9: category_id: there is no category 9",
        ),
        (lambda d: d["categories"].append({"id": 1, "name": "x"}), "category 1: name: is 'red box' and 'x'"),
        (
            lambda d: d["annotations"][0]["segmentations"].pop(),
            "annotation 1: segmentations: 5 entries for the 6 frames of video 1",
        ),
        (
            lambda d: d["annotations"][0]["segmentations"][0].update(counts="zz"),
            "annotation 1, frame 0: segmentation: ",
        ),
    ],
)
def test_broken_records_of_videos_are_named(tmp_path, change, named) -> None:
    with pytest.raises(InputError, match=named):
        open_ytvis(tmp_path, change).frames(0, [0], np.random.default_rng(0))


def test_labels_without_a_picture_or_of_another_size_are_named(tmp_path) -> None:
    videos = open_davis(tmp_path)
    (tmp_path / "pictures/v/00003.jpg").unlink()
    with pytest.raises(InputError, match=r"v/00003\.png: no image is called 00003"):
        videos.frames(0, [3], np.random.default_rng(0))
    Image.new("RGB", (8, 8)).save(tmp_path / "pictures/v/00003.jpg")
    with pytest.raises(InputError, match=r"00003\.jpg has 8 x 8 pixels, and its labels state 36 x 24"):
        videos.frames(0, [3], np.random.default_rng(0))
    with pytest.raises(InputError, match="is not a folder"):
        DavisVideos(tmp_path / "nowhere", tmp_path, ALL)
