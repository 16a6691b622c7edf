"""Checks the data of a recipe before training; generated sources need no check."""

from collections.abc import Callable
from pathlib import Path

from masklet.data.doctor import Findings, examine, number_to_read
from masklet.data.sheet import contact_sheet
from masklet.data.sources import IndexedSource
from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.train.recipes.schema import ConceptRecipe, Recipe, Validation
from masklet.train.recipes.source_specs import FileSpec, open_images

FIRST_LOOK = 200  # images of each source before a run; seconds, not minutes


class DataCheck:
    """Checks the sources of files that a recipe draws from.

    Raises: InputError when one of them cannot be opened.
    """

    def __init__(self, recipe: Recipe, *, whole: bool) -> None:
        """`whole` reads every image, and compares with those that are held out; otherwise a sample is read."""
        root = Path(recipe.data.root)
        asked = {name for phase in recipe.phases for name in phase.drawn}  # those that give phrases or clips
        clicks = [phase.clicks for phase in recipe.phases] if isinstance(recipe, ConceptRecipe) else []
        clicked = {name for each in clicks if each.share > 0 for name, weight in each.weights.items() if weight > 0}
        specs = {name: spec for name, spec in recipe.data.sources.items() if name in asked | clicked}
        self.specs = {name: spec for name, spec in specs.items() if isinstance(spec, FileSpec)}
        self.sources = {name: open_images(spec, root) for name, spec in self.specs.items()}
        self.held_out = self._held_out(root, recipe.validation) if whole else {}
        self.most = None if whole else FIRST_LOOK
        self.image_size = max(phase.image_size for phase in recipe.phases)
        self.unasked = self.sources.keys() - (asked if recipe.task != "tracking" else set())

    def __len__(self) -> int:
        return number_to_read(self.sources, self.most) + number_to_read(self.held_out, self.most)

    def examine(self, advance: Callable[[], object] = lambda: None) -> Findings:
        """The problems found; `advance` is called after each image."""
        return examine(
            self.sources,
            self.image_size,
            held_out=self.held_out,
            most=self.most,
            unasked=self.unasked,
            advance=advance,
        )

    def write_sheet(self, path: Path) -> None:
        """Writes a PNG with some of the images and their labels."""
        write_atomically(path, lambda file: contact_sheet(self.sources).save(file, "PNG"))

    def _held_out(self, root: Path, validation: Validation | None) -> dict[str, IndexedSource]:
        """The held-out parts of the training sources, where there are any, and the validation source."""
        sources = {}
        if validation is not None and validation.source is not None:
            sources["validation"] = open_images(validation.source, root)
        for name, spec in self.specs.items():
            if spec.split == "train":
                try:
                    sources[name] = open_images(spec.model_copy(update={"split": "heldout", "limit": None}), root)
                except InputError:  # too few images to hold any out
                    continue
        return sources
