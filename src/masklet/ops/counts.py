"""COCO's run-length code: the runs of one mask or of many, from compressed text or plain lists, and back."""

from typing import NoReturn

import numpy as np
from jaxtyping import Int64

MAX_PIXELS = 2**30  # far above any image read here; keeps a corrupt file from asking for all the memory
MAX_DIGITS = 7

Counts = str | bytes | list

_SIGNED = ((np.arange(64) & 31) ^ 16) - 16  # five bits with a sign


class DamagedMask(ValueError):
    """Counts that describe no mask of their size; `row` says whose."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(f"mask {row}: {reason}")
        self.row, self.reason = row, reason


def read_runs(counts: Counts) -> Int64[np.ndarray, " run"]:
    """Run lengths of one mask, alternately clear and set, that are known to be plausible. Raises: ValueError."""
    if isinstance(counts, (str, bytes)):
        data = to_bytes(counts)
        try:
            runs, _ = unpack_runs(data, np.array([len(data)]))
        except DamagedMask as error:
            raise ValueError(error.reason) from error
    else:
        runs = np.asarray(counts if counts else np.zeros(0, dtype=np.int64))
        if runs.dtype.kind not in "iu" or runs.ndim != 1:
            raise ValueError("run lengths must be a flat list of whole numbers")
        runs = runs.astype(np.int64)
    if runs.size and (runs.min() < 0 or runs.max() > MAX_PIXELS):
        raise ValueError("run lengths are negative or larger than any image")
    return runs


def to_bytes(counts: Counts) -> bytes:
    """Compressed counts. Raises: ValueError when they are no run lengths."""
    if isinstance(counts, list):
        counts = pack_runs(read_runs(counts))
    try:
        return counts.encode("ascii") if isinstance(counts, str) else bytes(counts)
    except UnicodeEncodeError as error:
        raise ValueError("compressed counts hold a character outside ASCII") from error


def pack_runs(runs: Int64[np.ndarray, " run"]) -> str:
    """Runs from the fourth on less the one two before, in groups of five bits with a sign, low group first."""
    values = runs.copy()
    values[3:] -= runs[1:-2]
    limits = 16 * 32 ** np.arange(7)
    magnitude = np.where(values < 0, ~values, values)
    lengths = np.searchsorted(limits, magnitude, side="right") + 1
    position = np.arange(lengths.max(initial=1))
    groups = (values[:, None] >> (5 * position)) & 31
    groups[position < lengths[:, None] - 1] |= 32
    return (groups[position < lengths[:, None]] + 48).astype(np.uint8).tobytes().decode("ascii")


def unpack_runs(
    data: bytes, lengths: Int64[np.ndarray, " mask"]
) -> tuple[Int64[np.ndarray, " run"], Int64[np.ndarray, " mask"]]:
    """The runs of many masks, whose compressed counts of these lengths follow one another, and how many each has.

    Raises: DamagedMask naming the first row whose counts are damaged; runs may still be implausible.
    """
    values, num_runs = _numbers(data, lengths)
    return _add_up_differences(values, np.cumsum(num_runs) - num_runs, num_runs), num_runs


def _numbers(data: bytes, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers as they are written, and how many each mask has.

    Nearly all numbers are one character, so the last and highest one is taken of each, and the others are added where
    there are any.
    """
    groups = np.frombuffer(data, dtype=np.uint8) - np.uint8(48)
    text_ends = np.cumsum(lengths)
    if groups.size and groups.max() > 63:
        fail_at(text_ends, int((groups > 63).argmax()), "a character that is no run length")
    is_last = (groups & 32) == 0
    filled = np.flatnonzero(lengths)
    if not is_last[text_ends[filled] - 1].all():
        raise DamagedMask(int(filled[~is_last[text_ends[filled] - 1]][0]), "compressed counts are cut short")
    ends = np.flatnonzero(is_last)
    values = _SIGNED[groups[ends]]
    digits = np.diff(ends, prepend=-1)
    if digits.size and digits.max() > MAX_DIGITS:
        fail_at(text_ends, int(ends[digits.argmax()]), "a number larger than any image")
    longer = np.flatnonzero(digits > 1)
    for place in range(1, int(digits.max(initial=1))):
        longer = longer[digits[longer] > place]
        values[longer] = (values[longer] << 5) + (groups[ends[longer] - place] & 31)
    return values, sum_within(is_last, lengths)


def _add_up_differences(values: np.ndarray, first: np.ndarray, num_runs: np.ndarray) -> np.ndarray:
    """From the fourth on, a number is the difference from the one two before: odd and even places add up apart.

    Every other number of the whole array is summed, over all masks, and what stood before each mask is taken off.
    """
    start_of = np.repeat(first, num_runs)
    is_odd = ((np.arange(len(values)) - start_of) & 1).astype(bool)
    sums = np.zeros(len(values) + 1, np.int64)  # the last one is 0: it is what stood before the first mask
    np.cumsum(values[0::2], out=sums[:-1][0::2])
    np.cumsum(values[1::2], out=sums[:-1][1::2])
    runs = sums[:-1] - sums[start_of - is_odd]
    first = first[first < len(values)]
    runs[first] = values[first]
    return runs


def sum_within(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Sums over stretches of the given lengths; of truth values, how many are True."""
    sums = np.concatenate([[0], np.cumsum(values)])
    last = np.cumsum(lengths)
    return sums[last] - sums[last - lengths]


def fail_at(stretch_ends: np.ndarray, position: int, what: str) -> NoReturn:
    """Raises: DamagedMask of the mask whose stretch holds the position."""
    row = int(np.searchsorted(stretch_ends, position, side="right"))
    raise DamagedMask(row, f"its run-length counts hold {what}")
