"""Which of several processes of a training run speaks for all."""

import os


def is_first_process() -> bool:
    """Whether this is the only process of the run, or the first of several."""
    return os.environ.get("RANK", "0") == "0"
