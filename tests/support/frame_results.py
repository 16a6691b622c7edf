"""Results of a frame, made by hand."""

import numpy as np

from masklet.inference.video.frame_result import FrameResult
from masklet.ops.masks import rle_encode


def rectangle(size, x0, y0, x1, y1):
    mask = np.zeros(size, dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def make(masks, object_scores, *, precedence=None, ids=None, concepts=None, image=None, index=3):
    count = len(masks)
    return FrameResult(
        index=index,
        time=index / 10,
        size=masks[0].shape if count else (40, 60),
        ids=np.array(range(1, count + 1) if ids is None else ids, dtype=np.int64),
        concepts=tuple(concepts or ["dog"] * count),
        scores=np.linspace(0.9, 0.5, count, dtype=np.float32),
        object_scores=np.array(object_scores, dtype=np.float32),
        precedence=np.array(object_scores if precedence is None else precedence, dtype=np.float32),
        rles=tuple(map(rle_encode, masks)),
        image=image,
    )
