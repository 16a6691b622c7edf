"""The decoder: queries become boxes, step by step; a presence token decides whether the concept is in the image.

Post-norm layers in the order self, prompt, image, feed-forward. Each layer refines the boxes it was given; where a
query looks in the image is biased by its current box. Coordinates are float32 throughout.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from masklet.nn.attention import Attention, KeyValues, begin_passing, key_mask
from masklet.nn.blocks import MLP, FeedForward, PreciseMLP, Stack
from masklet.nn.positions import sine_code
from masklet.ops.boxes import cxcywh_to_xyxy
from masklet.ops.scores import inverse_sigmoid
from masklet.types import Bundle, TokenSet, bundle


@bundle
class Queries(Bundle):
    """What the decoder begins with: embeddings of queries and their boxes, cxcywh in [0, 1], perhaps a prompt's own.

    The last `num_apart` queries take no part in self-attention.
    """

    embeddings: Float[Tensor, "query dim"]
    boxes: Float[Tensor, "*prompt query 4"]
    num_apart: int = 0


@bundle
class DecoderOutput(Bundle):
    """Queries after each layer. Boxes are cxcywh in [0, 1]."""

    hidden: Float[Tensor, "layer prompt query dim"]
    boxes: Float[Tensor, "layer prompt query 4"]
    presence_logits: Float[Tensor, "layer prompt"]


class Decoder(nn.Module):
    """DETR decoder with box refinement, box-relative position bias and a presence token.

    Source: SAM 3 paper, section 3 (decoder, presence token); Lin et al., DETR Does Not Need Multi-Scale or Locality
    Design (the bias).
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Sizes and the dropout of training.

        `num_click_queries` is the number of queries for clicks instead of concepts: 4 in the paper. The
        published weights hold none.
        """

        dim: int = 256
        depth: int = 6
        num_heads: int = 8
        hidden: int = 2048
        bias_hidden: int = 256
        num_queries: int = 200
        num_click_queries: int = 0
        dropout: float = 0.1

    def __init__(self, config: Config) -> None:
        super().__init__()
        dim = config.dim
        self.config = config
        self.query = nn.Parameter(torch.empty(config.num_queries, dim))
        self.reference = nn.Parameter(torch.empty(config.num_queries, 4))
        self.presence = nn.Parameter(torch.empty(1, dim))
        self.layers = Stack(DecoderLayer(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(dim)
        self.presence_norm = nn.LayerNorm(dim)
        self.box_head = PreciseMLP(dim, dim, dim, 4)
        self.presence_head = PreciseMLP(dim, dim, dim, 1)
        self.position_head = MLP(2 * dim, dim, dim)
        self.bias_x = MLP(2, config.bias_hidden, config.num_heads)
        self.bias_y = MLP(2, config.bias_hidden, config.num_heads)
        for parameter in (self.query, self.presence):
            nn.init.normal_(parameter)
        self.click_query = self.click_reference = None
        if config.num_click_queries:  # they begin with nearly the whole image, as a click may be anywhere
            whole = torch.logit(torch.tensor([0.5, 0.5, 0.9, 0.9]))
            self.click_query = nn.Parameter(torch.randn(config.num_click_queries, dim))
            self.click_reference = nn.Parameter(whole.repeat(config.num_click_queries, 1))
        with torch.no_grad():
            self.reference.copy_(torch.logit(_spread_boxes(config.num_queries)))
            _attend_to_edges(self.bias_x, self.bias_y)
        for layer in self.layers:
            begin_passing(layer.image_attention)
        nn.init.zeros_(self.box_head.layers[-1].weight)
        nn.init.zeros_(self.box_head.layers[-1].bias)

    def concept_queries(self) -> Queries:
        """The queries that detect every instance of a concept."""
        return Queries(embeddings=self.query, boxes=self.reference.float().sigmoid())

    def doubled_queries(self) -> Queries:
        """The concept queries twice, for training: the copies, which come last, learn one-to-many.

        Source: Hu et al., DAC-DETR.
        """
        once = self.concept_queries()
        return Queries(
            embeddings=once.embeddings.repeat(2, 1), boxes=once.boxes.repeat(2, 1), num_apart=len(once.embeddings)
        )

    def denoising_queries(self, boxes: Float[Tensor, "prompt slot 4"]) -> Queries:
        """The concept queries, and as many more of them as there are slots, which begin at these boxes. For training.

        Source: Li et al., DN-DETR.
        """
        once = self.concept_queries()
        num_prompts, num_slots = boxes.shape[:2]
        return Queries(
            embeddings=torch.cat([once.embeddings, once.embeddings[:num_slots]]),
            boxes=torch.cat([once.boxes.expand(num_prompts, -1, -1), boxes], dim=1),
            num_apart=num_slots,
        )

    def click_queries(self) -> Queries:
        """The queries for the one object that a prompt points at. Raises: ValueError when the model has none."""
        if self.click_query is None or self.click_reference is None:
            raise ValueError("this model has no queries for clicks: its num_click_queries is 0")
        return Queries(embeddings=self.click_query, boxes=self.click_reference.float().sigmoid())

    def forward(
        self,
        memory: Float[Tensor, "prompt token dim"],
        position: Float[Tensor, "token dim"],
        prompt: TokenSet,
        grid: tuple[int, int],
        queries: Queries,
    ) -> DecoderOutput:
        """The queries of every prompt after each layer."""
        num_prompts = memory.shape[0]
        x = torch.cat([self.presence, queries.embeddings]).to(memory.dtype).expand(num_prompts, -1, -1)
        boxes = queries.boxes.expand(num_prompts, -1, -1)
        keys = memory + position
        hidden, refined, presence = [], [], []
        position_dtype = self.position_head.layers[0].weight.dtype
        for layer in self.layers:
            # The presence token, first, has no position; the published order of the code is y, x, w, h
            code = sine_code(boxes[..., [1, 0, 2, 3]], self.config.dim // 2).flatten(-2)
            x = layer(
                x,
                F.pad(self.position_head(code.to(position_dtype)), (0, 0, 1, 0)).to(x.dtype),
                prompt,
                layer.image_attention.project(keys, memory),
                self.position_bias(boxes, grid),
                num_apart=queries.num_apart,
            )
            decoded = self.norm(x[:, 1:])
            moved = (inverse_sigmoid(boxes) + self.box_head(decoded)).sigmoid()
            hidden.append(decoded)
            refined.append(moved)
            presence.append(self.presence_head(self.presence_norm(x[:, 0])).squeeze(-1))
            boxes = moved.detach()
        return DecoderOutput(
            hidden=torch.stack(hidden), boxes=torch.stack(refined), presence_logits=torch.stack(presence)
        )

    def position_bias(
        self, boxes: Float[Tensor, "prompt query 4"], grid: tuple[int, int]
    ) -> Float[Tensor, "prompt head row token"]:
        """Added to the attention of queries to image cells: a function of the distances to the sides of the box.

        Rows and columns are computed apart and summed. The presence token, first, has no box and no bias.
        """
        edges = cxcywh_to_xyxy(boxes)
        dtype = self.bias_x.layers[0].weight.dtype
        columns = self.bias_x(_log_distances(edges[..., 0::2], grid[1]).to(dtype))
        rows = self.bias_y(_log_distances(edges[..., 1::2], grid[0]).to(dtype))
        bias = rows.new_zeros(boxes.shape[0], self.config.num_heads, 1 + boxes.shape[1], grid[0], grid[1])
        bias[:, :, 1:] = rows.permute(0, 3, 1, 2)[..., :, None] + columns.permute(0, 3, 1, 2)[..., None, :]
        return bias.flatten(-2)


class DecoderLayer(nn.Module):
    """Post-norm layer of four attentions and feeds."""

    def __init__(self, config: Decoder.Config) -> None:
        super().__init__()
        dim, heads, dropout = config.dim, config.num_heads, config.dropout
        self.self_attention = Attention(dim, heads, dropout=dropout)
        self.self_norm = nn.LayerNorm(dim)
        self.prompt_attention = Attention(dim, heads, dropout=dropout)
        self.prompt_norm = nn.LayerNorm(dim)
        self.image_attention = Attention(dim, heads, dropout=dropout)
        self.image_norm = nn.LayerNorm(dim)
        self.mlp = FeedForward(dim, config.hidden, F.relu, dropout=dropout)
        self.mlp_norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "prompt row dim"],
        position: Float[Tensor, "prompt row dim"],
        prompt: TokenSet,
        image: KeyValues,
        bias: Float[Tensor, "prompt head row token"],
        *,
        num_apart: int,
    ) -> Float[Tensor, "prompt row dim"]:
        """Row 0 is the presence token. The last `num_apart` rows take no part in self-attention."""
        together = x.shape[1] - num_apart
        placed = x[:, :together] + position[:, :together]
        memory = self.self_attention.project(placed, x[:, :together])
        talk = self.dropout(self.self_attention(placed, memory))
        x = self.self_norm(x + F.pad(talk, (0, 0, 0, num_apart)))
        words = self.prompt_attention.project(prompt.tokens, prompt.tokens)
        x = self.prompt_norm(x + self.dropout(self.prompt_attention(x + position, words, key_mask(prompt.valid))))
        x = self.image_norm(x + self.dropout(self.image_attention(x + position, image, bias)))
        return self.mlp_norm(x + self.dropout(self.mlp(x)))


def _spread_boxes(count: int) -> Float[Tensor, "{count} 4"]:
    """Boxes to begin training with: every part of the image is near one of each size (a low-discrepancy sequence).

    The published model began with random ones: docs/parity.md#how-training-begins.
    """
    step = torch.tensor([0.8191725, 0.6710436, 0.5497005])  # powers of the root of x^4 = x + 1
    x, y, scale = ((torch.arange(count)[:, None] + 0.5) * step).frac().unbind(-1)
    side = 0.08 * 8**scale  # from a twelfth to two thirds of the image
    return torch.stack([0.02 + 0.96 * x, 0.02 + 0.96 * y, side, side], dim=-1)


def _attend_to_edges(bias_x: MLP, bias_y: MLP) -> None:
    """Begins training with each head attending to one side of its query's box: left, right, top, bottom, and again.

    The features there tell whether that side must move, so refinement is learnt in hundreds of steps, not thousands.
    The published model began with random biases: docs/parity.md#how-training-begins.
    """
    strength = 6.0
    rows = {"low": [1, 1, 0, 0], "high": [0, 0, 1, 1], "inside": [0, 1, 1, 0]}  # of relu(low, -low, high, -high)
    sides = ((bias_x, ("low", "high", "inside", "inside")), (bias_y, ("inside", "inside", "low", "high")))
    for mlp, side_of_head in sides:
        first, last = mlp.layers[0], mlp.layers[-1]
        first.weight[:4] = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
        first.bias[:4] = 0
        for head in range(last.weight.shape[0]):
            last.weight[head, :4] = -strength * torch.tensor(rows[side_of_head[head % 4]], dtype=torch.float32)


def _log_distances(edges: Float[Tensor, "prompt query 2"], cells: int) -> Float[Tensor, "prompt query {cells} 2"]:
    """Signed log distances from the low edge of each cell to both sides of the box; 7 eighths of the image give 1."""
    low = torch.arange(cells, device=edges.device, dtype=torch.float32) / cells
    scaled = 8 * (low[:, None] - edges[..., None, :])
    return scaled.sign() * torch.log2(scaled.abs() + 1) / 3
