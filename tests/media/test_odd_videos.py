"""Videos as the world has them: cut, joined, animated, oddly named, with covers, gaps, alpha and long pixels."""

import os
from contextlib import suppress
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image
from video_files import QUARTER_TURN, number_of, picture, set_matrix, write_frames, write_video

from masklet.errors import InputError
from masklet.media import video_reader
from masklet.media.video_reader import PacketEntry, rising_times
from masklet.media.video_source import open_frames


def numbers(found):
    return [number_of(frame.pixels) for frame in found]


# --- cut and joined -----------------------------------------------------------------------------------------------


def test_of_a_video_cut_without_encoding_every_frame_that_is_shown_is_there(tmp_path):
    """The lead-in from the last key frame is in the file, and an edit list hides it."""
    path = write_video(tmp_path / "long.mp4", count=14, gop=6, b_frames=0)
    with av.open(str(path)) as whole, av.open(str(tmp_path / "cut.mp4"), "w") as cut:
        stream = cut.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.size:
                packet.pts, packet.dts = (stamp - round(0.2 / packet.time_base) for stamp in (packet.pts, packet.dts))
                packet.stream = stream
                cut.mux(packet)
    with open_frames(tmp_path / "cut.mp4") as source:
        seen = list(source.frames())
        assert numbers(seen) == list(range(2, 14))
        assert source.num_frames == 12
        assert [frame.time for frame in seen] == pytest.approx(np.arange(12) / 10, abs=1e-6)
        assert numbers(source.frames(reverse=True)) == list(range(13, 1, -1))
        assert number_of(source.read(7).pixels) == 9
        assert source.warnings == []


@pytest.mark.parametrize("suffix", ["ts", "mpg"])
def test_joined_recordings_are_one_after_the_other(tmp_path, suffix):
    codec = {"ts": "libx264", "mpg": "mpeg2video"}[suffix]
    data = write_video(tmp_path / f"a.{suffix}", codec=codec, count=12, b_frames=0).read_bytes()
    path = tmp_path / f"both.{suffix}"
    path.write_bytes(data + data)
    with open_frames(path) as source:
        seen = list(source.frames())
        assert source.num_frames == len(seen) >= 23  # a decoder may need the frame after the last one
        assert numbers(seen)[:12] == list(range(12))
        assert numbers(seen)[-11:] == list(range(1, 12))
        assert (np.diff([frame.time for frame in seen]) > 0).all()
        assert seen[-1].time - seen[0].time == pytest.approx((len(seen) - 1) / 10, abs=0.15)
        assert numbers(source.frames(reverse=True)) == numbers(seen)[::-1]


def test_times_rise_whatever_the_stamps_do():
    assert rising_times([0.0, 0.1, 0.2, 0.0, 0.1], 0.1) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert rising_times([0.0, 0.1, 0.1, 0.2], 0.1) == pytest.approx([0, 0.1, 0.101, 0.2])
    assert rising_times([5.0, 5.5], 0.1) == pytest.approx([5, 5.5])


def test_lost_frames_are_counted_aloud(tmp_path):
    noise = np.random.default_rng(1).integers(0, 255, (40, 96, 128, 3), dtype=np.uint8)
    path = write_frames(tmp_path / "a.ts", "mpeg2video", list(noise), rate=25)
    data = bytearray(path.read_bytes())
    packets, random = len(data) // 188, np.random.default_rng(0)
    for place in range(packets // 2, packets // 2 + 20):
        data[place * 188 + 5 : (place + 1) * 188] = random.integers(0, 256, 183, dtype=np.uint8).tobytes()
    path.write_bytes(data)
    with open_frames(path) as source:
        seen = list(source.frames())
        assert 20 < len(seen) < 40
        assert source.warnings == [
            f"{path} is damaged or cut short: what can be decoded of it is used; "
            f"{40 - len(seen)} frames so far could not be, or only in part"
        ]


# --- frames that are none -----------------------------------------------------------------------------------------


def test_gaps_of_an_avi_file_are_no_frames_and_no_damage(tmp_path):
    images = [picture(number) for number in range(6)]
    path = write_frames(tmp_path / "a.avi", "mjpeg", images, pix_fmt="yuvj420p", places=[0, 1, 2, 9, 10, 11])
    with open_frames(path) as source:
        seen = list(source.frames())
        assert (numbers(seen), source.num_frames, source.warnings) == ([0, 1, 2, 3, 4, 5], 6, [])
        assert [frame.time for frame in seen] == pytest.approx([0, 0.1, 0.2, 0.9, 1.0, 1.1], abs=1e-6)


def test_frames_of_vp8_that_are_not_shown_are_not_counted():
    shown, hidden = av.Packet(b"\x10\x00\x00"), av.Packet(b"\x00\x00\x00")
    assert [PacketEntry.of(packet, "vp8").is_shown for packet in (shown, hidden)] == [True, False]
    assert PacketEntry.of(hidden, "vp9").is_shown


def test_a_video_whose_index_leads_nowhere_is_decoded_from_its_start(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", count=9, gop=3, b_frames=0)

    def fail(*_):
        return False

    monkeypatch.setattr(video_reader, "_seek", fail)
    with open_frames(path) as source:
        assert number_of(source.read(7).pixels) == 7
        assert numbers(source.frames(reverse=True)) == list(range(8, -1, -1))


def test_the_cover_of_a_video_is_not_the_video(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        cover, video = container.add_stream("mjpeg", rate=10), container.add_stream("libx264", rate=10)
        for stream in (cover, video):
            stream.height, stream.width = 48, 64
        cover.pix_fmt, video.pix_fmt = "yuvj420p", "yuv420p"
        frames = [av.VideoFrame.from_ndarray(picture(number), format="rgb24") for number in range(8)]
        container.mux(cover.encode(frames[0]))
        container.mux(cover.encode())
        for frame in frames:
            container.mux(video.encode(frame))
        container.mux(video.encode())
    with open_frames(tmp_path / "a.mkv") as source:
        assert numbers(source.frames()) == list(range(8))


def test_the_cover_of_a_song_is_no_video(tmp_path):
    with av.open(str(tmp_path / "song.m4a"), "w", format="mp4") as container:
        cover = container.add_stream("mjpeg", rate=10)
        cover.height, cover.width, cover.pix_fmt = 48, 64, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(picture(0), format="rgb24")))
        container.mux(cover.encode())
    with pytest.raises(InputError, match="has no video stream"):
        open_frames(tmp_path / "song.m4a")


# --- what frames look like ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["png", "apng", "webp", "gif"])
def test_an_animated_image_is_all_its_frames(tmp_path, kind):
    images = [Image.fromarray(picture(number)) for number in range(5)]
    path = tmp_path / f"a.{kind}"
    options = {"format": "PNG"} if kind == "apng" else {"lossless": True} if kind == "webp" else {}
    images[0].save(path, save_all=True, append_images=images[1:], duration=80, **options)
    with open_frames(path) as source:
        seen = list(source.frames())
        assert (source.num_frames, source.size, source.seekable) == (5, (48, 64), True)
        assert [frame.time for frame in seen] == pytest.approx(np.arange(5) * 0.08, abs=1e-6)
        if kind != "gif":  # which has few greys
            assert numbers(seen) == list(range(5))
            assert numbers(source.frames(1, 5, 2, reverse=True)) == [3, 1]
            assert number_of(source.read(4).pixels) == 4
    images[0].save(tmp_path / "still.png")
    assert open_frames(tmp_path / "still.png").num_frames == 1


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_an_animation_cut_short_is_read_up_to_there(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 255, (6, 48, 64, 3), dtype=np.uint8)
    images, path = [Image.fromarray(each) for each in noise], tmp_path / f"a.{kind}"
    images[0].save(path, save_all=True, append_images=images[1:], duration=80)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with suppress(InputError), open_frames(path) as source:
        assert len(list(source.frames())) == source.num_frames
        assert source.num_frames == 1 or source.warnings


def test_transparent_frames_lie_over_white_as_images_do(tmp_path):
    clear = np.zeros((48, 64, 4), dtype=np.uint8)
    clear[:, 32:] = (200, 10, 10, 255)
    Image.fromarray(clear).save(tmp_path / "still.png")
    video = write_frames(tmp_path / "a.mov", "png", [clear, clear], pix_fmt="rgba")
    images = [Image.fromarray(clear), Image.fromarray(np.roll(clear, 8, axis=1))]
    images[0].save(tmp_path / "a.webp", save_all=True, append_images=images[1:], lossless=True)
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], disposal=2)
    expected = open_frames(tmp_path / "still.png").read(0).pixels
    assert expected[0, 0].tolist() == [255, 255, 255]
    for path in (video, tmp_path / "a.webp", tmp_path / "a.gif"):
        with open_frames(path) as source:
            np.testing.assert_allclose(source.read(0).pixels.astype(int), expected, atol=3)


def test_the_shape_of_a_pixel_is_known_and_turns_with_the_image(tmp_path):
    path = write_frames(tmp_path / "a.mp4", "libx264", [picture(0), picture(1)], aspect=Fraction(2))
    assert open_frames(path).pixel_aspect == 2
    set_matrix(path, QUARTER_TURN)
    assert open_frames(path).pixel_aspect == Fraction(1, 2)
    assert open_frames(write_video(tmp_path / "b.mp4")).pixel_aspect == 1
    assert open_frames([picture(0)]).pixel_aspect == 1


# --- names --------------------------------------------------------------------------------------------------------


def test_a_name_may_hold_a_colon_and_a_name_that_is_too_long_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.rename(write_video(tmp_path / "a.mp4"), "12:30.mp4")
    with open_frames("12:30.mp4") as source:
        assert (source.num_frames, source.name) == (12, "12:30.mp4")
    with pytest.raises(InputError, match=r"^cannot read y{40}\.\.\.: File name too long$"):
        open_frames("y" * 300 + ".mp4")


def test_addresses_and_pipes_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for source, sentence in {
        "rtsp://192.0.2.1/stream": "is an address: save the video as a file",
        "https://example.org/a.mp4": "is an address",
        tmp_path / "pipe": "is a pipe or a device",
        "/dev/null": "is a pipe or a device",
    }.items():
        with pytest.raises(InputError, match=sentence):
            open_frames(source)


def test_frames_from_files_keep_their_names(tmp_path):
    for name in ("b10.png", "b9.png", "a.png"):
        Image.fromarray(picture(0)).save(tmp_path / name)
    (tmp_path / ".b1.png").write_bytes(b"hidden")
    (tmp_path / "._b9.png").write_bytes(b"hidden")
    assert open_frames(tmp_path).file_names == ("a.png", "b9.png", "b10.png")
    assert open_frames([tmp_path / "b9.png", tmp_path / "a.png"]).file_names == ("b9.png", "a.png")
    assert open_frames([tmp_path / "a.png"] * 2).file_names is None
    assert open_frames([picture(0), tmp_path / "a.png"]).file_names is None
