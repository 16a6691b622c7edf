"""Recipes: inheritance, overrides, and that mistakes are named."""

import pytest

from masklet.errors import InputError
from masklet.train.recipes.schema import RECIPES, load_recipe


@pytest.mark.parametrize("name", [path.stem for path in RECIPES.glob("*.yaml")])
def test_shipped_recipes_are_valid(name) -> None:
    assert load_recipe(name).total_steps > 0


def test_overrides_reach_nested_values_and_list_entries() -> None:
    changes = ["data.root=/data", "phases.0.steps=7", "optim.lr_text=1e-4", "criterion.weights.mask=3"]
    recipe = load_recipe("builtin", [*changes, "phases.1.criterion.weights.classes=50"])
    assert recipe.data.root == "/data"
    assert recipe.phases[0].steps == 7
    assert recipe.optim_config().lr_text == 1e-4
    assert recipe.criterion_config(recipe.phases[0]).weights.mask == 3.0
    assert recipe.criterion_config(recipe.phases[0]).weights.dice == 10.0
    last = recipe.criterion_config(recipe.phases[-1]).weights
    assert (last.classes, last.mask) == (50.0, 3.0)  # a phase changes a weight and keeps the others


def test_a_recipe_takes_the_rest_from_its_base(tmp_path) -> None:
    (tmp_path / "mine.yaml").write_text("base: builtin\nseed: 5\noptim: {lr_text: 0.25}\n")
    recipe, base = load_recipe(str(tmp_path / "mine.yaml")), load_recipe("builtin")
    assert (recipe.seed, recipe.optim_config().lr_text) == (5, 0.25)
    assert recipe.optim_config().lr_rest == base.optim_config().lr_rest
    assert recipe.phases == base.phases


@pytest.mark.parametrize(
    "override",
    [
        "nonsense=1",
        "optim.nonsense=1",
        "criterion.weights.nonsense=1",
        "collate.nonsense=1",
        "phases.0.augment.nonsense=1",
        "phases.9.steps=1",
        "phases.0.steps=many",
        "optim.lr_text=fast",
        "phases.0.weights.nowhere=1",
        "seed.deeper=1",
        "seed",
    ],
)
def test_what_does_not_fit_is_refused(override) -> None:
    with pytest.raises(InputError):
        load_recipe("builtin", [override])


def test_unknown_recipes_are_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="builtin"):
        load_recipe("nothing")
