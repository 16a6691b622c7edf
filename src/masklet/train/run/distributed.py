"""Several processes, started by `torchrun`: joining them, sharding weights, and summing gradients.

Only the two encoders are ever sharded. They hold nine tenths of the weights, and every process runs both of them once a
micro-batch whatever its prompts are. The parts behind them may have nothing to do in a process (no exemplars, no
present concept), where sharded weights would be gathered out of step; they are whole in every process.
"""

import os
import warnings
from collections.abc import Iterable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from masklet.models.detector import Detector


def meet() -> None:
    """Joins the process group, if `torchrun` started one, and selects this process's GPU."""
    if "WORLD_SIZE" not in os.environ or dist.is_initialized():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("cpu:gloo,cuda:nccl")
    else:
        dist.init_process_group("gloo")


def rank_and_world() -> tuple[int, int]:
    """The number of this process and of all processes: 0 and 1 without a process group."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def any_process(*, flag: bool) -> bool:
    """Whether the flag is set on any process, so that all of them take the same branch."""
    if not dist.is_initialized():
        return flag
    votes = torch.tensor(int(flag))
    dist.all_reduce(votes)
    return bool(votes)


def shard_encoders(model: Detector, device: torch.device) -> None:
    """Shards the encoders' weights over the processes; they are gathered block by block as they are used (FSDP2)."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    # FSDP2 warns that the encoders return views; nothing writes into them
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for encoder in (model.vision.trunk, model.text):
        for block in encoder.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(encoder, mesh=mesh)


def own_part(tensor: Tensor) -> Tensor:
    """The shard of a tensor that this process holds, in the same memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """A tensor gathered from all processes, which all must call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Adds up the gradients of all processes: those of whole weights as one flat tensor.

    Parameters that a batch did not use, such as those for example boxes, get a gradient of zero: all processes must
    send the same tensors, and one process must do as several would.
    """
    _, world = rank_and_world()
    gradients = []
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        gradients.append(parameter.grad)
    if world == 1:
        return
    for gradient in gradients:
        if isinstance(gradient, DTensor):  # already reduced, but to a mean
            gradient.to_local().mul_(world)
    gradients = [gradient for gradient in gradients if not isinstance(gradient, DTensor)]
    if not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


@torch.no_grad()
def clip_gradients(parameters: Sequence[nn.Parameter], limit: float) -> Tensor:
    """Scales gradients so that their joint norm is at most `limit`; the norm before that, equal in all processes."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = _norm([gradient for gradient in gradients if not isinstance(gradient, DTensor)])
    parts = [gradient.to_local() for gradient in gradients if isinstance(gradient, DTensor)]
    if parts:
        square = _norm(parts).square()
        dist.all_reduce(square)
        norm = (norm.to(square.device).square() + square).sqrt()
    factor = (limit / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        own_part(gradient).mul_(factor)
    return norm


def _norm(gradients: Sequence[Tensor]) -> Tensor:
    norms = [torch.linalg.vector_norm(gradient) for gradient in gradients]
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())
