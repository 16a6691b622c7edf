"""Several images in one: a grid of 2 x 2 or 3 x 3 tiles, of which one may be larger.

A phrase asked of one tile is asked of all, so its objects must be known in all: a query that could have unlabelled
objects in another tile is kept with the labelled ones, as inexhaustive, and dropped when there are none.

Source: SAM 3 paper, appendix (mosaics up to 3 x 3 with irregular layouts, only on data with few missing labels).
"""

from collections.abc import Callable, Sequence

import numpy as np

from masklet.data.schema import Example, PhraseQuery
from masklet.data.transforms import Placement, names_a_side, place

Cell = tuple[int, int, int]  # column, row, and how many columns and rows it spans


def mosaic(first: Example, draw: Callable[[], Example], size: int, rng: np.random.Generator) -> Example:
    """A square image of `size` pixels with `first` in a random tile and what `draw` gives in the others."""
    num_cells, cells = draw_layout(rng)
    edges = [round(index * size / num_cells) for index in range(num_cells + 1)]
    examples = [first, *(draw() for _ in cells[1:])]
    tiles = []
    for example, row in zip(examples, rng.permutation(len(cells)).tolist(), strict=True):
        column, line, span = cells[row]
        height, width = example.image.shape[:2]
        rectangle = (edges[column], edges[line], edges[column + span], edges[line + span])
        tiles.append(
            place(example, Placement(window=(0, 0, width, height), rectangle=rectangle), size, least_visible=0.0)
        )
    return Example(
        image=np.max([tile.image for tile in tiles], axis=0),  # they are black where another one is
        boxes_xyxy=np.concatenate([tile.boxes_xyxy for tile in tiles]),
        masks=np.concatenate([tile.masks for tile in tiles]),
        mask_valid=np.concatenate([tile.mask_valid for tile in tiles]),
        queries=join_queries(tiles),
        source=first.source,
        absent=frozenset.intersection(*(tile.absent for tile in tiles)),
    )


def draw_layout(rng: np.random.Generator) -> tuple[int, list[Cell]]:
    """How many cells a side has, and the tiles: 2 x 2, 3 x 3, or one of 2 x 2 cells with five single ones."""
    num_cells, has_large = ((2, False), (3, False), (3, True))[int(rng.integers(3))]
    large = [(int(rng.integers(2)), int(rng.integers(2)), 2)] if has_large else []
    covered = {(column + x, row + y) for column, row, _ in large for x in range(2) for y in range(2)}
    singles = [(column, row, 1) for row in range(num_cells) for column in range(num_cells)]
    return num_cells, large + [cell for cell in singles if cell[:2] not in covered]


def join_queries(tiles: Sequence[Example]) -> tuple[PhraseQuery, ...]:
    """The queries of all tiles, of objects that stand one tile after another; none that names a side."""
    first_of_tile = np.cumsum([0, *(len(tile.boxes_xyxy) for tile in tiles)]).tolist()
    asked = [{query.phrase: query for query in tile.queries if not names_a_side(query.phrase)} for tile in tiles]
    joined = []
    for phrase in dict.fromkeys(phrase for queries in asked for phrase in queries):
        if any(phrase in queries and not queries[phrase].located for queries in asked):
            continue  # objects of one tile would stand beside unlabelled ones of another
        found: list[int] = []
        exhaustive = True
        for tile, queries, offset in zip(tiles, asked, first_of_tile, strict=False):
            if phrase in queries:
                found += [offset + index for index in queries[phrase].object_index]
                exhaustive &= queries[phrase].exhaustive
            else:
                exhaustive &= phrase in tile.absent
        if found or exhaustive:
            joined.append(PhraseQuery(phrase=phrase, object_index=tuple(found), exhaustive=exhaustive))
    return tuple(joined)
