"""The tasks by their names in recipes: a new one is a class with its recipe (`recipes.schema`), and a line here."""

from masklet.checkpoints.weights import Weights
from masklet.errors import InputError
from masklet.train.recipes.schema import Recipe
from masklet.train.tasks.detector import ConceptTask
from masklet.train.tasks.encoders import EncoderTask
from masklet.train.tasks.tracker import TrackingTask
from masklet.train.tasks.words import WordsTask

TASKS = {"words": WordsTask, "encoders": EncoderTask, "concept": ConceptTask, "tracking": TrackingTask}


def make_task(recipe: Recipe, base: Weights) -> WordsTask | EncoderTask | ConceptTask | TrackingTask:
    """The recipe's task. Raises: InputError when it needs weights that the base does not hold."""
    if recipe.lora is not None and recipe.initial_weights is None:
        raise InputError("adapters change a model that is there: set initial_weights to a model or a file")
    return TASKS[recipe.task].of(recipe, base)
