"""Where a phrase is recognised: what is kept of the map that a classifier reads, compared with what the phrase means.

A trunk that was an image classifier knows a thousand kinds of things before it has seen a mask, and a phrase may mean
something between or above them. Their agreement, cell by cell, is the same kind of hint for every phrase: what to make
of it (how far the thing reaches, where the next one begins, whether it is there at all) is learnt once for all.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from masklet.models.conv_trunk import ConvMaps

HINTS = 4  # numbers that say how well a cell agrees with a phrase
LEAST_SQUARE = 1e-6


class Recognition(nn.Module):
    """Adds to the cells of an image how well they agree with the meaning of a phrase.

    Cells and meanings are compared by their product and by their cosine, each seen also against its mean over the
    image and beside the best of it: a hint holds for a phrase whose agreements are low everywhere as well.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Sizes. Cells mean the first `meaning_dim` numbers of the summary; with 0 the model has no such part."""

        meaning_dim: int = 0
        hidden: int = 64

    def __init__(self, config: Config, dim: int) -> None:
        super().__init__()
        self.config = config
        self.up = nn.Linear(HINTS, config.hidden)
        self.down = nn.Linear(config.hidden, dim)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def look(self, maps: ConvMaps) -> Float[Tensor, "image token meaning"]:
        """What the cells of images mean."""
        return maps.summary[:, : self.config.meaning_dim].flatten(2).transpose(1, 2)

    def forward(
        self, cells: Float[Tensor, "prompt token meaning"], meaning: Float[Tensor, "prompt meaning"]
    ) -> Float[Tensor, "prompt token dim"]:
        """What to add to the image's tokens for each prompt; nothing before training."""
        x, word = cells.float(), meaning.float()[:, None]
        product = (x * word).mean(dim=2)
        cosine = (
            product * ((x.square().mean(dim=2) + LEAST_SQUARE) * (word.square().mean(dim=2) + LEAST_SQUARE)).rsqrt()
        )
        best = cosine.amax(dim=1, keepdim=True)
        hints = torch.stack([product, cosine, best.expand_as(cosine), cosine - cosine.mean(dim=1, keepdim=True)], dim=2)
        return self.down(F.gelu(self.up(hints.to(self.up.weight.dtype))))
