"""Photos are described, mined out of a pool, profiled and balanced; evaluation images are guarded by a command."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from engine_world import PHRASES, ColourSegmenter, write_photos
from PIL import Image

from masklet.cli import main
from masklet.engine.curation.profile import balanced, crowdedness
from masklet.engine.review.corrections import to_row
from masklet.errors import InputError
from masklet.workflows.engine.curate import MineJob, describe_project, mine, more_like, write_profile
from masklet.workflows.engine.folder import open_project, read_settings, write_settings
from masklet.workflows.engine.page import write_page
from masklet.workflows.engine.run import EngineJob, run_engine
from masklet.workflows.model_choice import ModelChoice


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Photos of two kinds: coloured squares, and stripes."""
    folder = write_photos(tmp_path / "pool", 4)
    (folder / "striped").mkdir()
    for number in range(3):
        stripes = (np.indices((96, 96))[0] // (3 + number) % 2 * 255).astype(np.uint8)
        Image.fromarray(stripes).convert("RGB").save(folder / "striped" / f"{number}.png")
    return folder


def test_photos_like_an_example_come_first_and_nothing_is_described_twice(
    pool: Path, base: Path, tmp_path: Path
) -> None:
    example = tmp_path / "example.png"
    Image.fromarray((np.indices((96, 96))[0] // 4 % 2 * 255).astype(np.uint8)).convert("RGB").save(example)
    job = MineJob(
        pool=pool,
        folder=tmp_path / "index",
        out=tmp_path / "mined",
        examples=(example,),
        count=3,
        model=ModelChoice(name=str(base), device="cpu"),
    )
    found = mine(job)
    scores = [score for _, score in found.photos]
    assert Path(found.photos[0][0]).parent.name == "striped"
    assert scores == sorted(scores, reverse=True)
    assert all((tmp_path / "mined" / uri).is_file() for uri, _ in found.photos)
    before = open_project(tmp_path / "index").view.ledger.count("description")
    assert mine(job).photos == found.photos
    assert open_project(tmp_path / "index").view.ledger.count("description") == before == 7


def test_photos_with_a_phrase_and_photos_of_every_kind(pool: Path, base: Path, tmp_path: Path) -> None:
    choice = ModelChoice(name=str(base), device="cpu")
    common = {"pool": pool, "folder": tmp_path / "index", "model": choice}
    shown = mine(MineJob(out=tmp_path / "shown", phrases=("coin",), count=2, **common))
    scores = [score for _, score in shown.photos]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 2
    every = mine(MineJob(out=tmp_path / "every", count=5, **common))
    assert len(every.photos) == 5


def test_rare_kinds_are_taken_oftener_than_they_come() -> None:
    groups = {f"street {n}": "street" for n in range(900)} | {f"food {n}": "food" for n in range(100)}
    shares = {
        temperature: Counter(groups[name] for name in balanced(groups, 100, temperature=temperature))["food"]
        for temperature in (0.0, 0.5, 1.0)
    }
    assert 3 <= shares[0.0] <= 20
    assert shares[0.0] < shares[0.5] < shares[1.0]
    assert 40 <= shares[1.0] <= 60
    assert Counter(groups[name] for name in balanced(groups, 100, most=10)) == {"street": 10, "food": 10}
    assert balanced(groups, 50) == balanced(groups, 50)


def square(left: int, side: int = 20) -> np.ndarray:
    mask = np.zeros((64, 64), bool)
    mask[5 : 5 + side, left : left + side] = True
    return mask


def test_crowdedness_is_the_overlap_of_all_pairs_a_mask() -> None:
    apart, together = [to_row(square(0)), to_row(square(40))], [to_row(square(0)), to_row(square(10))]
    assert crowdedness(apart) == 0
    assert crowdedness(together) == pytest.approx(200 / 600 / 2)
    assert crowdedness(together[:1]) == 0


def test_a_project_is_described_mapped_and_profiled(base: Path, tmp_path: Path) -> None:
    job = EngineJob(photos=write_photos(tmp_path / "photos", 5), folder=tmp_path / "project", phrases=PHRASES)
    result = run_engine(job, segmenter=ColourSegmenter())  # type: ignore[arg-type]
    assert result is not None
    from dataclasses import replace

    write_settings(job.folder, replace(read_settings(job.folder), model=str(base)))
    assert describe_project(job.folder, "cpu") == 5
    assert describe_project(job.folder, "cpu") == 0
    page = write_page(open_project(job.folder), result.stats, "nothing", job.folder).read_text()
    assert "Map of 5 photos" in page
    assert page.count("<image ") == 5
    path, lines = write_profile(job.folder)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(rows) == 5
    assert sum(int(row["masks"]) for row in rows) > 0
    assert lines[-1].endswith("that show mostly small things")
    assert len(more_like(job.folder, ["0000.png"], 3)) == 3
    with pytest.raises(InputError, match="no photo gone"):
        more_like(job.folder, ["gone.png"], 3)


def test_evaluation_images_are_guarded_by_a_command(tmp_path: Path, capsys) -> None:
    photos = write_photos(tmp_path / "photos", 3)
    job = EngineJob(photos=photos, folder=tmp_path / "project", phrases=PHRASES)
    run_engine(job, segmenter=ColourSegmenter())  # type: ignore[arg-type]
    (tmp_path / "eval").mkdir()
    Image.open(photos / "0001.png").save(tmp_path / "eval" / "again.jpg", quality=80)
    assert main(["engine", "protect", str(job.folder), str(tmp_path / "eval"), "--name", "gold"]) == 0
    assert "1 images of gold are guarded" in capsys.readouterr().out
    result = run_engine(job, segmenter=ColourSegmenter())  # type: ignore[arg-type]
    assert result is not None
    assert result.snapshot is not None
    assert result.snapshot.manifest["counts"]["images"] == 2
    sheet = (job.folder / "snapshot" / "DATASHEET.md").read_text()
    assert "evaluation sets: 1 gold" in sheet
