"""What people, models and pages are shown is drawn by one module, in the same way each time."""

import io
from pathlib import Path

import numpy as np
import pytest
from engine_world import PHRASES, ColourSegmenter, open_world, run_world, write_photos
from PIL import Image

from masklet.engine.records import MaskRow
from masklet.engine.review.corrections import to_row
from masklet.engine.review.pictures import LEAST_MARGIN, MARKS, SIDE, from_near, jpeg, whole
from masklet.engine.review.queues import queue
from masklet.engine.review.sheet import render_sheet
from masklet.llm.messages import Picture, Reply
from masklet.render.palettes import object_colour

HEIGHT, WIDTH = 120, 160
GOLDEN = (  # of both panels, greatly reduced
    (127, 119, 124, 123, 120, 116, 111, 119),
    (120, 125, 132, 129, 136, 123, 123, 133),
    (86, 88, 83, 87, 116, 113, 126, 131),
)


def image(seed: int = 0) -> np.ndarray:
    small = np.random.default_rng(seed).integers(90, 160, (6, 8, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(small).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST))


def mask(top: int, left: int, bottom: int, right: int) -> MaskRow:
    pixels = np.zeros((HEIGHT, WIDTH), bool)
    pixels[top:bottom, left:right] = True
    return to_row(pixels)


def is_near(pixels: np.ndarray, colour: tuple[int, int, int], most: int = 40) -> np.ndarray:
    return np.abs(pixels.astype(int) - colour).max(-1) < most


def test_a_mask_is_shown_in_the_photo_with_a_box_and_beside_it_from_near() -> None:
    plain = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    drawn = np.asarray(from_near(plain, mask(40, 60, 70, 100)))
    height = SIDE * HEIGHT // WIDTH
    assert drawn.shape[0] >= height
    context, near = drawn[:height, :SIDE], drawn[:, SIDE + 4 :]
    (mark,) = (each for each in MARKS if is_near(context, each).any())
    rows, columns = np.nonzero(is_near(context, mark))
    scale = SIDE / WIDTH
    box = [columns.min() / scale, rows.min() / scale, columns.max() / scale, rows.max() / scale]
    assert box == pytest.approx([60, 40, 100, 70], abs=2)  # the box that the mask has
    inside = ~is_near(context, mark)[rows.min() + 4 : rows.max() - 4, columns.min() + 4 : columns.max() - 4]
    assert inside.all()  # in the photo nothing hides what the box is around
    grown = 40 + 2 * LEAST_MARGIN  # pixels of the photo that the view from near is wide
    assert near.shape[1] == pytest.approx(SIDE, abs=1)
    tinted = np.nonzero(np.abs(near.astype(int) - near[2, 2].astype(int)).sum(-1) > 60)
    assert np.ptp(tinted[1]) == pytest.approx(40 / grown * SIDE, rel=0.3)


def test_every_accepted_mask_has_a_colour_of_its_own() -> None:
    masks = [mask(10, 10, 40, 40), mask(60, 90, 110, 150)]
    drawn = np.asarray(whole(image(), masks))
    bare = np.asarray(whole(image(), []))
    changed = np.abs(drawn.astype(int) - bare.astype(int)).max(-1) > 8
    scale = SIDE / WIDTH
    for number, (top, left, bottom, right) in enumerate(((10, 10, 40, 40), (60, 90, 110, 150))):
        part = np.s_[round(top * scale) : round(bottom * scale), round(left * scale) : round(right * scale)]
        assert changed[part].mean() > 0.5
        assert is_near(drawn[part], object_colour(number), 60).any()
    assert changed.mean() < 0.5
    assert not changed[-4:, :4].any()  # what is not labelled stays as it is


@pytest.mark.parametrize(
    "row", [mask(0, 0, 1, 1), mask(0, 0, HEIGHT, WIDTH), mask(HEIGHT - 1, WIDTH - 1, HEIGHT, WIDTH)]
)
def test_the_smallest_the_largest_and_those_at_the_edge_can_be_drawn(row: MaskRow) -> None:
    drawn = from_near(image(), row)
    assert SIDE < drawn.width <= 2 * SIDE + 5
    assert whole(image(), [row]).size == (SIDE, SIDE * HEIGHT // WIDTH)


def test_the_same_question_is_the_same_picture_to_the_byte() -> None:
    for draw in (lambda: from_near(image(), mask(5, 5, 30, 60)), lambda: whole(image(), [mask(5, 5, 30, 60)])):
        assert jpeg(draw()) == jpeg(draw())
    near = np.asarray(from_near(image(), mask(40, 60, 70, 100)).resize((8, 3), Image.Resampling.BOX).convert("L"))
    assert np.abs(near.astype(int) - GOLDEN).max() <= 3  # of 255: what other versions of Pillow may round otherwise


class Watching:
    """A language model that keeps what it is shown."""

    def __init__(self) -> None:
        self.shown: list[bytes] = []

    def reply(self, messages, tools) -> Reply:  # noqa: ARG002 - it calls none
        self.shown += [part.data for message in messages for part in message.parts if isinstance(part, Picture)]
        return Reply()


def test_people_and_language_models_see_the_same(tmp_path: Path) -> None:
    from masklet.engine.stages.verification import VerifyMasks
    from masklet.engine.verify.by_language import SIDE as LARGER
    from masklet.engine.verify.by_language import LanguageTalk, LanguageVerifier

    project = open_world(tmp_path / "project", write_photos(tmp_path / "photos", 1))
    run_world(project, ColourSegmenter(score=0.5))
    item = queue(project, "masks")[0]
    assert render_sheet(project, [item]).count("data:image/jpeg;base64,") == 1
    model = Watching()
    verifier = LanguageVerifier(talk=LanguageTalk(model=model, name="m"))  # type: ignore[arg-type]
    assert item.phrase in PHRASES
    VerifyMasks(verifier=verifier).run(project, item.pair_id)
    expected = jpeg(from_near(project.picture(item.media_id), item.masks[0], LARGER))
    assert expected in model.shown
    assert Image.open(io.BytesIO(model.shown[0])).height <= LARGER
