"""Mosaics: every tile in its place, and no question whose answer is not known for all tiles."""

import numpy as np
import pytest

from masklet.data.mosaic import draw_layout, join_queries, mosaic
from masklet.data.schema import Example, PhraseQuery
from masklet.data.sources import Mixture

SIZE = 60


def tile(value: int = 100, absent: frozenset[str] = frozenset(), **queries: tuple[bool, int]) -> Example:
    """A picture of one grey; `phrase=(exhaustive, number of objects)`, each object all of the picture."""
    count = sum(number for _, number in queries.values())
    asked, first = [], 0
    for phrase, (exhaustive, number) in queries.items():
        index = tuple(range(first, first + number))
        asked.append(PhraseQuery(phrase=phrase.replace("_", " "), object_index=index, exhaustive=exhaustive))
        first += number
    return Example(
        image=np.full((20, 30, 3), value, np.uint8),
        boxes_xyxy=np.tile(np.array([0, 0, 30, 20], np.float32), (count, 1)),
        masks=np.ones((count, 20, 30), bool),
        mask_valid=np.ones(count, bool),
        queries=tuple(asked),
        source="test",
        absent=absent,
    )


@pytest.mark.parametrize("seed", range(12))
def test_tiles_fill_the_grid_and_do_not_overlap(seed) -> None:
    num_cells, cells = draw_layout(np.random.default_rng(seed))
    covered = np.zeros((num_cells, num_cells), int)
    for column, row, span in cells:
        covered[row : row + span, column : column + span] += 1
    assert (covered == 1).all()


def test_all_three_layouts_are_drawn() -> None:
    kinds = {len(draw_layout(np.random.default_rng(seed))[1]) for seed in range(30)}
    assert kinds == {4, 9, 6}


def test_each_picture_lies_in_its_tile_with_its_objects() -> None:
    values = iter(range(20, 250, 20))
    made = mosaic(tile(10, mug=(True, 1)), lambda: tile(next(values), mug=(True, 1)), SIZE, np.random.default_rng(1))
    assert made.masks.sum(axis=0).tolist() == np.ones((SIZE, SIZE), int).tolist()
    for mask, box in zip(made.masks, made.boxes_xyxy, strict=True):
        assert len(np.unique(made.image[mask])) == 1
        x0, y0, x1, y1 = box.astype(int)
        assert mask[y0:y1, x0:x1].all()
        assert mask.sum() == (x1 - x0) * (y1 - y0)
    assert len(np.unique(made.image)) == len(made.masks)
    (query,) = made.queries
    assert query == PhraseQuery(phrase="mug", object_index=tuple(range(len(made.masks))))


def test_a_question_needs_an_answer_for_every_tile() -> None:
    first = tile(mug=(True, 2), pig=(True, 0), cat=(True, 0), left_hand=(True, 1))
    second = tile(absent=frozenset({"pig"}), bus=(False, 1))
    assert join_queries([first, second]) == (
        PhraseQuery(phrase="mug", object_index=(0, 1), exhaustive=False),  # the second may show one without a label
        PhraseQuery(phrase="pig", object_index=()),
        PhraseQuery(phrase="bus", object_index=(3,), exhaustive=False),
    )
    both = join_queries([first, tile(mug=(True, 1)), tile(absent=frozenset({"mug"}))])
    assert both[0] == PhraseQuery(phrase="mug", object_index=(0, 1, 3))


class Tiles:
    def __init__(self, absent: frozenset[str]) -> None:
        self.absent = absent

    def sample(self, rng: np.random.Generator) -> Example:
        return tile(int(rng.integers(1, 255)), self.absent, mug=(True, 1))


def test_a_mixture_makes_mosaics_of_sources_that_know_what_is_absent() -> None:
    def mixture(absent: frozenset[str]) -> Mixture:
        return Mixture([Tiles(absent)], [1.0], seed=0, mosaic_probability=0.5, mosaic_size=SIZE)

    sides = [mixture(frozenset({"pig"}))[index].image.shape[0] for index in range(60)]
    assert 15 < sides.count(SIZE) < 45
    assert {mixture(frozenset())[index].image.shape[0] for index in range(20)} == {20}
    once, again = (mixture(frozenset({"pig"}))[sides.index(SIZE)] for _ in range(2))
    np.testing.assert_array_equal(once.image, again.image)


def test_a_label_of_one_whole_tile_is_not_asked_of_a_mosaic() -> None:
    party = (
        tile(party=(True, 1)),
        Example(**{**vars(tile(mug=(True, 1))), "queries": (PhraseQuery.somewhere("party"),)}),
    )
    assert [query.phrase for query in join_queries(party)] == []
