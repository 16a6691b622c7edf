"""`masklet track` with a session that finds a square for every phrase and click, two pixels further on each frame."""

import json
import os
import signal
import sys
from pathlib import Path
from unittest.mock import Mock

import av
import numpy as np
import pytest
import torch
from PIL import Image

import masklet
from masklet import cli
from masklet.checkpoints.weights import Weights, write
from masklet.config import debug
from masklet.errors import InputError
from masklet.inference.video.frame_result import FrameResult
from masklet.media.frames import FrameSource
from masklet.media.video_source import open_frames
from masklet.models.detector import Detector
from masklet.workflows import track_video as track_run

COUNT = 8
SIZE = (40, 60)


class FakeSession:
    def __init__(self, model, source, prompts, position=None):
        assert isinstance(source, FrameSource)
        self.model, self.source, self.prompts, self.position = model, source, prompts, position
        self.open = True

    def add_concept(self, phrase=None, *, boxes=(), frame=None):
        if phrase is not None and len(phrase) > 100:
            raise InputError("the phrase is too long")
        self.prompts.append([phrase or "visual", [list(box) for box in boxes], frame])

    def click(self, object_id, frame, points, labels, *, box=None):
        given = [object_id, frame, [list(point) for point in points], list(labels), *([list(box)] if box else [])]
        self.prompts.append(["", given, frame])

    def track(self, *, start=None, stop=None, step=1):
        assert self.position in (None, start), "a session goes on where it was saved"
        for frame in self.source.frames(start or 0, stop, step):
            if frame.index == self.model.interrupt_at:
                self.model.interrupt_at = None
                os.kill(os.getpid(), signal.SIGINT)
            if frame.index == self.model.crash_at:
                raise self.model.crash
            self.position = frame.index + step
            yield self._result(frame)

    def _result(self, frame):
        logits = torch.full((len(self.prompts), 20, 30), -5.0)
        for row in range(len(self.prompts)):
            logits[row, 5 + row : 12 + row, frame.index : frame.index + 7] = 5
        return FrameResult.of(
            index=frame.index,
            time=frame.time,
            size=frame.size,
            ids=range(len(self.prompts)),
            concepts=[prompt[0] for prompt in self.prompts],
            scores=[0.9] * len(self.prompts),
            object_scores=[0.8] * len(self.prompts),
            mask_logits=logits,
            image=frame.pixels,
        )

    def save(self, path):
        Path(path).write_text(json.dumps({"prompts": self.prompts, "position": self.position}))

    def close(self):
        self.open = False


class FakeModel:
    def __init__(self):
        self.sessions, self.loads, self.delays = [], [], []
        self.interrupt_at = self.crash_at = None
        self.crash = KeyboardInterrupt()

    def open_video(self, source, *, delay=None, calibration=None):
        self.calibration = calibration
        self.delays.append(delay)
        self.sessions.append(FakeSession(self, source, []))
        return self.sessions[-1]

    def resume_video(self, path, source):
        saved = json.loads(Path(path).read_text())
        self.sessions.append(FakeSession(self, source, saved["prompts"], saved["position"]))
        return self.sessions[-1]


@pytest.fixture
def model(monkeypatch, tmp_path):
    fake = FakeModel()

    def load(name_or_path, device="auto", dtype="auto"):
        fake.loads.append((name_or_path, device, dtype))
        if name_or_path == "unknown":
            raise InputError("unknown model 'unknown'")
        return fake

    monkeypatch.setattr(masklet, "load", load, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("clip").mkdir()
    for number in range(COUNT):
        Image.new("RGB", (SIZE[1], SIZE[0]), (20 * number, 0, 0)).save(f"clip/{number}.png")
    return fake


def run(capsys, *arguments):
    status = cli.main(["track", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def journal(folder="out"):
    return [json.loads(line) for line in Path(folder, "frames.jsonl").read_text().splitlines()]


def frames_of(path):
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def make_video(path, count=COUNT):
    with av.open(path, "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width = SIZE
        for _ in range(count):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.zeros((*SIZE, 3), dtype=np.uint8), format="rgb24"))
            )
        container.mux(stream.encode())


def test_a_video_gives_an_overlay_and_a_summary(model, capsys):
    make_video("clip.mp4")
    status, out, err = run(capsys, "clip.mp4", "-p", "dog", "-p", "cat")
    assert (status, err) == (0, "")
    assert out == f"clip.mp4: dog 1, cat 1 -> {Path('out/overlay.mp4')}\n"
    assert frames_of("out/overlay.mp4") == COUNT
    assert [entry["index"] for entry in journal()] == list(range(COUNT))
    assert journal()[0]["concepts"] == ["dog", "cat"]
    assert [session.open for session in model.sessions] == [False]
    assert model.loads == [("tiny", "auto", "auto")]
    assert model.delays == [None]


def test_every_format_is_written(model, capsys):
    formats = "overlay,masks,ytvis,mot,davis,json"
    status, out, _ = run(capsys, "clip", "-p", "dog", "--format", formats, "--out", "there", "--delay", "3")
    assert status == 0
    names = ["overlay.mp4", "masks", "ytvis.json", "mot.txt", "mot_frames.json", "davis", "frames.jsonl"]
    assert out.rstrip().split(" -> ")[1].split(", ") == [str(Path("there", name)) for name in names]
    assert all(Path("there", name).exists() for name in names)
    assert len(list(Path("there/davis").glob("*.png"))) == len(Path("there/mot.txt").read_text().splitlines()) == COUNT
    assert json.loads(Path("there/ytvis.json").read_text())["videos"][0]["length"] == COUNT
    assert model.delays == [3]


def test_json_prints_a_line_for_each_frame_and_nothing_else(model, capsys):
    status, out, err = run(capsys, "clip", "-p", "dog", "--json", "--start", 1, "--stop", 7, "--every", 2)
    assert (status, err) == (0, "")
    entries = [json.loads(line) for line in out.splitlines()]
    assert [entry["index"] for entry in entries] == [1, 3, 5]
    assert FrameResult.from_json(entries[0]).boxes.tolist() == [[2, 10, 16, 24]]
    assert not Path("out").exists()
    assert model.sessions[0].prompts == [["dog", [], 1]]


def test_boxes_and_clicks_reach_the_session(model, capsys):
    boxes = ["--box", "2:1,2,30,20", "--box", "2:5,6,7,8"]
    clicks = ["--click", "1:5,6", "--click", "1:7,8,-", "--click", "1:9,9.5,+", "--click", "3:1,2"]
    assert run(capsys, "clip", "-p", "dog", *boxes, *clicks)[0] == 0
    clicked = [
        ["", [None, 1, [[5, 6], [7, 8], [9, 9.5]], [1, 0, 1]], 1],
        ["", [None, 3, [[1, 2]], [1]], 3],
    ]
    assert model.sessions[0].prompts == [["dog", [[1, 2, 30, 20], [5, 6, 7, 8]], 2], *clicked]
    status, out, _ = run(capsys, "clip", *boxes, "--json")
    assert (status, json.loads(out.splitlines()[0])["concepts"]) == (0, ["visual"])
    status, out, _ = run(capsys, "clip", *clicks, "--out", "clicked")
    assert (status, out) == (0, f"clip: object 2 -> {Path('clicked/overlay.mp4')}\n")


def test_what_is_in_a_box_is_followed_alone(model, capsys):
    assert run(capsys, "clip", "--object", "1:1,2,30,20", "--object", "0:5,6,7,8")[0] == 0
    assert model.sessions[0].prompts == [
        ["", [None, 1, [], [], [1, 2, 30, 20]], 1],
        ["", [None, 0, [], [], [5, 6, 7, 8]], 0],
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["clip"], "nothing to follow"),
        (["clip", "-p", " "], "a phrase is empty"),
        (["clip", "-p", "dog", "--format", "gif"], "unknown format 'gif': choose from overlay, masks, ytvis"),
        (["clip", "-p", "a", "-p", "b", "--box", "0:1,2,3,4"], "example boxes belong to one concept"),
        (["clip", "--box", "1,2,3,4"], "a box begins with the number of its frame, such as 0:1,2,3,4"),
        (["clip", "--box", "x:1,2,3,4"], "a box begins with the number of its frame"),
        (["clip", "--box", "0:1,2,3"], "a box is four numbers"),
        (["clip", "--box", "0:3,2,1,4"], "empty or inverted"),
        (["clip", "--box", "0:1,2,3,4", "--box", "1:1,2,3,4"], "example boxes must lie on one frame"),
        (["clip", "--click", "5,5"], "a click begins with the number of its frame"),
        (["clip", "--click", "0:5"], "a click is FRAME:x,y"),
        (["clip", "--click", "0:5,x"], "a click is FRAME:x,y"),
        (["clip", "--click", "0:5,nan"], "a click is FRAME:x,y"),
        (["clip", "--click", "0:5,5,*"], "a click is FRAME:x,y"),
        (["clip", "--click", "0:5,5,-,-"], "a click is FRAME:x,y"),
        (["clip", "--click", "0:5,5,-"], "refines no object"),
        (["clip", "--click", "0:5,5", "--click", "1:5,5,-"], "refines no object"),
        (["clip", "-p", "dog", "--start", "5", "--stop", "5"], "there is no frame from 5 to 5"),
        (["clip", "-p", "dog", "--start", "8"], "clip has 8 frames, and none of number 8"),
        (["clip", "--click", "9:5,5"], "clip has 8 frames, and none of number 9"),
        (["gone.mp4", "-p", "dog"], "no such file: gone.mp4"),
        (["97", "-p", "dog"], "camera 97 cannot be opened"),
        (["clip", "-p", "dog", "--json", "--resume"], "--resume needs the folder of the run"),
        (["clip", "-p", "dog", "--resume"], "there is no run in out to go on with"),
    ],
)
def test_what_cannot_be_is_said_before_the_model_is_loaded(model, capsys, arguments, sentence):
    status, out, err = run(capsys, *arguments)
    # What only the video or the folder can tell is a failure, the rest wrong usage
    known_later = ("8 frames", "no such file", "camera 97", "no run")
    assert (status, out) == (1 if any(each in sentence for each in known_later) else 2, "")
    assert err.startswith("masklet: ")
    assert sentence in err
    assert err.count("\n") == 1
    assert model.loads == []
    assert not Path("out").exists()


def test_options_out_of_range_are_wrong_usage(model, capsys):
    for wrong in (["--every", "0"], ["--start", "-1"], ["--delay", "x"]):
        assert run(capsys, "clip", "-p", "dog", *wrong)[0] == 2
    assert model.loads == []


def test_a_prompt_the_model_refuses_and_a_model_that_is_not_there_leave_no_run(model, capsys):
    status, _, err = run(capsys, "clip", "-p", "dog" * 50)
    assert (status, err) == (1, "masklet: the phrase is too long\n")
    assert [session.open for session in model.sessions] == [False]
    status, _, err = run(capsys, "clip", "-p", "dog", "--model", "unknown")
    assert (status, err) == (1, "masklet: unknown model 'unknown'\n")
    assert not Path("out").exists()


def all_formats(folder):
    """What a run has written, apart from the bytes of the overlay."""
    found = {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}
    texts = {name: Path(folder, name).read_bytes() for name in sorted(found) if not name.startswith("session-")}
    overlay = texts.pop("overlay.mp4")
    assert len(overlay) > 0
    return texts, frames_of(Path(folder, "overlay.mp4"))


FORMATS = ("--format", "overlay,masks,ytvis,mot,davis")


def test_a_run_that_is_stopped_keeps_what_it_did_and_goes_on_from_there(model, capsys):
    before = signal.getsignal(signal.SIGINT)
    assert run(capsys, "clip", "-p", "dog", *FORMATS, "--out", "whole")[0] == 0
    model.interrupt_at = 4
    status, out, err = run(capsys, "clip", "-p", "dog", *FORMATS)
    assert (status, err) == (130, "masklet: stopped after frame 4; go on with --resume\n")
    assert out.startswith("clip: dog 1 -> ")
    assert [entry["index"] for entry in journal()] == [0, 1, 2, 3, 4]
    assert frames_of("out/overlay.mp4") == len(Path("out/mot.txt").read_text().splitlines()) == 5
    assert [path.name for path in Path("out").glob("session-*")] == ["session-000005.safetensors"]
    status, _, err = run(capsys, "clip", "-p", "dog", *FORMATS)
    assert (status, "holds a run that stopped after 5 frames: go on with --resume" in err) == (1, True)
    status, _, err = run(capsys, "clip", "-p", "dog", *FORMATS, "--resume")
    assert (status, err) == (0, "")
    assert model.sessions[-1].prompts == [["dog", [], 0]]
    assert all_formats("out") == all_formats("whole")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_run_that_crashes_goes_on_from_the_last_saved_session(model, capsys, monkeypatch):
    assert run(capsys, "clip", "-p", "dog", *FORMATS, "--out", "whole")[0] == 0
    monkeypatch.setattr(track_run, "SAVE_SECONDS", -1)  # after every frame
    model.crash_at, model.crash = 5, InputError("frame 5 is damaged")
    status, _, err = run(capsys, "clip", "-p", "dog", *FORMATS)
    assert (status, err) == (1, "masklet: frame 5 is damaged\n")
    assert len(journal()) == frames_of("out/overlay.mp4") == 5
    for path in Path("out").glob("session-*"):  # as if the crash had come before the last two were saved
        path.rename("out/session-000003.safetensors")
        saved = json.loads(Path("out/session-000003.safetensors").read_text())
        Path("out/session-000003.safetensors").write_text(json.dumps(saved | {"position": 3}))
    with Path("out/frames.jsonl").open("a") as file:
        file.write('{"index": 5, "ti')
    model.crash_at = None
    assert run(capsys, "clip", "-p", "dog", *FORMATS, "--resume")[0] == 0
    assert all_formats("out") == all_formats("whole")


def test_a_second_interrupt_ends_the_run_at_once_and_files_are_finished(model, capsys):
    model.crash_at, model.crash = 3, KeyboardInterrupt()
    status, _, err = run(capsys, "clip", "-p", "dog", *FORMATS)
    assert (status, err) == (130, "masklet: stopped after frame 2; go on with --resume\n")
    assert frames_of("out/overlay.mp4") == 3
    model.crash_at = None
    assert run(capsys, "clip", "-p", "dog", *FORMATS, "--resume")[0] == 0  # from the start, as no session was saved
    assert len(journal()) == frames_of("out/overlay.mp4") == COUNT


def test_an_interrupt_before_the_first_frame(model, capsys):
    model.crash_at, model.crash = 0, KeyboardInterrupt()
    status, out, err = run(capsys, "clip", "-p", "dog", "--json")
    assert (status, out, err) == (130, "", "masklet: stopped before the first frame was done\n")


def test_a_camera_runs_until_it_is_stopped(model, capsys, monkeypatch):
    def camera(number):
        assert number == 2
        pictures = (np.full((*SIZE, 3), 10 * index, dtype=np.uint8) for index in range(100))
        return open_frames(pictures)

    monkeypatch.setattr("masklet.media.video_reader.open_camera", camera)
    model.interrupt_at = 3
    status, out, err = run(capsys, 2, "-p", "dog", "--format", "overlay,mot")
    assert (status, err) == (130, "masklet: stopped after frame 3\n")
    assert out.startswith("the stream: dog 1 -> ")
    assert frames_of("out/overlay.mp4") == len(journal()) == 4
    status, _, err = run(capsys, 2, "-p", "dog", "--resume")
    assert (status, err) == (1, "masklet: the stream cannot be gone on with: it gives each frame once\n")


def test_a_file_that_cannot_be_finished_is_reported(model, capsys, monkeypatch):
    monkeypatch.setattr(
        "masklet.inference.output.video_writer.write_ytvis", Mock(side_effect=OSError(28, "No space left"))
    )
    status, out, err = run(capsys, "clip", "-p", "dog", "--format", "ytvis,mot")
    assert (status, out) == (1, f"clip: dog 1 -> {Path('out/mot.txt')}, {Path('out/mot_frames.json')}\n")
    assert "masklet: ytvis: cannot write out/ytvis.json: the disk is full\n" in err
    assert len(model.sessions) == 1


def test_a_complete_run_is_extended_or_written_in_another_format(model, capsys):
    assert run(capsys, "clip", "-p", "dog", "--stop", 3)[0] == 0
    assert run(capsys, "clip", "-p", "dog", "--stop", 3, "--resume", "--format", "mot")[0] == 0
    assert len(model.loads) == 1
    assert len(Path("out/mot.txt").read_text().splitlines()) == 3
    assert run(capsys, "clip", "-p", "dog", "--resume", "--format", "mot")[0] == 0
    assert len(Path("out/mot.txt").read_text().splitlines()) == len(journal()) == COUNT
    assert run(capsys, "clip", "-p", "dog", "--stop", 2, "--resume", "--format", "mot")[0] == 0
    assert len(model.loads) == 2
    assert run(capsys, "clip", "-p", "cat", "--format", "mot")[0] == 0  # a complete run makes way for a new one
    assert journal()[0]["concepts"] == ["cat"]


def test_a_run_goes_on_only_as_what_it_was(model, capsys):
    model.interrupt_at = 2
    assert run(capsys, "clip", "-p", "dog")[0] == 130
    for change in (["-p", "cat"], ["-p", "dog", "--every", "2"], ["-p", "dog", "--model", "sam3"]):
        status, _, err = run(capsys, "clip", *change, "--resume")
        assert status == 1
        assert "was begun with another" in err
    assert len(journal()) == 3


def test_results_of_other_arguments_do_not_stay(model, capsys):
    assert run(capsys, "clip", "-p", "dog", *FORMATS)[0] == 0
    Path("out/mine.txt").touch()
    assert run(capsys, "clip", "-p", "cat", "--format", "mot")[0] == 0
    found = {path.name for path in Path("out").iterdir() if not path.name.startswith("session-")}
    assert found == {"frames.jsonl", "run.json", "mot.txt", "mot_frames.json", "mine.txt"}
    assert run(capsys, "clip", "-p", "cat", "--format", "davis", "--resume")[0] == 0
    assert Path("out/mot.txt").exists()  # of the same run
    record = json.loads(Path("out/run.json").read_text())
    Path("elsewhere").mkdir()
    Path("out/run.json").write_text(json.dumps({**record, "files": [*record["files"], "../elsewhere", "mine.txt", 7]}))
    assert run(capsys, "clip", "-p", "bird", "--format", "json")[0] == 0
    assert not Path("out/mot.txt").exists()
    assert not Path("out/davis").exists()
    assert Path("elsewhere").exists()
    assert Path("out/mine.txt").exists()
    assert len(model.loads) == 3


def test_a_video_in_the_folder_of_results_is_kept(model, capsys):
    Path("out").mkdir()
    make_video("out/overlay.mp4")
    whole = Path("out/overlay.mp4").read_bytes()
    status, _, err = run(capsys, "out/overlay.mp4", "-p", "dog")
    assert status == 1
    assert "would replace the video itself" in err
    Path("out/run.json").write_text(
        json.dumps({"arguments": {}, "stop": None, "complete": True, "files": ["overlay.mp4"]})
    )
    status, _, err = run(capsys, "out/overlay.mp4", "-p", "dog", "--format", "mot")  # the run before made it
    assert (status, "would replace the video itself" in err) == (1, True)
    assert Path("out/overlay.mp4").read_bytes() == whole
    assert model.loads == []


def test_a_video_that_was_replaced_is_not_gone_on_with(model, capsys):
    model.interrupt_at = 2
    make_video("clip.mp4")
    assert run(capsys, "clip.mp4", "-p", "dog")[0] == 130
    make_video("clip.mp4", count=COUNT + 2)
    status, _, err = run(capsys, "clip.mp4", "-p", "dog", "--resume")
    assert status == 1
    assert "clip.mp4 is not the video that the run in out was begun with: it was replaced" in err
    model.interrupt_at = 2
    assert run(capsys, "clip", "-p", "dog", "--out", "folder")[0] == 130
    Image.new("RGB", (SIZE[1], SIZE[0]), "white").save("clip/3.png")
    assert run(capsys, "clip", "-p", "dog", "--out", "folder", "--resume")[0] == 1


def test_a_session_that_cannot_be_saved_costs_the_run_nothing(model, capsys, monkeypatch):
    monkeypatch.setattr(track_run, "SAVE_SECONDS", -1)
    monkeypatch.setattr(FakeSession, "save", Mock(side_effect=InputError("cannot write it: the disk is full")))
    status, out, err = run(capsys, "clip", "-p", "dog")
    assert (status, len(journal())) == (0, COUNT)
    assert "the session could not be saved, so the run can go on from less: cannot write it: the disk is full" in err
    assert err.count("could not be saved") == 1
    assert "overlay.mp4" in out
    assert len(model.loads) == 1


@pytest.mark.usefixtures("model")
def test_a_format_that_cannot_go_on_is_given_up_and_the_others_are_written(capsys, monkeypatch):
    monkeypatch.setattr("masklet.inference.output.frame_export.MAX_OBJECTS", 1)
    status, out, err = run(capsys, "clip", "-p", "dog", "-p", "cat", "--format", "davis,mot")
    assert status == 1
    assert "masklet: davis: an indexed image holds at most 1 objects" in err
    assert "masklet: 1 of 2 formats could not be written" in err
    assert out == f"clip: dog 1, cat 1 -> {Path('out/mot.txt')}, {Path('out/mot_frames.json')}\n"
    assert len(journal()) == COUNT
    assert not Path("out/davis").exists()


@pytest.mark.usefixtures("model")
def test_damage_is_reported_and_the_rest_is_tracked(capsys):
    make_video("clip.mp4", count=COUNT)
    Path("clip.mp4").write_bytes(Path("clip.mp4").read_bytes()[:-60])
    status, out, err = run(capsys, "clip.mp4", "-p", "dog")
    assert (status, out) == (0, f"clip.mp4: dog 1 -> {Path('out/overlay.mp4')}\n")
    assert err.startswith("masklet: clip.mp4 is damaged or cut short: what can be decoded of it is used; ")
    assert 0 < len(journal()) < COUNT
    assert f"; {COUNT - len(journal())} frames so far" in err


@pytest.mark.usefixtures("model")
def test_on_a_terminal_the_progress_is_shown_with_its_speed(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    status, out, err = run(capsys, "clip", "-p", "dog")
    assert (status, out) == (0, f"clip: dog 1 -> {Path('out/overlay.mp4')}\n")
    assert "frames" in err
    assert "8/8" in err
    assert "frames/s" in err


# --- with a real session -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_model(tmp_path_factory):
    """A file of random weights, whose objects stay in sight, and a clip."""
    torch.manual_seed(3)
    state = {name: tensor.detach().clone() for name, tensor in Detector(debug()).state_dict().items()}
    state["click.decoder.object_head.layers.2.bias"] += 2
    folder = tmp_path_factory.mktemp("real")
    write(Weights(config=debug(), state=state, origin="random"), folder / "model.safetensors")
    random = np.random.default_rng(1)
    with av.open(folder / "clip.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width = SIZE
        for index in range(COUNT):
            pixels = random.integers(0, 90, (*SIZE, 3), dtype=np.uint8)
            pixels[8:24, 4 + 3 * index : 20 + 3 * index] = (230, 60, 40)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return folder


def track(capsys, folder, *arguments):
    """`masklet track` as typed."""
    return run(capsys, folder / "clip.mp4", "--model", folder / "model.safetensors", *arguments)


PROMPTS = ("--click", "0:12,16", "--click", "1:50,30", "--click", "1:5,5,-", "-p", "red square", "--box", "0:4,8,20,24")


def test_a_real_session_writes_every_format(real_model, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    formats = ("--format", "overlay,masks,ytvis,mot,davis,json")
    status, out, err = track(capsys, real_model, *PROMPTS, *formats)
    assert (status, err) == (0, "")
    assert "clip.mp4: " in out
    entries = journal()
    assert [entry["index"] for entry in entries] == list(range(COUNT))
    assert all({0, 1} >= set(entry["ids"]) and entry["ids"] for entry in entries)
    texts, count = all_formats("out")
    assert count == COUNT
    assert {"ytvis.json", "mot.txt", "frames.jsonl"} <= set(texts)
    with av.open("out/overlay.mp4") as container, av.open(str(real_model / "clip.mp4")) as clip:
        drawn = next(container.decode(video=0)).to_ndarray(format="rgb24")
        plain = next(clip.decode(video=0)).to_ndarray(format="rgb24")
    changed = np.abs(drawn.astype(int) - plain).sum(axis=2) > 60
    assert changed.mean() > 0.05  # something is drawn, and not over everything
    assert not changed.all()


def test_a_real_session_that_is_stopped_goes_on_to_the_same_journal(real_model, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert track(capsys, real_model, *PROMPTS, *FORMATS, "--delay", 3, "--out", "whole")[0] == 0
    taken, add = [], track_run.TrackRun._take

    def interrupt(self, result):
        add(self, result)
        taken.append(result.index)
        if result.index == 3 and len(taken) == 4:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(track_run.TrackRun, "_take", interrupt)
    status, _, err = track(capsys, real_model, *PROMPTS, *FORMATS, "--delay", 3)
    assert (status, err) == (130, "masklet: stopped after frame 3; go on with --resume\n")
    assert [entry["index"] for entry in journal()] == [0, 1, 2, 3]
    status, _, err = track(capsys, real_model, *PROMPTS, *FORMATS, "--delay", 3, "--resume")
    assert (status, err) == (0, "")
    assert Path("out/frames.jsonl").read_text() == Path("whole/frames.jsonl").read_text()
    assert all_formats("out") == all_formats("whole")


def test_a_real_session_visits_the_frames_asked_for(real_model, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = track(
        capsys, real_model, "--click", "1:12,16", "--start", 1, "--stop", 7, "--every", 2, "--json"
    )
    assert (status, err) == (0, "")
    assert [json.loads(line)["index"] for line in out.splitlines()] == [1, 3, 5]
    status, out, err = track(capsys, real_model, "--click", "0:99,5")
    assert (status, out) == (1, "")
    assert err == "masklet: a point is outside the 60 x 40 image\n"
    assert not Path("out").exists()
