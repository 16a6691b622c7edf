"""The mean of two sets of weights of one model, one learnt on from the other.

    python runs/mean_weights.py BEFORE AFTER OUT

Where a short training moves weights to and fro, their mean lies nearer to what both look for.
"""

import sys
from dataclasses import replace
from pathlib import Path

from masklet.checkpoints.adapters import read
from masklet.checkpoints.weights import write


def main(before: Path, after: Path, out: Path) -> None:
    """Writes it in the type of the second."""
    one, other = read(before), read(after)
    mean = {
        name: ((one.state[name].float() + value.float()) / 2).to(value.dtype) for name, value in other.state.items()
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    write(replace(other, state=mean, digest=""), out)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
