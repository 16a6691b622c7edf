"""The sources of a recipe, opened once and drawn from by its phases: images for concepts, clips for tracking."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from masklet.data.sources import ExampleSource, GeneratedSource
from masklet.data.videos import VideoClips
from masklet.scenes.moving.stills import ClipSource, GeneratedClips, StillClips
from masklet.train.recipes.schema import Phase, Recipe, TrackingPhase
from masklet.train.recipes.source_specs import GeneratedSpec, VideoSpec, open_images, open_renderers, open_videos


class PhaseSources:
    """Opens the sources that a phase draws from, by name; what is read from files is read once."""

    def __init__(self, recipe: Recipe) -> None:
        self.root, self.specs = Path(recipe.data.root), recipe.data.sources
        self._opened: dict[str, Any] = {}

    def images(self, phase: Phase) -> dict[str, ExampleSource]:
        """Labelled images; generated ones with the phase's options."""
        sources: dict[str, ExampleSource] = {}
        for name in phase.drawn:
            spec = self.specs[name]
            if isinstance(spec, GeneratedSpec):
                render, _ = self._once(name, partial(open_renderers, spec))
                sources[name] = GeneratedSource(partial(render, config=phase.options[name]))
            else:
                sources[name] = self._once(name, partial(open_images, spec))
        return sources

    def clips(self, phase: TrackingPhase, num_frames: int) -> dict[str, ClipSource]:
        """Clips of that length: generated ones, parts of videos, and images set in motion."""
        sources: dict[str, ClipSource] = {}
        for name in phase.drawn:
            spec, shape = self.specs[name], {"size": phase.image_size, "num_frames": num_frames}
            if isinstance(spec, GeneratedSpec):
                _, render = self._once(name, partial(open_renderers, spec))
                sources[name] = GeneratedClips(partial(render, config=phase.options[name], num_frames=num_frames))
            elif isinstance(spec, VideoSpec):
                videos = self._once(name, partial(open_videos, spec))
                sources[name] = VideoClips(videos=videos, augment=phase.augment, **shape)
            else:
                stills = self._once(name, partial(open_images, spec))
                sources[name] = StillClips(source=stills, augment=phase.augment, **shape)
        return sources

    def _once(self, name: str, open_at: Callable[[Path], Any]) -> Any:
        if name not in self._opened:
            self._opened[name] = open_at(self.root)
        return self._opened[name]
