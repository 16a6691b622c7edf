"""The sources of a recipe, opened once and drawn from by its phases: images for concepts, clips for tracking."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from masklet.data.sources import ExampleSource, GeneratedSource
from masklet.data.videos import VideoClips
from masklet.scenes.moving.stills import ClipSource, GeneratedClips, StillClips
from masklet.train.recipes.schema import Phase, Recipe, TrackingPhase
from masklet.train.recipes.source_specs import GeneratedSpec, VideoSpec, open_images, open_videos


class SourceShelf:
    """Builds the sources that a phase draws from, by name; what is read from files is read once."""

    def __init__(self, recipe: Recipe) -> None:
        self.root, self.specs = Path(recipe.data.root), recipe.data.sources
        self._opened: dict[str, Any] = {}

    def images(self, phase: Phase) -> dict[str, ExampleSource]:
        """Labelled images; generated ones with the phase's options."""
        return {name: self._images(name, phase) for name in phase.drawn}

    def clips(self, phase: TrackingPhase, num_frames: int) -> dict[str, ClipSource]:
        """Clips of that length: generated ones, parts of videos, and images set in motion."""
        return {name: self._clips(name, phase, num_frames) for name in phase.drawn}

    def _images(self, name: str, phase: Phase) -> ExampleSource:
        spec = self.specs[name]
        if isinstance(spec, GeneratedSpec):
            render = self._once(name, lambda: spec.image_renderer(self.root))
            return GeneratedSource(partial(render, config=phase.options[name]))
        return self._once(name, lambda: open_images(spec, self.root))

    def _clips(self, name: str, phase: TrackingPhase, num_frames: int) -> ClipSource:
        spec = self.specs[name]
        if isinstance(spec, GeneratedSpec):
            render = self._once(name, lambda: spec.clip_renderer(self.root))
            return GeneratedClips(partial(render, config=phase.options[name], num_frames=num_frames))
        if isinstance(spec, VideoSpec):
            videos = self._once(name, lambda: open_videos(spec, self.root))
            return VideoClips(videos=videos, size=phase.image_size, num_frames=num_frames, augment=phase.augment)
        stills = self._once(name, lambda: open_images(spec, self.root))
        return StillClips(source=stills, size=phase.image_size, num_frames=num_frames, augment=phase.augment)

    def _once(self, name: str, load: Callable[[], Any]) -> Any:
        if name not in self._opened:
            self._opened[name] = load()
        return self._opened[name]
