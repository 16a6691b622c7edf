"""Many run-length masks at once, measured and intersected without ever becoming pixels.

The runs of all masks of a `RunTable` lie behind one another in flat arrays, so that a whole data set's worth of masks
is unpacked, measured and compared by a few array operations. Positions count down the columns, as COCO does. The runs
of mask `i` are those from `offsets[i]` to `offsets[i + 1]`; they are never empty, and rise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int64

from masklet.cached import cached
from masklet.ops.counts import MAX_PIXELS, Counts, DamagedMask, fail_at, sum_within, to_bytes, unpack_runs

CHUNK = 2**16  # characters unpacked or runs looked up at once: what a fast cache holds


_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class RunTable:
    """Runs of set pixels of many masks; each run covers the positions from `starts` up to, not including, `ends`."""

    starts: Int64[np.ndarray, " run"]
    ends: Int64[np.ndarray, " run"]
    offsets: Int64[np.ndarray, " offset"]
    heights: Int64[np.ndarray, " mask"]
    widths: Int64[np.ndarray, " mask"]

    @classmethod
    def of(
        cls,
        counts: Sequence[Counts],
        heights: Sequence[int] | Int64[np.ndarray, " mask"],
        widths: Sequence[int] | Int64[np.ndarray, " mask"],
    ) -> "RunTable":
        """Masks of COCO counts, compressed or plain. Raises: DamagedMask, naming the first row that is."""
        sizes = np.asarray(heights, np.int64), np.asarray(widths, np.int64)
        texts = []
        for row, each in enumerate(counts):
            try:
                texts.append(to_bytes(each))
            except ValueError as error:
                raise DamagedMask(row, str(error)) from error
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        parts = [
            _unpack(b"".join(texts[low:high]), lengths[low:high], sizes[0][low:high], sizes[1][low:high], low)
            for low, high in _stretches(lengths)
        ]
        starts, ends, num_runs = (np.concatenate(each) for each in zip(*parts, strict=True)) if parts else [_NONE] * 3
        offsets = np.concatenate([[0], np.cumsum(num_runs)])
        return cls(starts=starts, ends=ends, offsets=offsets, heights=sizes[0], widths=sizes[1])

    def __len__(self) -> int:
        return len(self.heights)

    def select(self, rows: Int64[np.ndarray, " row"]) -> "RunTable":
        """The table of the named masks, in that order; a mask may be named twice."""
        num_runs = self.offsets[rows + 1] - self.offsets[rows]
        members = _ranges(self.offsets[rows], num_runs)
        return RunTable(
            starts=self.starts[members],
            ends=self.ends[members],
            offsets=np.concatenate([[0], np.cumsum(num_runs)]),
            heights=self.heights[rows],
            widths=self.widths[rows],
        )

    @cached
    def areas(self) -> Int64[np.ndarray, " mask"]:
        """Pixels of each mask."""
        return np.diff(self._pixels_before[self.offsets])

    @cached
    def extents(self) -> Int64[np.ndarray, "mask 2"]:
        """The position where each mask begins and the one where it has ended; zeros for an empty one."""
        extents = np.zeros((len(self), 2), np.int64)
        filled = np.flatnonzero(np.diff(self.offsets))
        extents[filled, 0] = self.starts[self.offsets[filled]]
        extents[filled, 1] = self.ends[self.offsets[filled + 1] - 1]
        return extents

    @cached
    def boxes_xyxy(self) -> Int64[np.ndarray, "mask 4"]:
        """The tightest box around each mask, on pixel edges; zeros for an empty one."""
        boxes = np.zeros((len(self), 4), np.int64)
        filled = np.flatnonzero(np.diff(self.offsets))
        if not filled.size:
            return boxes
        height = np.repeat(self.heights, np.diff(self.offsets))
        last = self.ends - 1
        wraps = self.starts // height != last // height  # such a run holds the last row and the first of the next
        first = self.offsets[filled]
        boxes[filled, 0] = (self.starts // height)[first]
        boxes[filled, 1] = np.minimum.reduceat(np.where(wraps, 0, self.starts % height), first)
        boxes[filled, 2] = (last // height)[self.offsets[filled + 1] - 1] + 1
        boxes[filled, 3] = np.maximum.reduceat(np.where(wraps, height, last % height + 1), first)
        return boxes

    @cached
    def _pixels_before(self) -> Int64[np.ndarray, " run_plus_one"]:
        """Pixels in all runs before each run of the table."""
        return np.concatenate([[0], np.cumsum(self.ends - self.starts)])

    @cached
    def _stride(self) -> int:
        return int((self.heights * self.widths).max(initial=0)) + 1

    @cached
    def _keys(self) -> Int64[np.ndarray, " run"]:
        """Starts of all runs as one rising sequence, the masks a stride apart."""
        return self.starts + self._stride * np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def runs_within(
        self, rows: Int64[np.ndarray, " query"], extents: Int64[np.ndarray, "query 2"]
    ) -> tuple[Int64[np.ndarray, " query"], Int64[np.ndarray, " query"]]:
        """Bounds of the runs of mask `rows[i]` that may have a position in `extents[i]`; equal where none has."""
        keys = extents + self._stride * rows[:, None]
        low = np.searchsorted(self._keys, keys[:, 0], side="right") - 1  # the run before may reach into it
        high = np.searchsorted(self._keys, keys[:, 1])
        return np.clip(low, self.offsets[rows], high), np.maximum(high, self.offsets[rows])

    def pixels_before(
        self, rows: Int64[np.ndarray, " query"], positions: Int64[np.ndarray, " query"]
    ) -> Int64[np.ndarray, " query"]:
        """How many pixels of mask `rows[i]` lie before `positions[i]`."""
        if not self.ends.size:
            return np.zeros(len(rows), np.int64)
        begun = np.searchsorted(self._keys, positions + self._stride * rows)
        beyond = np.maximum(self.ends[np.maximum(begun, 1) - 1] - positions, 0)
        beyond[begun == self.offsets[rows]] = 0  # no run of this mask has begun: that end is another mask's
        return self._pixels_before[begun] - self._pixels_before[self.offsets[rows]] - beyond


def pair_intersections(
    a: RunTable, a_rows: Int64[np.ndarray, " pair"], b: RunTable, b_rows: Int64[np.ndarray, " pair"]
) -> Int64[np.ndarray, " pair"]:
    """Pixels common to mask `a_rows[i]` of `a` and mask `b_rows[i]` of `b`. Raises: ValueError where sizes differ."""
    differ = (a.heights[a_rows] != b.heights[b_rows]) | (a.widths[a_rows] != b.widths[b_rows])
    if differ.any():
        pair = int(differ.argmax())
        raise ValueError(f"mask {a_rows[pair]} and mask {b_rows[pair]} are not of one size")
    common = np.zeros(len(a_rows), np.int64)
    low, high = b.runs_within(b_rows, a.extents[a_rows])
    filled = np.flatnonzero(high > low)
    for first, last in _stretches((high - low)[filled]):
        chunk = filled[first:last]
        num_runs = high[chunk] - low[chunk]
        members = _ranges(low[chunk], num_runs)
        rows = np.repeat(a_rows[chunk], num_runs)
        inside = a.pixels_before(rows, b.ends[members]) - a.pixels_before(rows, b.starts[members])
        common[chunk] = np.add.reduceat(inside, np.cumsum(num_runs) - num_runs)
    return common


def pair_iou(
    a: RunTable, a_rows: Int64[np.ndarray, " pair"], b: RunTable, b_rows: Int64[np.ndarray, " pair"]
) -> Float[np.ndarray, " pair"]:
    """Intersection over union of the named pairs of masks; 0 where both are empty. Raises: ValueError, sizes differ."""
    common = pair_intersections(a, a_rows, b, b_rows)
    union = a.areas[a_rows] + b.areas[b_rows] - common
    return common / np.maximum(union, 1)


def iou_table(a: RunTable, b: RunTable) -> Float[np.ndarray, "mask other"]:
    """Intersection over union of every mask of `a` with every one of `b`; 0 where both are empty.

    Raises: ValueError where sizes differ.
    """
    shape = (len(a), len(b))
    rows, others = np.indices(shape).reshape(2, -1)
    return pair_iou(a, rows, b, others).reshape(shape)


def _unpack(
    data: bytes, lengths: np.ndarray, heights: np.ndarray, widths: np.ndarray, first_row: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts and ends of the set runs of some masks, and how many each has."""
    try:
        runs, num_runs = unpack_runs(data, lengths)
        _check_filled(runs, num_runs, heights, widths)
    except DamagedMask as error:
        raise DamagedMask(first_row + error.row, error.reason) from error
    start_of = np.repeat(np.cumsum(num_runs) - num_runs, num_runs)
    is_odd = ((np.arange(len(runs)) - start_of) & 1).astype(bool)
    before = np.concatenate([[0], np.cumsum(runs)])
    is_set = is_odd & (runs > 0)
    base = before[start_of[is_set]]
    return before[:-1][is_set] - base, before[1:][is_set] - base, sum_within(is_set, num_runs)


def _check_filled(runs: np.ndarray, num_runs: np.ndarray, heights: np.ndarray, widths: np.ndarray) -> None:
    """Raises: DamagedMask unless runs are plausible and fill each mask."""
    out_of_range = (heights < 0) | (widths < 0) | (heights * widths > MAX_PIXELS)
    if out_of_range.any():
        row = int(out_of_range.argmax())
        raise DamagedMask(row, f"a size of {heights[row]} x {widths[row]} pixels is out of range")
    wrong = (runs < 0) | (runs > MAX_PIXELS)
    if wrong.any():
        fail_at(np.cumsum(num_runs), int(wrong.argmax()), "a negative run, or one larger than any image")
    filled = sum_within(runs, num_runs)
    short = filled != heights * widths
    if short.any():
        row = int(short.argmax())
        raise DamagedMask(row, f"runs of {filled[row]} pixels do not fill {heights[row]} x {widths[row]}")


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The numbers from each start on, as many as its length says, one range behind another."""
    return np.arange(lengths.sum()) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)


def _stretches(sizes: np.ndarray) -> list[tuple[int, int]]:
    """Bounds of stretches of about `CHUNK` each, none of them empty."""
    cuts = np.flatnonzero(np.diff(np.cumsum(sizes) // CHUNK)) + 1
    bounds = [0, *cuts.tolist(), len(sizes)]
    return list(pairwise(bounds)) if len(sizes) else []
