"""Means of reported values, for the lines of the log."""

from collections import Counter
from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor


class Means:
    """Means over the updates that reported a value, as losses of phrases and of clicks come in different updates.

    Values added within an update, by its micro-batches and by all processes, are shares of one value. They stay on
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
        """Ends an update: later values belong to the next one."""
        self._updates.update(self._reported)
        self._reported = set()

    def take(self) -> dict[str, float]:
        """The means since the last call, by name. All processes must call it, after reports of the same names."""
        names = list(self._sums)
        sums = torch.stack([self._sums[name].float() for name in names]) if names else torch.zeros(0)
        if dist.is_initialized():
            dist.all_reduce(sums)
        means = {name: total / self._updates[name] for name, total in zip(names, sums.tolist(), strict=True)}
        self._sums, self._updates = {}, Counter()
        return means
