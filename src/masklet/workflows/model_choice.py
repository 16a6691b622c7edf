"""Which model a workflow loads, and where it computes."""

from dataclasses import dataclass
from typing import Any

import masklet


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """Arguments of `masklet.load`."""

    name: str = "tiny"
    device: str = "auto"
    dtype: str = "auto"

    def load(self) -> Any:  # a `Model`, which satisfies the protocols of evaluation at run time alone
        """The `masklet.Model`. Raises: InputError when it cannot be found, read or run there."""
        return masklet.load(self.name, device=self.device, dtype=self.dtype)
