"""What a simulated user would correct: instances that were missed, and detections of something else.

Source: SAM 3 paper, interactive exemplars. It says neither when an instance counts as detected, nor when a detection
counts as wrong.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

DETECTED_IOU = 0.5  # from here on an instance was detected
WRONG_IOU = 0.3  # a detection that overlaps every instance by less shows something else


@dataclass(frozen=True, kw_only=True)
class DetectionErrors:
    """Rows of the missed instances and columns of the wrong detections, ascending."""

    missed: tuple[int, ...]
    wrong: tuple[int, ...]


def find_errors(
    iou: Float[np.ndarray, "truth detection"], *, detected: float = DETECTED_IOU, wrong: float = WRONG_IOU
) -> DetectionErrors:
    """The errors that a user sees at once, from the IoU of every instance with every detection.

    One detection shows one instance, as when it is scored: of two instances under a single mask or box one is missed.
    A second detection of an instance, or a poor one, is no error.
    """
    rows, columns = linear_sum_assignment(iou, maximize=True)
    is_missed = np.ones(len(iou), dtype=bool)
    is_missed[rows[iou[rows, columns] >= detected]] = False
    is_wrong = iou.max(axis=0, initial=0.0) < wrong
    return DetectionErrors(
        missed=tuple(np.flatnonzero(is_missed).tolist()), wrong=tuple(np.flatnonzero(is_wrong).tolist())
    )
