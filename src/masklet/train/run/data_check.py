"""The data of a recipe, examined before it is trained on; generated sources need no examination."""

from collections.abc import Callable
from pathlib import Path

from masklet.data.doctor import Findings, examine, number_to_read
from masklet.data.sheet import contact_sheet
from masklet.data.sources import IndexedSource
from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.train.recipes.schema import Recipe, Validation
from masklet.train.recipes.source_specs import FileSpec, open_pictures

FIRST_LOOK = 200  # pictures of each source before a run; seconds, not minutes


class DataCheck:
    """The sources of files that a recipe draws from.

    Raises: InputError when one of them cannot be opened.
    """

    def __init__(self, recipe: Recipe, *, whole: bool) -> None:
        """`whole` looks at every picture, and compares with those that are held out; else a sample is looked at."""
        root = Path(recipe.data.root)
        asked, clicked = _drawn(recipe)
        specs = {name: spec for name, spec in recipe.data.sources.items() if name in asked | clicked}
        self.specs = {name: spec for name, spec in specs.items() if isinstance(spec, FileSpec)}
        self.sources = {name: open_pictures(spec, root) for name, spec in self.specs.items()}
        self.held_out = self._held_out(root, recipe.validation) if whole else {}
        self.most = None if whole else FIRST_LOOK
        self.image_size = max(phase.image_size for phase in recipe.phases)
        self.unasked = self.sources.keys() - (asked if recipe.task != "tracking" else set())

    def __len__(self) -> int:
        return number_to_read(self.sources, self.most) + number_to_read(self.held_out, self.most)

    def examine(self, advance: Callable[[], object] = lambda: None) -> Findings:
        """What is wrong with them; `advance` is called after each picture."""
        return examine(
            self.sources,
            self.image_size,
            held_out=self.held_out,
            most=self.most,
            unasked=self.unasked,
            advance=advance,
        )

    def write_sheet(self, path: Path) -> None:
        """A PNG with some of the pictures and their labels."""
        write_atomically(path, lambda file: contact_sheet(self.sources).save(file, "PNG"))

    def _held_out(self, root: Path, validation: Validation | None) -> dict[str, IndexedSource]:
        """What the trained sources leave out, nothing where that is nothing, and what the recipe is validated on."""
        found = {}
        if validation is not None and validation.source is not None:
            found["validation"] = open_pictures(validation.source, root)
        for name, spec in self.specs.items():
            if spec.split == "train":
                try:
                    found[name] = open_pictures(spec.model_copy(update={"split": "heldout", "limit": None}), root)
                except InputError:  # so few pictures that none is held out
                    continue
        return found


def _drawn(recipe: Recipe) -> tuple[set[str], set[str]]:
    """The sources that are asked for phrases or clips, and those whose objects are clicked on."""
    asked = {name for phase in recipe.phases for name, weight in phase.weights.items() if weight > 0}
    clicks = [recipe.clicks_config(phase) for phase in recipe.phases] if recipe.task == "concept" else []
    clicked = {name for each in clicks if each.share > 0 for name, weight in each.weights.items() if weight > 0}
    return asked, clicked
