"""Prepares a model for training: adapters, frozen parts, train and eval modes, recomputed layers."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from masklet.errors import InputError
from masklet.models.detector import Detector
from masklet.nn.lora import LoraLinear, add_lora, is_adapter
from masklet.train.recipes.schema import Recipe


def prepare_parts(model: Detector, recipe: Recipe, within: Callable[[str], bool]) -> None:
    """Adds the recipe's adapters and freezes all that is not learnt; `within` tells what the task can learn.

    Raises: InputError when a pattern fits nothing, nothing is learnt, or a weight is both adapted and learnt.
    """
    names = [name for name, _ in model.named_parameters() if within(name)]
    for pattern in recipe.train:
        if not any(fnmatchcase(name, pattern.removeprefix("!")) for name in names):
            raise InputError(f"train: no parameter that this task learns is named {pattern.removeprefix('!')!r}")
    if recipe.lora is not None:
        try:
            add_lora(model, recipe.lora, within)
        except ValueError as error:
            raise InputError(f"lora: {error}") from error
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(within(name) and (is_adapter(name) or recipe.trains(name)))
    for name, module in model.named_modules():
        if isinstance(module, LoraLinear) and module.weight.requires_grad:
            raise InputError(f"{name} is adapted, so its weight is not learnt: leave it out of train, as train=[] does")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError("the recipe has nothing learnt: train names no parameter and there are no adapters")
    set_mode(model)


def set_mode(model: nn.Module) -> None:
    """Sets training mode where something is learnt; frozen parts run as in use, without dropout.

    A layer without parameters, such as dropout itself, is in the mode of the layer that holds it.
    """
    model.training = any(parameter.requires_grad for parameter in model.parameters())
    for child in model.children():
        if any(True for _ in child.parameters()):
            set_mode(child)
        else:
            child.train(model.training)


def recompute_layers(model: Detector) -> None:
    """Makes the layers with most activations recompute them for gradients instead of storing them.

    These are the blocks of the trunk, the layers of fusion encoder and decoder, and the pixel decoder. Outputs and
    gradients stay the same.
    """
    for block in (*model.vision.trunk.blocks, *model.decoder.layers):
        _recompute(block, "forward")
    for layer in model.fusion.layers:  # their first step runs for images, the others for prompts
        _recompute(layer, "attend_self")
        _recompute(layer, "attend_memory")
    _recompute(model.masks, "embed_pixels")


def _recompute(layer: nn.Module, method: str) -> None:
    setattr(layer, method, partial(checkpoint, getattr(layer, method), use_reentrant=False))
