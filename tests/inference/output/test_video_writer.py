import errno
import json
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from frame_results import make, rectangle
from PIL import Image
from test_video_export import write
from video_files import number_of, picture, write_video

from masklet.data.labels.conversion import find_image, read_any
from masklet.data.labels.davis import DavisVideos
from masklet.data.labels.layouts import LabelFiles
from masklet.data.labels.ytvis import YtvisVideos
from masklet.data.sources import QueryConfig
from masklet.errors import InputError
from masklet.formats.records import decode_mask
from masklet.inference.output import video_writer
from masklet.inference.output.registry import export, open_writers
from masklet.inference.output.video_export import with_images
from masklet.inference.output.video_writer import (
    DavisWriter,
    MaskWriter,
    MotWriter,
    OverlayWriter,
    YtvisWriter,
)
from masklet.media.video_source import open_frames
from masklet.render.palettes import object_colour

SIZE = (48, 64)


def result(index, *, ids=(1,), size=SIZE, time=None, image=None):
    masks = [rectangle(size, 30, 20, 50, 40)] * len(ids)
    made = make(masks, [0.9] * len(ids), ids=list(ids), index=index, image=image)
    return made if time is None else replace(made, time=time)


def drawn(index, **options):
    size = options.get("size", SIZE)
    return result(index, image=picture(index, size), **options)


def read_video(path):
    with open_frames(path) as source:
        return list(source.frames())


def sound_of(path):
    """Begin of each packet of sound and its bytes."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return []
        packets = container.demux(container.streams.audio[0])
        return [(float(each.pts * each.time_base), bytes(each)) for each in packets if each.size]


def leftovers(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_an_overlay_shows_the_objects_at_the_times_of_the_source(tmp_path):
    times = [0.0, 0.04, 0.08, 0.5, 1.25]
    writer = OverlayWriter(tmp_path / "new" / "overlay.mp4", fps=25.0)
    for index, time in enumerate(times):
        writer.add(drawn(index, time=time))
    assert not (tmp_path / "new" / "overlay.mp4").exists()
    assert writer.close() == [tmp_path / "new" / "overlay.mp4"]
    frames = read_video(tmp_path / "new" / "overlay.mp4")
    assert [frame.time for frame in frames] == pytest.approx(times, abs=2e-5)
    for index, frame in enumerate(frames):
        inside = frame.pixels[30, 40].astype(int)
        expected = 0.58 * picture(index)[0, 63] + 0.42 * np.array(object_colour(1))
        np.testing.assert_allclose(inside, expected, atol=12)
        np.testing.assert_allclose(frame.pixels[45, 5].astype(int), picture(index)[45, 5], atol=6)
    assert leftovers(tmp_path / "new") == []


def test_an_overlay_may_begin_late_skip_frames_and_have_odd_sides(tmp_path):
    writer = OverlayWriter(tmp_path / "overlay.mp4", fps=10.0)
    for index in (7, 9):
        writer.add(drawn(index, size=(35, 51)))
    writer.close()
    frames = read_video(tmp_path / "overlay.mp4")
    assert [frame.time for frame in frames] == pytest.approx([0, 0.2])
    assert frames[0].size == (36, 52)
    np.testing.assert_allclose(frames[0].pixels[5, 51].astype(int), frames[0].pixels[5, 49], atol=4)


@pytest.mark.parametrize("encoder", ["libx264", "mpeg4"])
def test_both_encoders_write_what_players_read(tmp_path, monkeypatch, encoder):
    monkeypatch.setattr(video_writer, "ENCODERS", ("no_such_encoder", encoder))
    writer = OverlayWriter(tmp_path / "overlay.mp4", fps=24000 / 1001)
    for index in range(3):
        writer.add(drawn(index, time=index * 1001 / 24000))
    writer.close()
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ({"libx264": "h264"}.get(encoder, encoder), "yuv420p")
        assert next(container.decode(video=0)).colorspace == (video_writer.BT_601 if encoder == "libx264" else 2)
    frames = read_video(tmp_path / "overlay.mp4")
    assert [frame.time for frame in frames] == pytest.approx([0, 1001 / 24000, 2002 / 24000], abs=2e-5)
    assert [number_of(frame.pixels[40:, :20]) for frame in frames] == [0, 1, 2]


def test_one_frame_is_a_video(tmp_path):
    writer = OverlayWriter(tmp_path / "overlay.mp4")
    writer.add(drawn(0))
    writer.close()
    assert len(read_video(tmp_path / "overlay.mp4")) == 1


def test_an_overlay_needs_images_in_order_of_time(tmp_path):
    writer = OverlayWriter(tmp_path / "overlay.mp4")
    writer.add(drawn(3))
    with pytest.raises(InputError, match="frame 3 does not come after the one before"):
        writer.add(drawn(3))
    with pytest.raises(InputError, match="the result of frame 4 holds no image"):
        writer.add(result(4))
    writer.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [12, 5])
def test_the_sound_is_copied_up_to_the_last_frame(tmp_path, count):
    path = write_video(tmp_path / "a.mp4", count=12, audio=1.2)
    writer = OverlayWriter(tmp_path / "overlay.mp4", 10.0, path)
    for frame in read_video(path)[:count]:
        writer.add(result(frame.index, time=frame.time, image=frame.pixels))
    writer.close()
    before, after = sound_of(path), sound_of(tmp_path / "overlay.mp4")
    kept = [packet for packet in before if packet[0] < count / 10]
    assert kept
    assert [data for _, data in after] == [data for _, data in kept if _ >= 0]
    assert [begin for begin, _ in after] == pytest.approx([begin for begin, _ in kept if begin >= 0], abs=1e-3)
    assert (len(kept) < len(before)) == (count < 12)


def test_of_a_stretch_there_is_its_sound(tmp_path):
    path = write_video(tmp_path / "a.mp4", count=12, audio=1.2)
    writer = OverlayWriter(tmp_path / "overlay.mp4", 10.0, path)
    for frame in read_video(path)[5:9]:
        writer.add(result(frame.index, time=frame.time, image=frame.pixels))
    writer.close()
    kept = [packet for packet in sound_of(path) if 0.5 <= packet[0] < 0.9]
    made = sound_of(tmp_path / "overlay.mp4")
    assert [data for _, data in made] == [data for _, data in kept]
    assert [begin for begin, _ in made] == pytest.approx([begin - 0.5 for begin, _ in kept], abs=1e-3)
    assert writer.notes == []
    assert leftovers(tmp_path) == []


def test_without_sound_there_is_none_and_no_note(tmp_path):
    writer = OverlayWriter(tmp_path / "overlay.mp4", 10.0, write_video(tmp_path / "b.mp4"))
    writer.add(drawn(0))
    writer.close()
    assert sound_of(tmp_path / "overlay.mp4") == []
    assert writer.notes == []


def odd_title(data):
    return data.replace(b"cafXX", b"caf\xe9!")


def unknown_codec(data):
    place, other = data.index(b"mp4a"), data.index(b"esds")
    data = data[:place] + b"apac" + data[place + 4 :]
    return data[:other] + b"dapa" + data[other + 4 :]


def joined(data):
    return data + data


def noise(data):
    packets, random = len(data) // 188, np.random.default_rng(0)
    data = bytearray(data)
    for each in range(packets // 2, packets // 2 + 10):
        data[each * 188 + 5 : (each + 1) * 188] = random.integers(0, 256, 183, dtype=np.uint8).tobytes()
    return bytes(data)


@pytest.mark.parametrize(
    ("name", "damage", "noted"),
    [("a.mkv", odd_title, False), ("a.mov", unknown_codec, True), ("a.ts", joined, True), ("a.ts", noise, None)],
    ids=["title", "codec", "joined", "noise"],
)
def test_sound_never_breaks_the_picture(tmp_path, name, damage, noted):
    path = write_video(tmp_path / name, count=12, audio=1.2, title="cafXX")
    path.write_bytes(damage(path.read_bytes()))
    writer, frames = OverlayWriter(tmp_path / "overlay.mp4", 10.0, path), read_video(path)
    for frame in frames:
        writer.add(result(frame.index, time=frame.time, image=frame.pixels))
    assert writer.close() == [tmp_path / "overlay.mp4"]
    assert len(read_video(tmp_path / "overlay.mp4")) == len(frames) >= 8
    if noted is not None:
        assert bool(writer.notes) == noted
    assert all(note.startswith("the sound was left out: ") for note in writer.notes)
    assert bool(sound_of(tmp_path / "overlay.mp4")) != bool(writer.notes)
    assert leftovers(tmp_path) == []


def test_pixels_keep_their_shape_and_a_folder_may_have_a_colon_in_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    writer = OverlayWriter(Path("2026-11-29T10:00") / "overlay.mp4", pixel_aspect=Fraction(2))
    writer.add(drawn(0))
    (made,) = writer.close()
    with open_frames(made) as source:
        assert source.pixel_aspect == 2


def test_sound_that_mp4_cannot_hold_is_left_out_with_a_note(tmp_path):
    path = write_video(tmp_path / "a.asf", codec="mpeg4", audio=1.2, audio_codec="wmav2")
    writer = OverlayWriter(tmp_path / "overlay.mp4", 10.0, path)
    writer.add(drawn(0))
    writer.close()
    assert sound_of(tmp_path / "overlay.mp4") == []
    assert writer.notes == ["the sound was left out: MP4 cannot hold wmav2"]


def test_masks_have_a_folder_for_each_object(tmp_path):
    writer = MaskWriter(tmp_path / "masks")
    writer.add(result(0, ids=(1,)))
    writer.add(result(2, ids=(1, 4)))
    assert list(tmp_path.glob("masks")) == []
    writer.close()
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    assert found == ["masks/001-dog/000000.png", "masks/001-dog/000002.png", "masks/004-dog/000002.png"]
    mask = Image.open(tmp_path / found[2])
    assert mask.mode == "1"
    np.testing.assert_array_equal(mask.convert("L"), rectangle(SIZE, 30, 20, 50, 40) * np.uint8(255))
    objects = json.loads((tmp_path / "masks" / "objects.json").read_text())
    assert objects == [{"id": number, "name": "dog", "folder": f"00{number}-dog"} for number in (1, 4)]


def test_davis_pictures_are_indexed(tmp_path):
    writer = DavisWriter(tmp_path / "davis")
    for each in (result(0, ids=()), result(1, ids=(7,))):
        writer.add(each)
    writer.close()
    empty, one = (Image.open(tmp_path / "davis" / name) for name in ("00000.png", "00001.png"))
    assert (one.mode, one.size, (one.getpalette() or [])[:6]) == ("P", (64, 48), [0, 0, 0, 128, 0, 0])
    assert np.asarray(empty).max() == 0
    np.testing.assert_array_equal(np.asarray(one), rectangle(SIZE, 30, 20, 50, 40))
    assert json.loads((tmp_path / "davis" / "objects.json").read_text()) == [{"index": 1, "id": 7, "name": "dog"}]


def test_an_older_result_stays_until_the_new_one_is_whole(tmp_path):
    for index in (0, 5):
        writer = DavisWriter(tmp_path / "davis")
        writer.add(result(index))
        if index == 5:
            assert (tmp_path / "davis" / "00000.png").exists()
        writer.close()
    assert sorted(path.name for path in (tmp_path / "davis").iterdir()) == ["00005.png", "objects.json"]
    failed = DavisWriter(tmp_path / "davis")
    failed.add(result(9))
    failed.discard()
    assert (tmp_path / "davis" / "00005.png").exists()
    assert leftovers(tmp_path) == []


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "mine.png").touch()
    with pytest.raises(InputError, match="exists and was not written by masklet"):
        MaskWriter(tmp_path / "masks")


def test_what_a_killed_run_left_is_written_over(tmp_path):
    (tmp_path / ".davis.part").mkdir()
    (tmp_path / ".davis.part" / "00099.png").touch()
    (tmp_path / ".mot.txt.part").write_text("half a li")
    for writer in (DavisWriter(tmp_path / "davis"), MotWriter(tmp_path / "mot.txt")):
        writer.add(result(0))
        writer.close()
    assert leftovers(tmp_path) == []
    assert (tmp_path / "mot.txt").read_text() == "1,2,31,21,20,20,0.9000,-1,-1,-1\n"
    assert not (tmp_path / "davis" / "00099.png").exists()


def test_of_no_frame_nothing_is_made(tmp_path):
    journal = tmp_path / "frames.jsonl"
    for writer in (
        OverlayWriter(tmp_path / "overlay.mp4"),
        MaskWriter(tmp_path / "masks"),
        DavisWriter(tmp_path / "davis"),
        MotWriter(tmp_path / "mot.txt"),
        YtvisWriter(tmp_path / "ytvis.json", journal, "a"),
    ):
        assert writer.close() == []
        writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_so(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = DavisWriter(tmp_path / "davis")
    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(InputError, match=r"cannot write .*davis: the disk is full"):
        writer.add(result(0))
    writer.discard()
    other = MotWriter(tmp_path / "mot.txt")
    other.add(result(0))
    monkeypatch.setattr(type(other._beside), "replace", full)
    with pytest.raises(InputError, match=r"cannot write .*mot.txt: the disk is full"):
        other.close()
    other.discard()
    assert list(tmp_path.iterdir()) == []


def test_every_format_can_be_made_from_the_journal(tmp_path):
    path = write_video(tmp_path / "a.mp4", audio=1.0)
    with open_frames(path) as source:
        write(
            tmp_path / "out" / "frames.jsonl", [result(each.index, time=each.time) for each in source.frames(0, 9, 2)]
        )
        formats = ("overlay", "masks", "ytvis", "mot", "davis", "json")
        made = export(tmp_path / "out" / "frames.jsonl", tmp_path / "out", formats, source)
    assert [each.name for each in made] == ["overlay.mp4", "masks", "ytvis.json", "mot.txt", "davis"]
    assert [number_of(frame.pixels[40:, :20]) for frame in read_video(made[0])] == [0, 2, 4, 6, 8]
    assert sound_of(made[0])
    assert json.loads(made[2].read_text())["videos"][0]["name"] == "a.mp4"
    assert len(made[3].read_text().splitlines()) == 5


def test_a_failed_export_leaves_nothing_behind(tmp_path):
    with open_frames([picture(0)] * 3) as source:
        write(tmp_path / "frames.jsonl", [result(0), result(5)])
        with pytest.raises(InputError, match="the list has no frame 5"):
            export(tmp_path / "frames.jsonl", tmp_path / "out", ["davis", "overlay"], source)
    assert list((tmp_path / "out").iterdir()) == []


def test_images_come_with_the_results_or_else_from_the_source(tmp_path):
    own = np.zeros((*SIZE, 3), dtype=np.uint8)
    with open_frames(write_video(tmp_path / "a.mp4")) as source:
        pictures = [each.image for each in with_images([result(2), result(3, image=own), result(7)], source)]
        assert [number_of(each) for each in pictures if each is not None] == [2, -1, 7]
        with pytest.raises(InputError, match="no frame 1, or not in this order"):
            list(with_images([result(2), result(1)], source))
        assert list(open_writers(["json"], tmp_path, tmp_path / "frames.jsonl", source)) == []


def test_the_names_of_frames_are_kept_and_read_back(tmp_path):
    names = ["00000.jpg", "00005.jpg", "b 10.jpg"]
    images, labels = tmp_path / "images" / "clip", tmp_path / "labels"
    images.mkdir(parents=True)
    for number, name in enumerate(names):
        Image.fromarray(picture(number)).save(images / name)
    with open_frames(images) as source:
        assert source.file_names == tuple(names)
        write(tmp_path / "frames.jsonl", [result(0), result(2)])
        made = export(tmp_path / "frames.jsonl", labels, ["davis", "masks", "ytvis", "mot"], source)
    assert {path.name for path in made} == {"davis", "masks", "ytvis.json", "mot.txt", "mot_frames.json"}
    stems = {"00000.png", "b 10.png"}
    assert {path.name for path in (labels / "davis").glob("*.png")} == stems
    assert {path.name for path in (labels / "masks" / "001-dog").glob("*.png")} == stems
    numbers = {int(line.split(",")[0]) for line in (labels / "mot.txt").read_text().splitlines()}
    files = json.loads((labels / "mot_frames.json").read_text())
    assert files == {"1": "00000.jpg", "3": "b 10.jpg"}
    assert {int(each) for each in files} == numbers
    boxes = read_any(LabelFiles(labels=labels / "mot.txt"), find_image(labels / "mot.txt", images))
    assert [each.file_name for each in boxes.images.values()] == ["00000.jpg", "b 10.jpg"]
    tracked = read_any(LabelFiles(labels=labels / "masks", images=images), find_image(labels / "masks", images))
    assert [each.file_name for each in tracked.images.values()] == ["00000.jpg", "b 10.jpg"]
    assert {tracked.categories[each.category_id].name for each in tracked.annotations} == {"dog"}
    assert {each.track_id for each in tracked.annotations} == {1}
    found = decode_mask(tracked.annotations[0].segmentation, SIZE)
    np.testing.assert_array_equal(found, result(0).mask(0))
    (labels / "davis").rename(labels / "clip")
    videos = DavisVideos(labels, tmp_path / "images", QueryConfig())
    assert [videos.name(0, frame) for frame in range(2)] == ["clip/00000", "clip/b 10"]
    assert len(videos.frames(0, [0, 1], np.random.default_rng(0))) == 2
    other = YtvisVideos(labels / "ytvis.json", images, QueryConfig())
    assert [other.name(0, frame) for frame in range(2)] == ["00000.jpg", "b 10.jpg"]
    frames = other.frames(0, [0, 1], np.random.default_rng(0))
    assert [number_of(frame.image) for frame in frames] == [0, 2]


def test_the_source_is_never_replaced(tmp_path):
    (tmp_path / "masks" / "clip").mkdir(parents=True)
    (tmp_path / "masks" / "objects.json").write_text("[]")  # as if an earlier run had written it
    Image.fromarray(picture(0)).save(tmp_path / "masks" / "clip" / "0.png")
    overlay = write_video(tmp_path / "overlay.mp4")
    (tmp_path / "link.mp4").symlink_to(overlay)
    (tmp_path / "other").mkdir()
    os.link(overlay, tmp_path / "other" / "overlay.mp4")
    for place, source, name in (
        (tmp_path, overlay, "overlay"),
        (tmp_path, tmp_path / "link.mp4", "overlay"),
        (tmp_path / "other", overlay, "overlay"),
        (tmp_path, tmp_path / "masks" / "clip", "masks"),
        (tmp_path, tmp_path / "masks" / "clip" / "0.png", "masks"),
    ):
        with pytest.raises(InputError, match="would replace the video itself"), open_frames(source) as opened:
            open_writers([name], place, place / "frames.jsonl", opened)
    assert overlay.exists()
