"""The contact sheet: a tile for each picture, with its masks, and a reason where there is no picture."""

import numpy as np

from masklet.data.schema import Example, PhraseQuery
from masklet.data.sheet import CAPTION, COLUMNS, MOST_TILES, TILE, contact_sheet
from masklet.errors import InputError


class Greys:
    """Grey pictures of 100 x 50 pixels with a mask on the left half; the last cannot be read."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return f"a rather long name of a file that does not fit below its tile, number {index}.jpg"

    def sample(self, rng: np.random.Generator) -> Example:
        return self.example(0, rng)

    def example(self, index: int, rng: np.random.Generator) -> Example:
        del rng
        if index == self.count - 1:
            raise InputError("the picture cannot be read")
        masks = np.zeros((1, 50, 100), bool)
        masks[0, :, :50] = True
        phrases = [PhraseQuery(phrase=f"long phrase {n}", object_index=(0,), exhaustive=False) for n in range(9)]
        return Example(
            image=np.full((50, 100, 3), 128, np.uint8),
            boxes_xyxy=np.array([[0, 0, 50, 50]], np.float32),
            masks=masks,
            mask_valid=np.array([True]),
            queries=(*phrases, PhraseQuery(phrase="dog", object_index=())),
            source="test",
        )


def test_tiles_show_masks_over_their_pictures() -> None:
    sheet = contact_sheet({"mine": Greys(6)})
    columns, rows = sheet.width // TILE, sheet.height // (TILE + CAPTION)
    assert (columns, rows) == (COLUMNS, 2)
    pixels = np.asarray(sheet)
    left, right = pixels[8 + TILE // 2, 8 + TILE // 4], pixels[8 + TILE // 2, 8 + 3 * TILE // 4]
    assert right.tolist() == [128, 128, 128]
    assert np.ptp(left.astype(int)) > 30
    caption = pixels[8 + TILE : 8 + TILE + CAPTION, 8 : 8 + TILE]
    assert (np.abs(caption.astype(int) - caption[-1, -1]).sum(axis=2) > 60).mean() > 0.02
    beside = pixels[8 + TILE : 8 + TILE + CAPTION, 8 + TILE : 16 + TILE]
    assert len(np.unique(beside.reshape(-1, 3), axis=0)) == 1  # lines end where their tile does


def test_a_picture_that_cannot_be_read_is_a_grey_tile_with_the_reason() -> None:
    pixels = np.asarray(contact_sheet({"mine": Greys(1)}))
    assert pixels[8 + TILE // 2, 8 + TILE // 2].tolist() == [92, 96, 104]
    assert (pixels[8 + TILE :, 8 : 8 + TILE, 0] > 200).any()


def test_many_sources_share_the_tiles() -> None:
    sheet = contact_sheet({f"{index}": Greys(50) for index in range(3)})
    assert sheet.height // (TILE + CAPTION) == MOST_TILES // COLUMNS
    assert contact_sheet({}).height < TILE + CAPTION + 20
