"""Where a run's pictures come from: the sources of a recipe, opened once and drawn from by its phases."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from masklet.data.sources import ExampleSource, GeneratedSource
from masklet.scenes.cutouts import CutoutLibrary, compose_scene
from masklet.scenes.layout import SceneConfig
from masklet.scenes.scene import render_scene
from masklet.train.recipes.schema import Phase, Recipe, settings
from masklet.train.recipes.source_specs import CutoutsSpec, ScenesSpec, SourceSpec, open_pictures


class SourceShelf:
    """Builds the sources that a phase draws from; what is read from files is read once."""

    def __init__(self, recipe: Recipe) -> None:
        self.root, self.specs = Path(recipe.data.root), recipe.data.sources
        self.loaded: dict[str, Any] = {}

    def __call__(self, phase: Phase) -> dict[str, ExampleSource]:
        """Sources by name, with the phase's options."""
        return {
            name: self._build(name, self.specs[name], {"size": phase.image_size, **phase.options.get(name, {})})
            for name, weight in phase.weights.items()
            if weight > 0
        }

    def _build(self, name: str, spec: SourceSpec, options: dict[str, Any]) -> ExampleSource:
        if isinstance(spec, ScenesSpec):
            return GeneratedSource(partial(render_scene, config=scene_config(spec, options)))
        if isinstance(spec, CutoutsSpec):
            library = self._once(
                name, lambda: CutoutLibrary.open(self.root / spec.cutouts, self.root / spec.backgrounds, split="train")
            )
            return GeneratedSource(partial(compose_scene, library=library, config=scene_config(spec, options)))
        return self._once(name, lambda: open_pictures(spec, self.root))

    def _once(self, name: str, load: Callable[[], Any]) -> Any:
        if name not in self.loaded:
            self.loaded[name] = load()
        return self.loaded[name]


def scene_config(spec: ScenesSpec | CutoutsSpec, options: dict[str, Any]) -> SceneConfig:
    """The sampling weights of a source, changed by a phase."""
    return settings(SceneConfig, {**spec.options, **options})
