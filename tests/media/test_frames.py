import itertools
import sys
from contextlib import contextmanager
from unittest.mock import Mock

import av
import numpy as np
import pytest
from av.container import InputContainer
from PIL import Image
from video_files import (
    COUNTER_TURN,
    HALF_TURN,
    MIRRORED,
    QUARTER_TURN,
    number_of,
    picture,
    set_matrix,
    write_video,
)

from masklet.errors import InputError
from masklet.media import frames, video_reader
from masklet.media.frames import Stream
from masklet.media.video_source import open_frames

KINDS = [
    ("a.mp4", "libx264"),
    ("a.mov", "mpeg4"),
    ("a.mkv", "libx264"),
    ("a.webm", "libvpx-vp9"),
    ("a.ts", "libx264"),
    ("a.mpg", "mpeg2video"),
    ("a.gif", "gif"),
    ("reordered.avi", "libx264"),  # the container's own time stamps are wrong
    ("bare.h264", "libx264"),  # and here there are none
]


def numbers(found):
    return [number_of(frame.pixels) for frame in found]


def indices(found):
    return [frame.index for frame in found]


@pytest.mark.parametrize(("name", "codec"), KINDS)
def test_a_frame_has_the_same_number_whichever_way_it_is_reached(tmp_path, name, codec):
    b_frames = 0 if codec in ("gif", "libvpx-vp9") else 2
    with open_frames(write_video(tmp_path / name, codec=codec, b_frames=b_frames)) as source:
        assert (source.num_frames, source.size, source.seekable, source.warnings) == (12, (48, 64), True, [])
        forward = list(source.frames())
        assert indices(forward) == list(range(12))
        if codec != "gif":  # which has few greys
            assert numbers(forward) == list(range(12))
        times = [frame.time for frame in forward]
        assert np.diff(times) == pytest.approx([0.04 if name == "bare.h264" else 0.1] * 11)
        others = [*source.frames(reverse=True), *source.frames(7), *map(source.read, (8, 1, 11, 0, 6))]
        assert indices(others) == [*range(11, -1, -1), *range(7, 12), 8, 1, 11, 0, 6]
        for frame in others:
            np.testing.assert_array_equal(frame.pixels, forward[frame.index].pixels)
            assert frame.time == times[frame.index]


def test_a_range_counts_from_its_start_and_backwards_it_is_the_same_frames(tmp_path):
    with open_frames(write_video(tmp_path / "a.mp4")) as source:
        assert indices(source.frames(2, 11, 4)) == [2, 6, 10]
        assert indices(source.frames(2, 11, 4, reverse=True)) == [10, 6, 2]
        assert indices(source.frames(3, 3)) == []
        assert indices(source.frames(10, 99)) == [10, 11]
        assert indices(source.frames(10, 99, reverse=True)) == [11, 10]
        assert indices(source.frames(40)) == indices(source.frames(40, reverse=True)) == []


@pytest.mark.parametrize("room", [1, 3])
def test_going_back_holds_no_more_than_the_buffer_allows(tmp_path, monkeypatch, room):
    path = write_video(tmp_path / "a.mp4", gop=12)
    monkeypatch.setattr(video_reader, "BUFFER_BYTES", room * 48 * 64 * 3)
    alive, most = 0, 0
    convert = video_reader._upright_pixels

    def counted(decoded):
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        return convert(decoded)

    monkeypatch.setattr(video_reader, "_upright_pixels", counted)
    with open_frames(path) as source:
        seen = []
        for frame in source.frames(reverse=True):
            seen.append(number_of(frame.pixels))
            alive -= 1
    assert seen == list(range(11, -1, -1))
    assert most == room


def test_seeking_decodes_from_the_nearest_key_frame(tmp_path):
    path = write_video(tmp_path / "a.mp4", count=12, gop=5)
    with open_frames(path) as source:
        assert isinstance(source, video_reader.VideoFile)
        assert number_of(source.read(11).pixels) == 11
        decoded = [picture.pts for picture in source._images(11)]
        key = source._index.keys[-1]
        assert source._index.stamps is not None
        assert decoded == source._index.stamps[key:].tolist()
    assert 6 <= key <= 11


def test_times_of_a_variable_frame_rate_are_those_of_the_file(tmp_path):
    times = [0, 0.04, 0.08, 0.5, 1.25, 1.251]
    with open_frames(write_video(tmp_path / "a.mkv", count=6, times=times, b_frames=0)) as source:
        assert [frame.time for frame in source.frames()] == pytest.approx(times, abs=1e-9)
        assert source.read(4).time == pytest.approx(1.25, abs=1e-9)


@pytest.mark.parametrize(
    ("matrix", "corner", "size"),
    [
        (QUARTER_TURN, (0, -1), (64, 48)),
        (HALF_TURN, (-1, -1), (48, 64)),
        (COUNTER_TURN, (-1, 0), (64, 48)),
        (MIRRORED, (0, -1), (48, 64)),
    ],
)
def test_frames_are_upright(tmp_path, matrix, corner, size):
    path = write_video(tmp_path / "a.mp4", count=2)
    set_matrix(path, matrix)
    with open_frames(path) as source:
        assert source.size == size
        for frame in (source.read(1), *source.frames()):
            assert frame.pixels.shape == (*size, 3)
            reds = {place for place in ((0, 0), (0, -1), (-1, 0), (-1, -1)) if frame.pixels[place][0] > 200}
            assert reds == {corner}


def test_odd_sizes_and_a_single_frame(tmp_path):
    with open_frames(write_video(tmp_path / "a.mp4", count=1, size=(35, 51))) as source:
        assert (source.size, source.num_frames, source.fps) == ((35, 51), 1, 10.0)
        assert numbers(source.frames()) == numbers(source.frames(reverse=True)) == [0]
        with pytest.raises(InputError, match=r"a.mp4 has no frame 1$"):
            source.read(1)


@pytest.mark.parametrize(
    ("name", "options", "warned"),
    [("a.mp4", {"movflags": "faststart"}, True), ("a.ts", {}, False)],  # only the first says how long it should be
)
def test_of_a_file_cut_short_the_rest_is_read(tmp_path, name, options, warned):
    path = write_video(tmp_path / name, count=12, size=(240, 320), muxing=options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 4 // 5])
    with open_frames(path) as source:
        seen = numbers(source.frames())
        assert seen == list(range(len(seen)))
        assert 0 < len(seen) < 12
        assert numbers(source.frames(reverse=True)) == seen[::-1]
        sentence = (
            f"{path} is damaged or cut short: what can be decoded of it is used; "
            f"{12 - len(seen)} frames so far could not be, or only in part"
        )
        assert source.warnings == [sentence] * warned


def test_a_header_cut_short_is_no_video(tmp_path):
    path = write_video(tmp_path / "a.mp4", count=12)
    whole = path.read_bytes()
    for share in range(1, 10):
        path.write_bytes(whole[: len(whole) * share // 10])
        with pytest.raises(InputError, match=r"damaged|no video stream"):
            open_frames(path)


def test_damage_in_the_middle_costs_its_frames_and_no_number(tmp_path):
    path = write_video(tmp_path / "a.mp4", count=12, gop=3, b_frames=0)
    with av.open(str(path)) as container:
        places = {packet.pts: (packet.pos, packet.size) for packet in container.demux(video=0) if packet.size}
    position, size = places[sorted(places)[6]]
    data = bytearray(path.read_bytes())
    data[position : position + size] = b"\xff" * size
    path.write_bytes(data)
    with open_frames(path) as source:
        assert source.num_frames == 12
        seen = list(source.frames())
        assert [frame.index for frame in seen if number_of(frame.pixels) == frame.index][-3:] == [9, 10, 11]
        assert numbers(seen)[:6] == [0, 1, 2, 3, 4, 5]
        assert len(source.warnings) == 1


def test_what_is_no_video_is_said_in_one_sentence(tmp_path):
    (tmp_path / "text.mp4").write_text("this is no video, whatever its name says")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "none").mkdir()
    with av.open(str(tmp_path / "tone.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono")
        tone.sample_rate = 8000
        container.mux([*stream.encode(tone), *stream.encode()])
    for name, sentence in {
        "text.mp4": "is not a video, or is damaged from its beginning",
        "empty.mp4": r"is empty \(0 bytes\)",
        "gone.mp4": "no such file: .*gone.mp4",
        "none": "no images in .*none",
        "tone.wav": "has no video stream",
        "a\0b.mp4": "not a file name",
    }.items():
        with pytest.raises(InputError, match=sentence) as caught:
            open_frames(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="cannot read frames from bool"):
        open_frames(True)  # noqa: FBT003 - which is an int, but no camera


def test_a_video_without_a_frame_that_can_be_decoded_is_refused(tmp_path):
    path = write_video(tmp_path / "a.mp4", count=1)
    with av.open(str(path)) as container:
        packet = next(each for each in container.demux(video=0) if each.size)
        position, size = packet.pos, packet.size
    data = bytearray(path.read_bytes())
    assert position is not None
    data[position : position + size] = b"\xff" * size
    path.write_bytes(data)
    with pytest.raises(InputError, match="holds no frame that can be decoded"):
        open_frames(path)


def test_what_comes_before_the_first_key_frame_is_not_counted(tmp_path):
    """As in a broadcast that is recorded from somewhere in the middle."""
    path = write_video(tmp_path / "a.mp4", count=15, gop=6)
    with av.open(str(path)) as whole, av.open(str(tmp_path / "cut.ts"), "w") as cut:
        stream = cut.add_stream_from_template(whole.streams.video[0])
        for packet in list(whole.demux(video=0))[2:]:
            if packet.size:
                packet.stream = stream
                cut.mux(packet)
    with open_frames(tmp_path / "cut.ts") as source:
        seen = list(source.frames())
        assert indices(seen) == list(range(len(seen))) == list(range(source.num_frames or 0))
        first = number_of(seen[0].pixels)
        assert 2 < first < 8
        assert numbers(seen) == list(range(first, 15))
        assert numbers(source.frames(reverse=True)) == list(range(14, first - 1, -1))


def test_a_container_that_breaks_off_is_read_up_to_there(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", count=12, b_frames=0)
    with open_frames(path) as source:
        assert isinstance(source, video_reader.VideoFile)
        opened = source._opened

    def until_it_breaks(packets):
        yield from itertools.islice(packets, 8)
        raise av.error.InvalidDataError(1, "broken off")

    @contextmanager
    def broken():
        with opened() as (container, stream):
            breaking = Mock(spec=InputContainer, format=container.format, seek=container.seek)
            breaking.demux = lambda wanted: until_it_breaks(container.demux(wanted))
            yield breaking, stream

    with open_frames(path) as source:
        monkeypatch.setattr(source, "_opened", broken)
        assert numbers(source.frames()) == list(range(8))
        assert numbers(source.frames(reverse=True)) == list(range(7, -1, -1))
        assert (source.num_frames, len(source.warnings)) == (8, 1)


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".mp4", ".webm", ".avi", ".mpg"])
def test_damage_anywhere_gives_frames_in_order_or_one_sentence(tmp_path, suffix):
    codec = {".webm": "libvpx-vp9", ".avi": "mpeg4", ".mpg": "mpeg2video"}.get(suffix, "libx264")
    whole = write_video(tmp_path / f"a{suffix}", codec=codec, b_frames=0).read_bytes()
    random = np.random.default_rng(3)
    refused = []
    for _ in range(12):
        data = np.frombuffer(whole, dtype=np.uint8).copy()
        places = random.integers(0, len(data), 12)
        data[places] = random.integers(0, 256, 12)
        path = tmp_path / f"damaged{suffix}"
        path.write_bytes(data.tobytes())
        try:
            with open_frames(path) as source:
                for found in (indices(source.frames()), indices(source.frames(reverse=True))[::-1]):
                    assert found == sorted(set(found))
                    assert set(found) <= set(range(source.num_frames or 0))
        except InputError as error:
            refused.append(str(error))
    assert not any("\n" in sentence for sentence in refused)
    assert len(refused) < 12


def test_a_file_that_may_not_be_read_is_said_so(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", count=1)

    def refuse(*_, **__):
        raise av.error.PermissionError(13, "Permission denied")

    monkeypatch.setattr(video_reader.av, "open", refuse)
    with pytest.raises(InputError, match=r"no permission to read .*a.mp4"):
        open_frames(path)


def test_huge_frames_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4")
    monkeypatch.setattr("masklet.media.images.MAX_PIXELS", 1000)
    with pytest.raises(InputError, match="too large: 64 x 48 pixels"):
        open_frames(path)


def test_a_video_that_changes_its_size_ends_there(tmp_path):
    first, second = write_video(tmp_path / "a.h264"), write_video(tmp_path / "b.h264", size=(32, 32))
    (tmp_path / "both.h264").write_bytes(first.read_bytes() + second.read_bytes())
    with open_frames(tmp_path / "both.h264") as source:
        seen = source.frames()
        assert numbers(itertools.islice(seen, 12)) == list(range(12))
        with pytest.raises(InputError, match=r"frame 12 of .* is 32 x 32 pixels, but the first one is 64 x 48"):
            next(seen)


def test_a_folder_is_read_in_natural_order(tmp_path):
    for number in range(12):
        Image.fromarray(picture(number)).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.png").write_text("no picture")
    with open_frames(tmp_path) as source:
        assert (source.num_frames, source.fps, source.size) == (12, None, (48, 64))
        assert numbers(source.frames()) == list(range(12))
        assert numbers(source.frames(1, 9, 3, reverse=True)) == [7, 4, 1]
        assert source.read(5).time == 5 / frames.ASSUMED_FPS
    with open_frames(str(tmp_path / "frame3.png")) as source:
        assert numbers(source.frames()) == [3]


def test_a_list_and_an_array_are_read_at_random(tmp_path):
    Image.fromarray(picture(1)).save(tmp_path / "1.png")
    with open_frames([picture(0), tmp_path / "1.png", Image.fromarray(picture(2))]) as source:
        assert numbers(source.frames(reverse=True)) == [2, 1, 0]
        assert open_frames(source) is source
    with open_frames(np.stack([picture(0), picture(1)])) as source:
        assert (numbers(source.frames()), source.num_frames) == ([0, 1], 2)
    with pytest.raises(InputError, match=r"an array of shape \[48, 64, 3\] is not a video"):
        open_frames(picture(0))
    with pytest.raises(InputError, match="no images in the list"):
        open_frames([])


def test_a_picture_of_another_size_or_none_at_all_is_named_by_its_number():
    source = open_frames([picture(0), picture(1, (20, 30)), "gone.png"])
    with pytest.raises(InputError, match="frame 1 of the list is 30 x 20 pixels, but the first one is 64 x 48"):
        list(source.frames())
    with pytest.raises(InputError, match="frame 2: no such file"):
        source.read(2)
    with pytest.raises(InputError, match="no frames from -1 to None"):
        source.frames(-1)
    with pytest.raises(InputError, match="in steps of 0"):
        source.frames(step=0)


def test_a_stream_gives_each_frame_once_and_holds_the_last():
    source = open_frames(picture(number) for number in range(6))
    assert (source.size, source.fps, source.num_frames, source.seekable) == ((48, 64), None, None, False)
    assert number_of(source.read(0).pixels) == 0
    assert numbers(source.frames(0, 3)) == [0, 1, 2]
    assert number_of(source.read(2).pixels) == 2
    with pytest.raises(InputError, match="frame 1 of the stream has passed"):
        source.read(1)
    with pytest.raises(InputError, match="cannot be read backwards"):
        source.frames(reverse=True)
    assert source.num_frames is None
    assert indices(source.frames(3, step=2)) == [3, 5]
    assert source.num_frames == 6
    with pytest.raises(InputError, match="has no frame 6"):
        source.read(6)


def test_an_endless_stream_is_pulled_one_frame_at_a_time():
    pulled = 0

    def endless():
        nonlocal pulled
        for number in itertools.count():
            pulled += 1
            yield picture(number % 10)

    source = open_frames(endless())
    assert numbers(itertools.islice(source.frames(), 5)) == [0, 1, 2, 3, 4]
    assert pulled == 5
    source.close()
    assert list(source.frames()) == []


def test_a_stream_of_nothing_or_of_changing_sizes_is_refused():
    with pytest.raises(InputError, match="the stream holds no frames"):
        open_frames(iter([]))
    source = open_frames(iter([picture(0), picture(1, (20, 30))]))
    with pytest.raises(InputError, match="frame 1 of the stream is 30 x 20"):
        list(source.frames())


def test_a_camera_that_is_not_there_is_said_so(monkeypatch):
    with pytest.raises(InputError, match="camera 97 cannot be opened"):
        open_frames(97)
    monkeypatch.setattr(sys, "platform", "plan9")
    with pytest.raises(InputError, match="cameras cannot be read on plan9"):
        open_frames(0)


def test_a_camera_gives_a_stream_whose_time_begins_at_zero(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.ts", count=4)  # whose first time stamp is not zero
    opened = av.open(str(path))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(video_reader.av, "open", lambda name, **_: {"/dev/video2": opened}[name])
    with open_frames(2) as source:
        assert isinstance(source, Stream)
        assert (source.size, source.fps) == ((48, 64), 10.0)
        seen = list(source.frames())
    assert numbers(seen) == [0, 1, 2, 3]
    assert [frame.time for frame in seen] == pytest.approx([0, 0.1, 0.2, 0.3])


def test_cameras_are_named_as_the_system_names_them(monkeypatch):
    found = [Mock(media_types=["audio"]), Mock(media_types=["video"])]
    found[1].name = "Web cam"
    monkeypatch.setitem(sys.modules, "av.device", Mock(enumerate_input_devices=lambda kind: {"dshow": found}[kind]))
    opened = []

    def refuse(name, **options):
        opened.append((name, options))
        raise av.error.OSError(5, "Input/output error")

    monkeypatch.setattr(video_reader.av, "open", refuse)
    for platform, name, kind in (("darwin", "0", "avfoundation"), ("win32", "video=Web cam", "dshow")):
        monkeypatch.setattr(sys, "platform", platform)
        with pytest.raises(InputError, match="camera 0 cannot be opened: Input/output error"):
            open_frames(0)
        assert opened.pop() == (name, {"format": kind})
    with pytest.raises(InputError, match="camera 1 cannot be opened: 1 are connected"):
        open_frames(1)


def test_a_camera_that_is_pulled_out_ends_the_stream_with_a_sentence(tmp_path, monkeypatch):
    with av.open(str(write_video(tmp_path / "a.ts", count=4))) as container:

        def pulled_out(video):
            yield from itertools.islice(container.decode(video=video), 2)
            raise av.error.OSError(19, "No such device")

        opened = Mock(spec=InputContainer, streams=container.streams, decode=pulled_out, close=Mock())
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setattr(video_reader.av, "open", lambda *_, **__: opened)
        with open_frames(0) as source:
            seen = source.frames()
            assert [next(seen).index, next(seen).index] == [0, 1]
            with pytest.raises(InputError, match="camera 0 gives no more frames: No such device"):
                next(seen)
    opened.close.assert_called_once()
