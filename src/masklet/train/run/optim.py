"""Optimizers with a learning rate for each part, two schedules, and a moving average of weights."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from masklet.train.run.distributed import own_part
from masklet.train.run.muon import Muon

ENCODERS = ("vision.trunk.", "text.")
LEAST_SIDE = 9  # rows and columns of a matrix that Muon moves


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Published pre-training values, but for the gradient clip, which only the fine-tuning recipe states.

    Steps and `timescale` are updates where they are whole numbers, and shares of the schedule where they are written
    with a point: 0.05 is a twentieth of it, however many updates a run has. The `cosine` schedule, which is the
    tracker's, reads neither `cooldown_steps` nor `timescale`.

    `matrices` says what moves the matrices behind the two encoders: `adamw`, as published, or `muon`, which gets as far
    with a fraction of the images where images are dear (runs/tried.md).
    """

    lr_vision: float = 5e-4
    lr_text: float = 1e-4
    lr_rest: float = 1e-3
    layer_decay: float = 0.9
    weight_decay: float = 0.1
    schedule: Literal["inverse_sqrt", "cosine"] = "inverse_sqrt"
    betas: tuple[float, float] = (0.9, 0.999)
    matrices: Literal["adamw", "muon"] = "adamw"
    warmup_steps: int | float = 5000
    cooldown_steps: int | float = 5000
    timescale: int | float = 5000
    clip_norm: float = 0.1


def inverse_sqrt_factor(
    step: int, total: int, *, warmup: float | int, cooldown: float | int, timescale: float | int
) -> float:
    """Share of the peak learning rate at `step` of `total`: linear up, 1 / sqrt, linear down to 0 at both ends.

    Source: SAM 3's schedule, from Scaling Vision Transformers (Zhai et al. 2022).
    """
    decay = ((step + timescale - warmup) / timescale) ** -0.5 if step > warmup else 1.0
    rise = min(1.0, step / warmup) if warmup else 1.0
    fall = min(1.0, (total - step) / cooldown) if cooldown else 1.0
    return decay * rise * fall


def cosine_factor(step: int, total: int, *, warmup: float | int) -> float:
    """Share of the peak learning rate at `step` of `total`: linear up, then half a cosine down to 0.

    Source: Loshchilov and Hutter, SGDR, without restarts; SAM 3 paper, appendix (tracker).
    """
    if step < warmup:
        return step / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def factor_of_update(update: int, total: int, config: OptimConfig) -> float:
    """Factor for optimiser update `update` of `total`, counted from 0.

    Shifted by one, so that neither the first nor the last update is wasted on a learning rate of 0.
    """
    stated = (config.warmup_steps, config.cooldown_steps, config.timescale)
    warmup, cooldown, timescale = (each * total if isinstance(each, float) else each for each in stated)
    if config.schedule == "cosine":
        return cosine_factor(update + 1, total + 1, warmup=warmup)
    return inverse_sqrt_factor(update + 1, total + 1, warmup=warmup, cooldown=cooldown, timescale=timescale)


def highest_factor(total: int, config: OptimConfig) -> float:
    """The largest factor of a schedule of `total` updates: 1 where a rate reaches its peak."""
    return max(factor_of_update(update, total, config) for update in range(total))


def layer_scale(name: str, depth: int, decay: float) -> float:
    """Layer decay of a parameter of the vision transformer; 1 for all others and for the position table.

    Patch embedding and first norm count as layer 0, block k as layer k + 1, out of `depth` + 1.
    """
    if name.startswith("vision.trunk.blocks."):
        layer = int(name.split(".")[3]) + 1
    elif name.startswith(("vision.trunk.patch_embed", "vision.trunk.norm")):
        layer = 0
    else:
        layer = depth + 1
    return decay ** (depth + 1 - layer)


def parameter_groups(model: nn.Module, config: OptimConfig) -> list[dict]:
    """Groups of what is learnt, with their peak rate in `peak_lr`; only matrices of layers decay.

    Sharded parameters have groups of their own, as no kernel takes them together with others.

    Biases, norms, embeddings and free parameters (position tables, queries, tokens) do not; the official recipe decays
    the latter two by accident. `orthogonal` marks what `Muon` moves by its own rule.
    """
    blocks = (name for name, _ in model.named_parameters() if name.startswith("vision.trunk.blocks."))
    depth = max((int(name.split(".")[3]) + 1 for name in blocks), default=0)
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    groups: dict[tuple[float, float, bool, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = {"vision": config.lr_vision, "text": config.lr_text}.get(name.split(".")[0], config.lr_rest)
        rate *= layer_scale(name, depth, config.layer_decay)
        decays = name.endswith("weight") and parameter.ndim > 1 and id(parameter) not in embeddings
        behind = not name.startswith(ENCODERS)
        orthogonal = config.matrices == "muon" and decays and behind and min(parameter.flatten(1).shape) >= LEAST_SIDE
        key = (rate, config.weight_decay if decays else 0.0, isinstance(parameter, DTensor), orthogonal)
        groups.setdefault(key, []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "peak_lr": rate, "weight_decay": decay, "orthogonal": orthogonal}
        for (rate, decay, _, orthogonal), parameters in groups.items()
    ]


def make_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """The optimizer of `parameter_groups`, AdamW in one fused kernel.

    Its state exists from the start, so it can be restored.
    """
    kind = Muon if config.matrices == "muon" else torch.optim.AdamW
    optimizer = kind(parameter_groups(model, config), betas=config.betas, fused=True)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = optimizer.state[parameter]
            state["exp_avg"] = torch.zeros_like(parameter)
            if not group["orthogonal"]:
                state["step"] = torch.zeros((), device=parameter.device)
                state["exp_avg_sq"] = torch.zeros_like(parameter)
    return optimizer


def named_state(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """The optimiser's tensors, by name of parameter and of moment: the same however parameters are grouped."""
    return {
        f"{name}.{kind}": tensor
        for name, parameter in model.named_parameters()
        for kind, tensor in optimizer.state.get(parameter, {}).items()
    }


class WeightAverage:
    """Exponential moving average of the learnt weights, in float32, with a lower decay in the first updates."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow = {
            name: value.detach().float().clone() for name, value in model.named_parameters() if value.requires_grad
        }

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Moves the average towards the weights after update number `step`, counted from 1."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        for name, value in model.named_parameters():
            if name in self.shadow:
                own_part(self.shadow[name]).lerp_(own_part(value.detach()).float(), weight)

    def state_dict(self, model: nn.Module) -> dict[str, Tensor]:
        """The model's state with averaged parameters, in the types of the model."""
        return {
            name: self.shadow[name].to(value.dtype) if name in self.shadow else value
            for name, value in model.state_dict().items()
        }
