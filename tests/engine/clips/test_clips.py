"""Clips go through the states that images go through, by people alone, and out and back as YouTube-VIS files."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from engine_world import COLOURS, ColourSegmenter, true_masks
from frame_results import make
from PIL import Image

from masklet.cli import main
from masklet.engine.clips.exchange import export_clip_corrections, import_clip_corrections
from masklet.engine.clips.masklets import ClipMasklet, FrameRange, clean, find_ranges, volume_iou
from masklet.engine.clips.shots import ClipLimits, find_shots, shrink
from masklet.engine.ontology.own import read_ontology
from masklet.engine.project.lineage import why
from masklet.engine.project.upkeep import collect_garbage, verify_store
from masklet.engine.review.intake import take_in
from masklet.engine.review.queues import queue
from masklet.engine.review.sheet import render_sheet
from masklet.engine.review.verdict_file import Decision, VerdictFile
from masklet.engine.states import FINAL, State
from masklet.errors import InputError
from masklet.eval.videos.video_files import iterate_ytvis
from masklet.formats.ytvis import read_ytvis
from masklet.inference.video.frame_result import FrameResult
from masklet.media.images import read_image
from masklet.ops.masks import rle_encode
from masklet.workflows.engine.clips import ClipsJob, cut_videos, run_clips
from masklet.workflows.engine.folder import open_project
from masklet.workflows.observer import JobObserver

SIZE, FRAMES = (48, 64), 8
LIMITS = ClipLimits(fps=6.0, least_seconds=1.0, most_seconds=30.0)
RED, GREEN = COLOURS["red square"], COLOURS["green square"]


@dataclass
class ColourVideos(ColourSegmenter):
    """Follows squares by their colour, the n-th of a frame being the n-th of the next."""

    def open(self, image: Path | np.ndarray):
        return super().open(read_image(image) if isinstance(image, Path) else image)

    def open_video(self, source: Sequence[Path]):
        return ColourTrack(source, self.drop > 0)


class ColourTrack:
    def __init__(self, paths: Sequence[Path], loses_second: bool) -> None:  # noqa: FBT001
        self.paths, self.loses_second, self.phrase = paths, loses_second, ""

    def add_concept(self, phrase: str, *, frame: int | None = None) -> None:
        del frame
        self.phrase = phrase

    def track(self, *, start: int | None = None) -> Iterator[FrameResult]:
        del start
        for index, path in enumerate(self.paths):
            masks = [near(read_image(path), COLOURS[self.phrase])] if self.phrase in COLOURS else []
            masks = [mask for group in masks for mask in group][: 1 if self.loses_second else None]
            yield make(masks, [5.0] * len(masks), concepts=[self.phrase] * len(masks), index=index)

    def close(self) -> None:
        pass


def near(image: np.ndarray, colour: tuple[int, int, int]) -> list[np.ndarray]:
    """Squares of about this colour, as JPEG leaves them, from left to right."""
    from scipy import ndimage

    labels, count = ndimage.label(np.abs(image.astype(int) - colour).max(-1) < 60)
    masks = [labels == number + 1 for number in range(count) if (labels == number + 1).sum() > 20]
    return sorted(masks, key=lambda mask: np.argwhere(mask)[:, 1].mean())


def write_clip(folder: Path) -> None:
    """Two red squares that move, one to the right and one down."""
    folder.mkdir(parents=True)
    for frame in range(FRAMES):
        image = np.full((*SIZE, 3), 90, np.uint8)
        image[4:14, 2 + 3 * frame : 12 + 3 * frame] = RED
        image[16 + 2 * frame : 28 + 2 * frame, 48:60] = RED
        Image.fromarray(image).save(folder / f"{frame:02d}.png")


@pytest.fixture
def job(tmp_path: Path) -> ClipsJob:
    write_clip(tmp_path / "videos" / "street")
    phrases = ("red square", "green square")
    return ClipsJob(videos=tmp_path / "videos", folder=tmp_path / "project", phrases=phrases, limits=LIMITS)


def answer(project, task: str, name: str) -> None:
    said = [
        Decision(pair=item.pair_id, maskset=item.maskset_id, number=item.number, label="accept")
        for item in queue(project, task)
    ]
    take_in(project, VerdictFile(format="masklet-verdicts", version=1, task=task, answers=said), name)  # type: ignore[arg-type]


def test_people_judge_masklets_and_a_file_comes_out(job: ClipsJob) -> None:
    model = ColourVideos()
    result = run_clips(job, segmenter=model)  # type: ignore[arg-type]
    assert result.clips == 1
    project = open_project(job.folder)
    assert project.view.counts() == {State.HUMAN_MASKS: 1, State.HUMAN_PENDING: 1}
    assert render_sheet(project, queue(project, "masks")).count("data:image/jpeg") == 2
    answer(project, "masks", "Ada")
    run_clips(job, segmenter=model)  # type: ignore[arg-type]
    assert "data:image/jpeg" in render_sheet(project, queue(project, "exhaustivity"))
    answer(project, "exhaustivity", "Ada")
    run_clips(job, segmenter=model)  # type: ignore[arg-type]
    assert set(project.view.counts()) == FINAL
    (file,) = (path for path in (job.folder / "snapshot").glob("*.json") if path.name != "manifest.json")
    found = read_ytvis(file)
    pairs = {pair.noun_phrase: pair.num_masklets for pair in found.pairs}
    assert pairs == {"red square": 2, "green square": 0}
    assert {len(each.segmentations or ()) for each in found.annotations} == {FRAMES}
    assert list(iterate_ytvis(file))
    assert all((job.folder / "snapshot" / "images" / name).is_file() for name in found.videos[1].files)
    assert (verify_store(project.view), collect_garbage(project.view, dry_run=True)) == ([], [])


def test_what_was_lost_is_corrected_and_another_person_looks(job: ClipsJob, tmp_path: Path) -> None:
    run_clips(job, segmenter=ColourVideos(drop=0.5))  # type: ignore[arg-type]
    project = open_project(job.folder)
    answer(project, "masks", "Ada")
    run_clips(job, segmenter=ColourVideos(drop=0.5))  # type: ignore[arg-type]
    said = [
        Decision(pair=item.pair_id, maskset=item.maskset_id, label="reject" if item.masks else "accept")
        for item in queue(project, "exhaustivity")
    ]
    take_in(project, VerdictFile(format="masklet-verdicts", version=1, task="exhaustivity", answers=said), "Ada")
    assert export_clip_corrections(project, tmp_path / "out") == 1
    file = tmp_path / "out" / "clips.json"
    assert import_clip_corrections(project, file, "Ada") == {"unchanged": 1}
    document = json.loads(file.read_text())
    frames = [near(read_image(path), RED) for path in sorted((job.folder / "clips").rglob("*.jpg"))]
    second = [{"size": list(SIZE), "counts": rle_encode(masks[1])} for masks in frames]
    document["annotations"].append(document["annotations"][0] | {"id": 2, "segmentations": second, "bboxes": None})
    file.write_text(json.dumps(document))
    assert main(["engine", "correct-import", str(job.folder), str(file), "--name", "Ada"]) == 0
    (pair,) = project.view.pairs(State.RECHECK)
    answer(project, "exhaustivity", "Ada")
    assert project.view.one_pair(pair["pair_id"])["state"] == State.RECHECK  # nobody checks their own correction
    answer(project, "exhaustivity", "Grace")
    run_clips(job, segmenter=ColourVideos(drop=0.5))  # type: ignore[arg-type]
    rows = {row["text"]: row for row in project.view.annotations()}
    assert len(json.loads(rows["red square"]["masks"])) == 2
    assert rows["red square"]["tier"] == "HQ-human"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"segmentations": [{"size": [5, 5], "counts": "0"}] * FRAMES}, "size"),
        ({"segmentations": [{"size": list(SIZE), "counts": "~~"}] * FRAMES}, "segmentations"),
        ({"segmentations": [None] * FRAMES}, "no pixel"),
        ({"segmentations": [None]}, "entries"),
        ({"video_id": 7}, "video"),
    ],
)
def test_hostile_corrections_are_refused_whole(job: ClipsJob, tmp_path: Path, change: dict, said: str) -> None:
    run_clips(job, segmenter=ColourVideos())  # type: ignore[arg-type]
    project = open_project(job.folder)
    answer(project, "masks", "Ada")
    run_clips(job, segmenter=ColourVideos())  # type: ignore[arg-type]
    wrong = [Decision(pair=i.pair_id, maskset=i.maskset_id, label="reject") for i in queue(project, "exhaustivity")]
    take_in(project, VerdictFile(format="masklet-verdicts", version=1, task="exhaustivity", answers=wrong), "Ada")
    export_clip_corrections(project, tmp_path / "out")
    document = json.loads((tmp_path / "out" / "clips.json").read_text())
    document["annotations"][-1] |= change | {"bboxes": None, "areas": None}
    (tmp_path / "out" / "clips.json").write_text(json.dumps(document))
    before = project.view.counts()
    with pytest.raises(InputError, match=said):
        import_clip_corrections(project, tmp_path / "out" / "clips.json", "Ada", all_done=True)
    assert project.view.counts() == before


def test_videos_are_cut_where_the_picture_changes_and_only_once(tmp_path: Path) -> None:
    folder = tmp_path / "videos" / "two shots"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for frame in range(24):
        ground = (200, 180, 90) if frame < 12 else (20, 40, 120)
        image = np.full((*SIZE, 3), ground, np.uint8)
        image[10:30, frame % 12 * 3 : frame % 12 * 3 + 20] = rng.integers(0, 255, 3)
        Image.fromarray(image).save(folder / f"{frame:02d}.png")
    first = cut_videos(folder.parent, tmp_path / "clips", LIMITS)
    assert [len(list(path.glob("*.jpg"))) for path in first] == [12, 12]
    stamp = (first[0] / "00000.jpg").stat().st_mtime_ns
    assert cut_videos(folder.parent, tmp_path / "clips", LIMITS) == first
    assert (first[0] / "00000.jpg").stat().st_mtime_ns == stamp


def test_without_phrases_they_are_proposed_from_every_thirtieth_frame(job: ClipsJob, monkeypatch) -> None:
    monkeypatch.setattr("masklet.engine.clips.stages.STEP", 3)
    asked: list[int] = []

    class Walking(ColourVideos):
        def open(self, image: Path | np.ndarray):
            asked.append(int(Path(image).stem))  # type: ignore[arg-type]
            return super().open(image)

    model = Walking()
    shapes = read_ontology_of(job.folder.parent, "[red square, green square, round thing]")
    monkeypatch.setattr("masklet.workflows.engine.clips.shipped", lambda: shapes)
    monkeypatch.setattr("engine_world.true_masks", lambda image, phrase: near(image, COLOURS.get(phrase, (1, 2, 3))))
    result = run_clips(replace(job, phrases=()), segmenter=model)  # type: ignore[arg-type]
    assert asked[:3] == [0, 3, 6]
    pairs = open_project(job.folder).view.pairs()
    assert [(pair["text"], pair["origin"]) for pair in pairs] == [("red square", "ontology")]
    assert result.clips == 1


def read_ontology_of(folder: Path, text: str):
    (folder / "own.yaml").write_text(text)
    return read_ontology(folder / "own.yaml")


def test_ranges_and_progress_are_told(job: ClipsJob) -> None:
    told: list[str] = []

    class Listener(JobObserver):
        def started(self, total: int | None, unit: str) -> None:
            told.append(f"{unit} {total}")

    model = ColourVideos()
    run_clips(job, Listener(), segmenter=model)  # type: ignore[arg-type]
    assert told[:4] == ["videos 1", "ingest-clips 1", "phrases 1", "masklets 2"]
    project = open_project(job.folder)
    for task in ("masks", "exhaustivity"):
        answer(project, task, "Ada")
        run_clips(job, segmenter=model)  # type: ignore[arg-type]
    (row,) = (row for row in project.view.annotations() if row["polarity"])
    lines = why(project.view, row["annotation_id"]).lines()
    assert f"  frames    0 to {FRAMES - 1}: absent" in lines or f"  frames    0 to {FRAMES - 1}: present" in lines


def test_videos_that_give_nothing_are_told_and_cut_again_with_other_limits(tmp_path: Path) -> None:
    write_clip(tmp_path / "videos" / "street")
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"no video")
    job = ClipsJob(videos=tmp_path / "videos", folder=tmp_path / "project", phrases=("red square",))
    result = run_clips(job, segmenter=ColourVideos())  # type: ignore[arg-type]
    assert result.clips == 0
    assert any("broken.mp4 gave no clip" in note for note in result.notes)
    assert any("such as street: try --shortest" in note for note in result.notes)
    again = run_clips(replace(job, limits=LIMITS), segmenter=ColourVideos())  # type: ignore[arg-type]
    assert again.clips == 1
    once_more = run_clips(replace(job, limits=ClipLimits(fps=6.0, least_seconds=1.1)), segmenter=ColourVideos())  # type: ignore[arg-type]
    assert once_more.clips == 1  # what people may have judged stays as it was cut
    write_clip(tmp_path / "videos" / "street.2")
    (tmp_path / "videos" / "street" / "more.png").write_bytes((tmp_path / "videos" / "street" / "07.png").read_bytes())
    last = run_clips(replace(job, limits=LIMITS), segmenter=ColourVideos())  # type: ignore[arg-type]
    names = sorted(path.parent.name for path in (job.folder / "clips").rglob("clip.json"))
    assert [name[:6] for name in names] == ["street"] * 3  # what was cut before, the video as it is now, and another
    assert {"street-000", "street.2-000"} < {*names}
    assert last.clips == 2  # two of them show the same


def test_a_cut_that_was_killed_goes_on_under_its_names(tmp_path: Path) -> None:
    write_clip(tmp_path / "videos" / "street")
    first = cut_videos(tmp_path / "videos", tmp_path / "clips", LIMITS)
    (tmp_path / "clips" / "street.done").unlink()
    assert cut_videos(tmp_path / "videos", tmp_path / "clips", LIMITS) == first


def test_commands_for_photos_name_the_one_for_clips(job: ClipsJob, capsys) -> None:
    run_clips(job, segmenter=ColourVideos())  # type: ignore[arg-type]
    for command in ("resume", "loop", "distil", "describe"):
        assert main(["engine", command, str(job.folder)]) == 1
        assert "masklet engine clips" in capsys.readouterr().err


def test_what_hardly_moves_or_is_too_short_is_left_out() -> None:
    still = [shrink(np.full((48, 64, 3), 100, np.uint8))] * 40
    assert find_shots(still, LIMITS) == []
    moving = [shrink(np.roll(np.eye(48, dtype=np.uint8)[..., None].repeat(3, -1) * 200, 3 * n, 1)) for n in range(100)]
    assert [
        (shot.start, shot.stop) for shot in find_shots(moving, ClipLimits(fps=6.0, least_seconds=2.0, most_seconds=8.0))
    ] == [
        (0, 48),
        (48, 96),
    ]
    assert find_shots(moving[:5], LIMITS) == []


def test_ranges_have_sharp_edges_from_few_questions() -> None:
    asked: list[int] = []

    def presence(frame: int) -> float:
        asked.append(frame)
        return 0.9 if 37 <= frame <= 71 else 0.05

    assert find_ranges(presence, 120) == [
        FrameRange(first=0, last=36, kind="absent"),
        FrameRange(first=37, last=71, kind="present"),
        FrameRange(first=72, last=119, kind="absent"),
    ]
    assert len(asked) < 18
    assert [each.kind for each in find_ranges(lambda _: 0.4, 10)] == ["candidate"]
    assert [each.kind for each in find_ranges(lambda _: float("nan"), 10)] == ["unknown"]


def masklet(left: int, frames: range, score: float = 0.9, side: int = 8) -> ClipMasklet:
    mask = np.zeros((20, 40), bool)
    mask[2 : 2 + side, left : left + side] = True
    return ClipMasklet(frames={frame: rle_encode(mask) for frame in frames}, size=(20, 40), score=score)


def test_doubled_masklets_and_whole_scenes_are_left_out() -> None:
    whole = ClipMasklet(frames={n: rle_encode(np.ones((20, 40), bool)) for n in range(4)}, size=(20, 40), score=1.0)
    twice = [masklet(0, range(8), 0.5), masklet(1, range(8), 0.9), masklet(20, range(8), 0.7), whole]
    assert [each.score for each in clean(twice)] == [0.9, 0.7]
    assert volume_iou(masklet(0, range(4)), masklet(0, range(8))) == pytest.approx(0.5)
    assert volume_iou(masklet(0, range(4)), masklet(0, range(4, 8))) == 0


def test_the_truth_of_the_world_is_that_of_images() -> None:
    image = np.zeros((20, 20, 3), np.uint8)
    image[2:8, 2:8] = GREEN
    assert len(true_masks(image, "green square")) == len(near(image, GREEN)) == 1
