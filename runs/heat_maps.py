"""Where the built-in model recognises words in photos, as one picture: a row for each word, a column for each photo.

    python runs/heat_maps.py MODEL OUT PHOTO [PHOTO ...]

What is drawn is the cosine between the meaning of a word and the cells of a photo (models/recognition.py): the hint
that detection begins with, not what is detected. Grey is LOW or less, red HIGH or more, the same for all maps.
"""

import sys
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from masklet.inference.concepts import Concept
from masklet.inference.model import Model, load
from masklet.media.images import read_image
from masklet.models.detector import ImageFeatures
from masklet.render.tags import fit_text, load_font

SIDE, GAP, MARGIN = 44, 2, 112  # pixels of a map, between maps, and of the column of words
LOW, HIGH = 0.15, 0.6  # cosines
# Things that are in some of the photos of docs/images/words.jpg, things beside them, and things in none of them
WORDS = [
    *("cat", "dog", "animal", "bird", "elephant", "person", "face", "woman", "hat", "cowboy hat"),
    *("shoe", "boot", "shirt", "dress", "skirt", "jacket", "clothes", "spacesuit", "coffee", "cup"),
    *("mug", "spoon", "saucer", "food", "fruit", "orange", "lemon", "lime", "banana", "apple"),
    *("pear", "tomato", "cucumber", "cheese", "egg", "carrot", "broccoli", "plate", "bowl", "bottle"),
    *("can", "table", "screwdriver", "hammer", "tool", "rocket", "car", "truck", "coin", "chair"),
]


def cosines(model: Model, features: ImageFeatures, words: Sequence[str]) -> Float[torch.Tensor, "word row column"]:
    """The agreement of each word with each cell of a photo."""
    with torch.inference_mode():
        phrases, _ = model.prompts([Concept(phrase=word) for word in words], features.grid)
        assert features.cells is not None, "these weights compare no meanings with images"
        assert phrases.meaning is not None
        cells, meanings = F.normalize(features.cells[0].float(), dim=1), F.normalize(phrases.meaning.float(), dim=1)
        return (meanings @ cells.T).unflatten(1, features.grid)


def warm(values: Float[np.ndarray, "row column"], photo: Image.Image) -> Image.Image:
    """A map over the greyed photo: from clear to red."""
    strength = Image.fromarray((255 * np.clip((values - LOW) / (HIGH - LOW), 0, 1)).astype(np.uint8))
    pale = Image.blend(photo.convert("L").convert("RGB"), Image.new("RGB", photo.size, "white"), 0.55)
    return Image.composite(Image.new("RGB", photo.size, (214, 40, 30)), pale, strength.resize(photo.size))


def sheet(model: Model, photos: Sequence[UInt8[np.ndarray, "_ _ 3"]], words: Sequence[str]) -> Image.Image:
    """The whole picture; the photos are its first row."""
    step, font = SIDE + GAP, load_font(13.0)
    size = (MARGIN + step * len(photos), step * (1 + len(words)))
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    for row, word in enumerate(words, start=1):
        draw.text((4, row * step + SIDE // 3), fit_text(word, MARGIN - 8, font), "black", font)
    for column, photo in enumerate(photos):
        small, left = Image.fromarray(photo).resize((SIDE, SIDE)), MARGIN + column * step
        picture.paste(small, (left, 0))
        for row, values in enumerate(cosines(model, model.encode(photo), words).numpy(), start=1):
            picture.paste(warm(values, small), (left, row * step))
    return picture


if __name__ == "__main__":
    sheet(load(sys.argv[1]), [read_image(each) for each in sys.argv[3:]], WORDS).save(sys.argv[2], quality=80)
