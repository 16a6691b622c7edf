"""The detector: images and prompts in, scored boxes and masks out, in the order data flows.

Three stages, so that nothing is computed twice: `encode_images` once per image, `encode_phrases` once per distinct
phrase, `ground` for every prompt. Interactive use keeps the result of the first; `forward` runs all three.
"""

from dataclasses import dataclass, field, fields

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from masklet.models.click import ClickHead
from masklet.models.conv_trunk import ConvMaps
from masklet.models.decoder import Decoder, Queries
from masklet.models.fusion import FusionEncoder
from masklet.models.heads import ConceptScorer, MaskHead, PixelTerms
from masklet.models.memory import MaskMemory
from masklet.models.prompts import ExemplarEncoder
from masklet.models.recognition import Recognition
from masklet.models.text import TextEncoder
from masklet.models.tracker import Tracker
from masklet.models.vision import TrunkMaps, VisionEncoder
from masklet.nn.attention import KeyValues, take_rows
from masklet.nn.positions import sine_map
from masklet.types import Bundle, DetectorOutput, PromptBatch, TokenSet, bundle


@bundle
class ImageFeatures(Bundle):
    """All that is computed of an image independently of prompts, and that prompts need.

    Of the neck's pyramid that is the coarse map; the finer ones are in the pixel terms. The trunk's maps are for the
    click neck alone, so that they may be let go.
    """

    trunk: TrunkMaps | None
    coarse: Float[Tensor, "image dim height width"]
    position: Float[Tensor, "token dim"]
    exemplar_memory: tuple[KeyValues, ...]
    begun: Float[Tensor, "image token dim"]
    pixel_terms: PixelTerms
    cells: Float[Tensor, "image token meaning"] | None = None

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the coarse level."""
        return self.coarse.shape[-2], self.coarse.shape[-1]

    def of_image(self, index: int) -> "ImageFeatures":
        """Those of one image alone."""

        def cut(tensor: Tensor) -> Tensor:
            return tensor if tensor is self.position else tensor[index : index + 1]  # positions are alike in all images

        return self.map(cut)


@bundle
class Grounding(Bundle):
    """Predictions of prompts on their images, without masks, and the inputs of the mask head."""

    pred_logits: Float[Tensor, "layer prompt query"]
    pred_boxes: Float[Tensor, "layer prompt query 4"]
    presence_logits: Float[Tensor, "layer prompt"]
    queries: Float[Tensor, "prompt query dim"]
    memory: Float[Tensor, "prompt token dim"]
    prompt: TokenSet
    image_index: Int[Tensor, " prompt"]


class Detector(nn.Module):
    """SAM 3 on an image.

    Source: SAM 3 paper, section 3.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """The sizes of all parts; the defaults are the published model."""

        image_size: int = 1008
        vision: VisionEncoder.Config = field(default_factory=VisionEncoder.Config)
        text: TextEncoder.Config = field(default_factory=TextEncoder.Config)
        prompts: ExemplarEncoder.Config = field(default_factory=ExemplarEncoder.Config)
        recognition: Recognition.Config = field(default_factory=Recognition.Config)
        fusion: FusionEncoder.Config = field(default_factory=FusionEncoder.Config)
        decoder: Decoder.Config = field(default_factory=Decoder.Config)
        scoring: ConceptScorer.Config = field(default_factory=ConceptScorer.Config)
        masks: MaskHead.Config = field(default_factory=MaskHead.Config)
        click: ClickHead.Config = field(default_factory=ClickHead.Config)
        memory: MaskMemory.Config = field(default_factory=MaskMemory.Config)

        def __post_init__(self) -> None:
            parts = {part.name for part in fields(self)} - {"image_size", "recognition"}
            widths = {getattr(self, name).dim for name in parts}
            if len(widths) > 1:
                raise ValueError(f"the parts of the detector have different widths: {sorted(widths)}")
            if self.recognition.meaning_dim != self.text.meaning_dim:
                raise ValueError(
                    f"meaning_dim is {self.recognition.meaning_dim} in recognition and {self.text.meaning_dim} in text"
                )
            kept = getattr(self.vision.trunk, "summary_dim", 0)
            if self.recognition.meaning_dim > kept:
                raise ValueError(
                    f"meaning_dim is {self.recognition.meaning_dim}, the trunk's summary has {kept} numbers"
                )
            unit = self.vision.trunk.patch_size * self.vision.trunk.window
            if self.image_size % unit:
                raise ValueError(f"image_size {self.image_size} is not a multiple of {unit}")

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.vision = VisionEncoder(config.vision)
        self.text = TextEncoder(config.text)
        self.prompts = ExemplarEncoder(config.prompts)
        self.recognition = (
            Recognition(config.recognition, config.fusion.dim) if config.recognition.meaning_dim else None
        )
        self.fusion = FusionEncoder(config.fusion)
        self.decoder = Decoder(config.decoder)
        self.scoring = ConceptScorer(config.scoring)
        self.masks = MaskHead(config.masks)
        self.click = ClickHead(config.click)
        self.memory = MaskMemory(config.memory)

    @property
    def tracker(self) -> Tracker:
        """The parts that follow objects through a video."""
        return Tracker(
            click=self.click,
            memory=self.memory,
            neck=self.vision.click_neck,
            patch_size=self.config.vision.trunk.patch_size,
        )

    def forward(
        self, images: Float[Tensor, "image 3 image_height image_width"], prompts: PromptBatch
    ) -> DetectorOutput:
        """Predictions of every decoder layer for every prompt."""
        features, phrases = self.encode_images(images), self.encode_phrases(prompts)
        grounding = self.ground_layers(features, phrases, prompts, self.decoder.concept_queries())
        return self.segment_all(features, grounding)

    def encode_images(self, images: Float[Tensor, "image 3 image_height image_width"]) -> ImageFeatures:
        """Features of normalised images (values in [-1, 1]) and the work on them that no prompt changes."""
        return self.prepare(self.vision.trunk(images))

    def prepare(self, trunk: TrunkMaps) -> ImageFeatures:
        """The detector's share of `encode_images`; the tracker has its own view of the same trunk."""
        pyramid = self.vision.concept_neck(trunk)
        height, width = pyramid.coarse.shape[-2:]
        position = sine_map(height, width, self.config.vision.dim, pyramid.coarse.device).to(pyramid.coarse.dtype)
        tokens = rearrange(pyramid.coarse, "b c h w -> b (h w) c")
        return ImageFeatures(
            trunk=trunk,
            coarse=pyramid.coarse,
            position=position,
            exemplar_memory=self.prompts.project_image(tokens, position),
            begun=self.fusion.begin(tokens, position),
            pixel_terms=self.masks.project_image(pyramid),
            cells=self._look(trunk),
        )

    def _look(self, trunk: TrunkMaps) -> Float[Tensor, "image token meaning"] | None:
        if self.recognition is None:
            return None
        assert isinstance(trunk, ConvMaps), "only a classifier's trunk has a map of meanings"
        return self.recognition.look(trunk)

    def encode_phrases(self, prompts: PromptBatch) -> TokenSet:
        """Tokens of each distinct phrase."""
        return self.text.split(self.text(prompts.token_ids), prompts.token_valid)

    def ground(self, features: ImageFeatures, phrases: TokenSet, prompts: PromptBatch) -> Grounding:
        """Scores and boxes of each prompt, for use: of the last layer alone."""
        return self.ground_tokens(features, self.join(features, phrases, prompts), prompts.image_index)

    def ground_tokens(
        self, features: ImageFeatures, prompt: TokenSet, image_index: Int[Tensor, " prompt"]
    ) -> Grounding:
        """As `ground`, for prompts that are already tokens: exemplars of one frame of a video are used on others."""
        return self._ground(features, prompt, image_index, self.decoder.concept_queries(), slice(-1, None))

    def ground_layers(
        self, features: ImageFeatures, phrases: TokenSet, prompts: PromptBatch, queries: Queries
    ) -> Grounding:
        """Scores and boxes of each prompt, for training: of every layer, with any of the decoder's queries."""
        return self._ground(features, self.join(features, phrases, prompts), prompts.image_index, queries, slice(None))

    def _ground(
        self,
        features: ImageFeatures,
        prompt: TokenSet,
        image_index: Int[Tensor, " prompt"],
        queries: Queries,
        layers: slice,
    ) -> Grounding:
        begun = take_rows(features.begun, image_index)
        if self.recognition is not None:
            assert features.cells is not None
            assert prompt.meaning is not None
            begun = begun + self.recognition(take_rows(features.cells, image_index), prompt.meaning)
        memory = self.fusion(begun, features.position, prompt)
        decoded = self.decoder(memory, features.position, prompt, features.grid, queries).map(lambda x: x[layers])
        return Grounding(
            pred_logits=self.scoring(decoded.hidden, prompt),
            pred_boxes=decoded.boxes,
            presence_logits=decoded.presence_logits,
            queries=decoded.hidden[-1],
            memory=memory,
            prompt=prompt,
            image_index=image_index,
        )

    def segment(
        self, features: ImageFeatures, grounding: Grounding, prompt_index: Int[Tensor, " chosen"]
    ) -> DetectorOutput:
        """Predictions of the chosen prompts, with masks. The `prompt` axis of the result is `prompt_index`."""
        prompt = grounding.prompt.map(lambda tensor: tensor[prompt_index])
        pixels = self.masks.embed_pixels(
            grounding.memory[prompt_index],
            prompt,
            features.pixel_terms,
            grounding.image_index[prompt_index],
            features.grid,
        )
        embeddings, biases = self.masks.embed_queries(grounding.queries[prompt_index])
        return DetectorOutput(
            pred_logits=grounding.pred_logits[:, prompt_index],
            pred_boxes=grounding.pred_boxes[:, prompt_index],
            presence_logits=grounding.presence_logits[:, prompt_index],
            mask_embeddings=embeddings,
            mask_biases=biases,
            pixel_embeddings=pixels,
            semantic_logits=self.masks.segment_concept(pixels),
        )

    def segment_all(self, features: ImageFeatures, grounding: Grounding) -> DetectorOutput:
        """`segment` for all prompts, in their order."""
        return self.segment(
            features, grounding, torch.arange(len(grounding.image_index), device=features.position.device)
        )

    def answer_clicks(self, features: ImageFeatures, phrases: TokenSet, prompts: PromptBatch) -> DetectorOutput:
        """A few masks of the one object that each prompt points at, on every layer; the best has the highest logit.

        A prompt's phrase is "geometric"; its points (1 on the object, 0 off it) or its box are the exemplars. Presence
        means nothing here, as the object is present. Raises: ValueError when the model has no click queries.

        Source: SAM 3 paper, section 3 (promptable visual segmentation by the detector).
        """
        grounding = self.ground_layers(features, phrases, prompts, self.decoder.click_queries())
        return self.segment_all(features, grounding)

    def join(self, features: ImageFeatures, phrases: TokenSet, prompts: PromptBatch) -> TokenSet:
        """Phrase tokens followed by exemplar tokens."""
        words = phrases.map(lambda tensor: tensor[prompts.phrase_index])
        examples = self.prompts(prompts.exemplars, features.coarse, features.exemplar_memory, prompts.image_index)
        return TokenSet(
            tokens=torch.cat([words.tokens, examples.tokens], dim=1),
            valid=torch.cat([words.valid, examples.valid], dim=1),
            meaning=words.meaning,
        )
