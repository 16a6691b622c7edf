"""Many run-length masks at once, measured and intersected without ever becoming pixels.

The runs of all masks of a `RunTable` lie behind one another in flat arrays, so that a whole data set's worth of masks
is unpacked, measured and compared by a few array operations. Positions count down the columns, as COCO does. The runs
of mask `i` are those from `offsets[i]` to `offsets[i + 1]`; they are never empty, and rise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

import numpy as np
from jaxtyping import Bool, Float, Int64

from masklet.ops.masks import MAX_PIXELS, Counts, pack_runs, read_runs

CHUNK_RUNS = 2**20  # runs looked up at once


class DamagedMask(ValueError):
    """Counts that describe no mask of their size; `row` says whose."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(f"mask {row}: {reason}")
        self.row, self.reason = row, reason


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
        texts = [_compressed(row, each) for row, each in enumerate(counts)]
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        runs, num_runs = _unpack_all(b"".join(texts), lengths)
        _check_filled(runs, num_runs, *sizes)
        ends = np.cumsum(runs)
        first = np.cumsum(num_runs) - num_runs
        ends -= np.repeat(_at(ends, first) - _at(runs, first), num_runs)
        place = np.arange(len(runs)) - np.repeat(first, num_runs)
        is_set = (place % 2 == 1) & (runs > 0)
        set_runs = _per_mask(is_set, num_runs)
        return cls(
            starts=(ends - runs)[is_set],
            ends=ends[is_set],
            offsets=np.concatenate([[0], np.cumsum(set_runs)]),
            heights=sizes[0],
            widths=sizes[1],
        )

    def __len__(self) -> int:
        return len(self.heights)

    def select(self, rows: Int64[np.ndarray, " row"]) -> "RunTable":
        """The table of the named masks, in that order; a mask may be named twice."""
        members, num_runs = self._runs_of(rows)
        return RunTable(
            starts=self.starts[members],
            ends=self.ends[members],
            offsets=np.concatenate([[0], np.cumsum(num_runs)]),
            heights=self.heights[rows],
            widths=self.widths[rows],
        )

    @cached_property
    def areas(self) -> Int64[np.ndarray, " mask"]:
        """Pixels of each mask."""
        return np.diff(self._pixels_before[self.offsets])

    @cached_property
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

    @cached_property
    def _pixels_before(self) -> Int64[np.ndarray, " run_plus_one"]:
        """Pixels in all runs before each run of the table."""
        return np.concatenate([[0], np.cumsum(self.ends - self.starts)])

    @cached_property
    def _stride(self) -> int:
        return int((self.heights * self.widths).max(initial=0)) + 1

    @cached_property
    def _keys(self) -> Int64[np.ndarray, " run"]:
        """Starts of all runs as one rising sequence, the masks a stride apart."""
        return self.starts + self._stride * np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def _runs_of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the runs of the named masks are, and how many each has."""
        num_runs = self.offsets[rows + 1] - self.offsets[rows]
        base = self.offsets[rows] - (np.cumsum(num_runs) - num_runs)
        return np.arange(num_runs.sum()) + np.repeat(base, num_runs), num_runs

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
    near = np.flatnonzero(_touch(a.boxes_xyxy[a_rows], b.boxes_xyxy[b_rows]))
    for chunk in _chunks(near, np.diff(b.offsets)[b_rows[near]]):
        members, num_runs = b._runs_of(b_rows[chunk])
        rows = np.repeat(a_rows[chunk], num_runs)
        inside = a.pixels_before(rows, b.ends[members]) - a.pixels_before(rows, b.starts[members])
        first = np.cumsum(num_runs) - num_runs
        common[chunk] = np.add.reduceat(inside, first) if inside.size else 0
    return common


def pair_iou(
    a: RunTable, a_rows: Int64[np.ndarray, " pair"], b: RunTable, b_rows: Int64[np.ndarray, " pair"]
) -> Float[np.ndarray, " pair"]:
    """Intersection over union of the named pairs of masks; 0 where both are empty. Raises: ValueError, sizes differ."""
    common = pair_intersections(a, a_rows, b, b_rows)
    union = a.areas[a_rows] + b.areas[b_rows] - common
    return common / np.maximum(union, 1)


def _compressed(row: int, counts: Counts) -> bytes:
    try:
        text = counts if isinstance(counts, (str, bytes)) else pack_runs(read_runs(counts))
        return text.encode("ascii") if isinstance(text, str) else text
    except ValueError as error:
        raise DamagedMask(row, str(error)) from error


def _unpack_all(data: bytes, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Run lengths of all masks behind one another, and how many each has. `ops.masks` tells the code of one mask."""
    groups = np.frombuffer(data, dtype=np.uint8).astype(np.int64) - 48
    text_ends = np.cumsum(lengths)
    is_last = groups & 32 == 0
    bad = (groups < 0) | (groups > 63)
    if bad.any():
        _damaged(text_ends, int(bad.argmax()), "a character that is no run length")
    nonempty = lengths > 0
    if not is_last[text_ends[nonempty] - 1].all():
        row = int(np.flatnonzero(nonempty)[~is_last[text_ends[nonempty] - 1]][0])
        raise DamagedMask(row, "compressed counts are cut short")
    ends = np.flatnonzero(is_last)
    if not ends.size:
        return np.zeros(0, np.int64), np.zeros(len(lengths), np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    digits = ends - starts + 1
    if digits.max() > 7:
        _damaged(text_ends, int(starts[digits.argmax()]), "a number larger than any image")
    place = np.arange(groups.size) - np.repeat(starts, digits)
    values = np.add.reduceat((groups & 31) << (5 * place), starts)
    values -= np.where(groups[ends] & 16, 1 << (5 * digits), 0)
    num_runs = _per_mask(is_last, lengths)
    return _add_up_differences(values, num_runs), num_runs


def _add_up_differences(values: np.ndarray, num_runs: np.ndarray) -> np.ndarray:
    """From the fourth on, a number is the difference from the one two before: odd and even places add up apart."""
    first = np.cumsum(num_runs) - num_runs
    place = np.arange(len(values)) - np.repeat(first, num_runs)
    for chosen in (place % 2 == 1, (place % 2 == 0) & (place > 0)):
        sums = np.cumsum(values[chosen])
        count = _per_mask(chosen, num_runs)
        before = np.concatenate([[0], sums])[np.cumsum(count) - count]
        values[chosen] = sums - np.repeat(before, count)
    return values


def _per_mask(chosen: Bool[np.ndarray, " item"], lengths: np.ndarray) -> np.ndarray:
    """How many items are chosen in each stretch of the given lengths."""
    seen = np.concatenate([[0], np.cumsum(chosen)])
    last = np.cumsum(lengths)
    return seen[last] - seen[last - lengths]


def _check_filled(runs: np.ndarray, num_runs: np.ndarray, heights: np.ndarray, widths: np.ndarray) -> None:
    """Raises: DamagedMask unless runs are plausible and fill each mask."""
    out_of_range = (heights < 0) | (widths < 0) | (heights * widths > MAX_PIXELS)
    if out_of_range.any():
        row = int(out_of_range.argmax())
        raise DamagedMask(row, f"a size of {heights[row]} x {widths[row]} pixels is out of range")
    wrong = (runs < 0) | (runs > MAX_PIXELS)
    if wrong.any():
        _damaged(np.cumsum(num_runs), int(wrong.argmax()), "a negative run, or one larger than any image")
    sums = np.concatenate([[0], np.cumsum(runs)])
    last = np.cumsum(num_runs)
    filled = sums[last] - sums[last - num_runs]
    short = filled != heights * widths
    if short.any():
        row = int(short.argmax())
        raise DamagedMask(row, f"runs of {filled[row]} pixels do not fill {heights[row]} x {widths[row]}")


def _damaged(stretch_ends: np.ndarray, position: int, what: str) -> NoReturn:
    row = int(np.searchsorted(stretch_ends, position, side="right"))
    raise DamagedMask(row, f"its run-length counts hold {what}")


def _at(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Values at the places named; a place behind the end, where an empty mask would begin, gives 0."""
    return np.append(values, 0)[index]


def _touch(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether boxes have a pixel in common."""
    return np.all(np.minimum(a[:, 2:], b[:, 2:]) > np.maximum(a[:, :2], b[:, :2]), axis=1)


def _chunks(items: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
    """Items in order, in stretches that hold about `CHUNK_RUNS` together; those of no size are left out."""
    items, sizes = items[sizes > 0], sizes[sizes > 0]
    stretch = np.cumsum(sizes) // CHUNK_RUNS
    return np.split(items, np.flatnonzero(np.diff(stretch)) + 1) if items.size else []
