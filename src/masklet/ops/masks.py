"""Masks: COCO run-length coding, polygons, boxes, overlaps.

Arrays are `[height, width]` bool; runs go down the columns, as COCO counts them. Polygon and box coordinates are those
of pixel edges: pixel (column 0, row 0) covers [0, 1] x [0, 1], and belongs to a polygon when its centre does.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from masklet.ops.counts import MAX_PIXELS, Counts, pack_runs, read_runs

Polygon = Float[np.ndarray, "_ 2"]


def rle_encode(mask: Bool[np.ndarray, "height width"]) -> str:
    """Compressed COCO counts of a mask; the size goes beside it, as `{"size": [height, width], "counts": ...}`."""
    height = mask.shape[0]
    columns = np.flatnonzero(mask.any(axis=0))  # only the columns in use are laid out anew, which is the slow part
    low, high = (columns[0], columns[-1] + 1) if columns.size else (0, 0)
    pixels = np.pad(mask[:, low:high].ravel(order="F"), 1)
    ends = np.flatnonzero(pixels[1:] != pixels[:-1]) + low * height
    if not ends.size or ends[-1] != mask.size:
        ends = np.append(ends, mask.size)
    return pack_runs(np.diff(ends, prepend=0))


def rle_decode(counts: Counts, height: int, width: int) -> Bool[np.ndarray, "height width"]:
    """Mask of COCO counts, compressed or plain; ValueError when they do not describe a mask of that size."""
    if height < 0 or width < 0 or height * width > MAX_PIXELS:
        raise ValueError(f"a mask of {height} x {width} pixels is out of range")
    runs = read_runs(counts)
    if int(runs.sum()) != height * width:
        raise ValueError(f"runs of {int(runs.sum())} pixels do not fill a mask of {height} x {width}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape((height, width), order="F")


def fills(counts: Counts, height: int, width: int) -> bool:
    """Whether COCO counts describe a mask of this size."""
    try:
        return 0 <= height * width <= MAX_PIXELS and int(read_runs(counts).sum()) == height * width
    except ValueError:
        return False


def rle_area(counts: Counts) -> int:
    """Number of pixels set."""
    return int(read_runs(counts)[1::2].sum())


def polygons_to_mask(
    polygons: Sequence[Polygon | Sequence[float | int]], height: int, width: int
) -> Bool[np.ndarray, "height width"]:
    """Pixels whose centre lies in any of the polygons, given as points or as flat x, y, x, y, ... lists.

    Even-odd rule within a polygon, union over polygons. Parts outside the image are cut off.
    """
    mask = np.zeros((height, width), dtype=bool)
    for polygon in polygons:
        points = np.asarray(polygon, dtype=np.float64)
        if points.size % 2 or points.size < 6 or not np.isfinite(points).all():
            raise ValueError("a polygon needs three points or more, each a pair of finite numbers")
        mask |= _fill(points.reshape(-1, 2), height, width)
    return mask


def _fill(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """An edge flips the pixels right of where it crosses the centre line of a row; inside is an odd number of flips."""
    start, end = points, np.roll(points, -1, axis=0)
    start, end = np.where((start[:, 1] <= end[:, 1])[:, None], np.stack([start, end]), np.stack([end, start]))
    first = np.clip(np.ceil(start[:, 1] - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil(end[:, 1] - 0.5), 0, height).astype(np.int64)
    crossed = last - first
    edge = np.repeat(np.arange(len(points)), crossed)
    row = np.arange(crossed.sum()) - np.repeat(np.cumsum(crossed) - crossed, crossed) + first[edge]
    along = (row + 0.5 - start[edge, 1]) / (end[edge, 1] - start[edge, 1])
    crossing = start[edge, 0] + along * (end[edge, 0] - start[edge, 0])
    flips = np.zeros((height, width + 1), dtype=np.uint8)
    np.add.at(flips, (row, np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)), 1)
    return (np.cumsum(flips, axis=1, dtype=np.uint32)[:, :width] % 2).astype(bool)


def mask_to_polygons(mask: Bool[np.ndarray, "height width"], tolerance: float = 0.0) -> list[Polygon]:
    """Outer outlines along pixel edges, largest first; holes are not reported, pixels touching at a corner are apart.

    With `tolerance` 0 the outlines give a mask without holes back exactly; otherwise points closer than that many
    pixels to the simplified outline are left out (Douglas-Peucker).
    """
    return [loop for loop in _loops(mask, tolerance) if _signed_area(loop) > 0]


def mask_to_outline(mask: Bool[np.ndarray, "height width"], tolerance: float = 0.0) -> Polygon:
    """One closed walk around all parts of a mask and into all holes, `[0, 2]` for an empty one.

    It goes to each next part or hole and back over the shortest gap of no width, so it encloses the mask's pixels by
    the even-odd rule. `tolerance` is that of `mask_to_polygons`.
    """
    loops = _loops(mask, tolerance)
    if not loops:
        return np.zeros((0, 2))
    joined = loops[0]
    for loop in loops[1:]:
        gaps = ((joined[:, None] - loop[None]) ** 2).sum(axis=-1)
        here, there = np.unravel_index(gaps.argmin(), gaps.shape)
        detour = np.concatenate([loop[there:], loop[: there + 1]])
        joined = np.concatenate([joined[: here + 1], detour, joined[here:]])
    return joined


def _loops(mask: np.ndarray, tolerance: float) -> list[np.ndarray]:
    """Outlines of parts and, walked the other way round, of holes, the largest first."""
    loops = sorted(_outlines(mask), key=lambda loop: abs(_signed_area(loop)), reverse=True)
    return [_simplify(loop, tolerance) if tolerance > 0 else loop for loop in loops]


def _outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Closed walks around the set pixels, which lie on the right hand; clockwise on screen around the outside."""
    padded = np.pad(mask, 1)
    stride = mask.shape[1] + 1
    down = padded[1:, 1:-1].astype(np.int8) - padded[:-1, 1:-1]  # +1: the pixel below is set, walk east
    across = padded[1:-1, 1:].astype(np.int8) - padded[1:-1, :-1]  # +1: the pixel to the right is set, walk north
    starts, headings = [], []
    edges = ((down, 1, 0), (across, -1, 0), (down, -1, 1), (across, 1, stride))
    for heading, (changes, sign, shift) in enumerate(edges):
        rows, columns = np.nonzero(changes == sign)
        starts.append(rows * stride + columns + shift)
        headings.append(np.full(len(rows), heading))
    start, heading = np.concatenate(starts), np.concatenate(headings)
    if not start.size:
        return []
    order = np.lexsort((heading, start))
    start, heading = start[order], heading[order]
    end = start + np.array([1, stride, -1, -stride])[heading]
    following = np.searchsorted(start, end)
    second = np.minimum(following + 1, start.size - 1)
    has_choice = (start[second] == end) & (second != following)  # pixels touch at a corner: turn right, stay on ours
    turn_right = heading[second] == (heading + 1) % 4
    following = np.where(has_choice & turn_right, second, following)
    corners = heading[following] != heading  # the end of the edge is a corner
    loops = [end[loop][corners[loop]] for loop in _cycles(following.tolist())]
    return [np.stack([loop % stride, loop // stride], axis=-1).astype(np.float64) for loop in loops]


def _cycles(following: list[int]) -> list[list[int]]:
    seen = [False] * len(following)
    cycles = []
    for first in range(len(following)):
        cycle, index = [], first
        while not seen[index]:
            seen[index] = True
            cycle.append(index)
            index = following[index]
        if cycle:
            cycles.append(cycle)
    return cycles


def polygon_area(points: Polygon) -> float:
    """The area that a polygon encloses, in pixels."""
    return abs(_signed_area(points))


def _signed_area(points: np.ndarray) -> float:
    x, y = points[:, 0], points[:, 1]
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _simplify(points: np.ndarray, tolerance: float) -> np.ndarray:
    """Douglas-Peucker on a closed outline, cut at its first point and at the point farthest from it."""
    far = int(np.argmax(((points - points[0]) ** 2).sum(axis=1)))
    closed = np.concatenate([points, points[:1]])
    keep = np.zeros(len(closed), dtype=bool)
    keep[[0, far, -1]] = True
    spans = [(0, far), (far, len(closed) - 1)]
    while spans:
        low, high = spans.pop()
        if high - low < 2:
            continue
        chord = closed[high] - closed[low]
        offset = closed[low + 1 : high] - closed[low]
        length = np.hypot(*chord)
        distance = np.abs(chord[0] * offset[:, 1] - chord[1] * offset[:, 0]) / max(length, 1e-9)
        middle = int(np.argmax(distance))
        if distance[middle] > tolerance:
            keep[low + 1 + middle] = True
            spans += [(low, low + 1 + middle), (low + 1 + middle, high)]
    kept = closed[:-1][keep[:-1]]
    return kept if len(kept) >= 3 else points


def mask_to_box(mask: Bool[np.ndarray, "height width"]) -> tuple[int, int, int, int] | None:
    """The tightest box around the pixels set, xyxy on pixel edges; None for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def deepest_point(region: Bool[np.ndarray, "height width"]) -> tuple[float, float, float]:
    """Depth of the pixel of a region that is farthest from its outside, and x and y of its middle; 0 where it is empty.

    Pixels beyond the border of the image are outside.
    """
    from scipy import ndimage  # a quarter of a second to import, and only clicks need it

    box = mask_to_box(region)
    if box is None:
        return 0.0, 0.0, 0.0
    left, top, right, bottom = box
    depth = np.asarray(ndimage.distance_transform_edt(np.pad(region[top:bottom, left:right], 1)))[1:-1, 1:-1]
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return float(depth[row, column]), left + float(column) + 0.5, top + float(row) + 0.5


def mask_iou(
    a: Bool[np.ndarray, "mask height width"], b: Bool[np.ndarray, "other height width"]
) -> Float[np.ndarray, "mask other"]:
    """Intersection over union of every mask of `a` with every one of `b`; 0 where both are empty."""
    flat_a = a.reshape(len(a), a.shape[1] * a.shape[2])
    flat_b = b.reshape(len(b), b.shape[1] * b.shape[2])
    area_a, area_b = flat_a.sum(axis=1), flat_b.sum(axis=1)
    intersection = np.zeros((len(a), len(b)), dtype=np.float64)
    for index, row in enumerate(flat_a):
        intersection[index] = flat_b[:, row].sum(axis=1)
    union = area_a[:, None] + area_b[None, :] - intersection
    return intersection / np.maximum(union, 1)
