"""What the lines of the log hold: means of what updates report."""

from collections import Counter
from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor


class Means:
    """Means over the updates that reported a value: losses of phrases and of clicks come in different updates.

    What is added within an update, by its micro-batches and by all processes, are shares of one value. Values stay on
    their device until they are taken.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._updates: Counter[str] = Counter()
        self._reported: set[str] = set()

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Shares of this update's values."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0) + value
        self._reported |= values.keys()

    def end_update(self) -> None:
        """What is added next belongs to another update."""
        self._updates.update(self._reported)
        self._reported = set()

    def take(self) -> dict[str, float]:
        """The means since they were last taken, by name. All processes must ask, after reports of the same names."""
        names = list(self._sums)
        sums = torch.stack([self._sums[name].float() for name in names]) if names else torch.zeros(0)
        if dist.is_initialized():
            dist.all_reduce(sums)
        means = {name: total / self._updates[name] for name, total in zip(names, sums.tolist(), strict=True)}
        self._sums, self._updates = {}, Counter()
        return means
