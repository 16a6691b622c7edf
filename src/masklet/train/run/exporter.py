"""The files that a run writes for use: whole weights, or an adapter of its base."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from masklet.checkpoints.adapters import write_adapter
from masklet.checkpoints.weights import Weights, write
from masklet.nn.lora import Adapter, merge
from masklet.train.recipes.schema import Recipe


@dataclass(frozen=True, kw_only=True)
class Exporter:
    """Writes learnt tensors, by their names in the trained model, to files that `masklet.load` takes.

    Learnt weights are stored in float16 (the checkpoint holds float32), all others as the base has them. `names` are
    those of the learnt parameters.
    """

    base: Weights
    recipe: Recipe
    names: frozenset[str]
    out: Path

    @property
    def best(self) -> Path:
        """The file for use: the best weights of the run."""
        return self.out / ("weights.safetensors" if self._scale is None else "adapter.safetensors")

    @property
    def last(self) -> Path:
        """The file of the last weights, when they are not the best."""
        return self.out / ("last.safetensors" if self._scale is None else "last-adapter.safetensors")

    def weights(self, learnt: Mapping[str, Tensor]) -> Weights:
        """The whole model as it would be loaded."""
        state = self._changed(learnt)
        if self._scale is not None:
            merged = merge(self.base.state, [(Adapter(tensors=state, scale=self._scale), 1.0)])
            return replace(self.base, state=merged, digest="")
        halves = {name: value.half() for name, value in state.items()}
        return replace(self.base, state=self.base.state | halves, digest="")

    def write(self, learnt: Mapping[str, Tensor], path: Path) -> None:
        """Writes `best` or `last`. Raises: InputError when it cannot be written; an older file is then kept."""
        name = self.recipe.initial_weights
        if self._scale is None or name is None:
            write(self.weights(learnt), path)
        else:
            write_adapter(Adapter(tensors=self._changed(learnt), scale=self._scale), self.base, name, path)

    @property
    def _scale(self) -> float | None:
        return None if self.recipe.lora is None else self.recipe.lora.scale

    def _changed(self, learnt: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {
            name: value.cpu() for name, value in learnt.items() if name in self.names or name not in self.base.state
        }
