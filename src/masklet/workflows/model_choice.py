"""Which model a workflow loads, and where it computes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import masklet

if TYPE_CHECKING:
    from masklet import Model


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """Arguments of `masklet.load`."""

    name: str = "tiny"
    device: str = "auto"
    dtype: str = "auto"

    def load(self) -> "Model":
        """The model. Raises: InputError when it cannot be found, read or run there."""
        return masklet.load(self.name, device=self.device, dtype=self.dtype)
