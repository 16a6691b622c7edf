"""Fingerprints: equal pixels are equal, resized and compressed pictures look alike, others do not."""

import io

import numpy as np
from PIL import Image

from masklet.data.twins import fingerprint, near_twins
from masklet.scenes.layout import SceneConfig
from masklet.scenes.scene import render_scene

SCENES = [render_scene(seed, SceneConfig(size=160)).image for seed in range(12)]


def compressed(image: np.ndarray, size: tuple[int, int], quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).resize(size).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


def test_pixels_and_shape_are_the_content() -> None:
    image = SCENES[0]
    assert fingerprint(image).content == fingerprint(image.copy()).content
    assert fingerprint(image).content != fingerprint(image.reshape(80, 320, 3)).content
    changed = image.copy()
    changed[3, 4, 1] ^= 1
    assert fingerprint(image).content != fingerprint(changed).content


def test_copies_look_like_their_originals_and_nothing_else_does() -> None:
    originals = {f"{index}": fingerprint(image) for index, image in enumerate(SCENES)}
    usable = {name for name, found in originals.items() if found.thumbnail is not None}
    assert len(usable) >= 10
    copies = {f"{index}": fingerprint(compressed(image, (120, 140), 60)) for index, image in enumerate(SCENES)}
    found = list(near_twins(copies, originals))
    assert all(name == other for name, other in found)
    assert {name for name, _ in found} == usable
    for name, own in originals.items():
        others = {other: each for other, each in originals.items() if other != name}
        assert list(near_twins({name: own}, others)) == []


def test_plain_pictures_look_like_nothing() -> None:
    grey = fingerprint(np.full((50, 60, 3), 128, np.uint8))
    assert grey.thumbnail is None
    assert list(near_twins({"a": grey}, {"b": grey})) == []
    assert list(near_twins({}, {"b": fingerprint(SCENES[0])})) == []
