"""What a camera does to an image: exposure, cast, blur, grain, compression. It never moves anything."""

import io
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageFilter

from masklet.scenes.noise import grain_patch

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Settings of one shot. `gain` is a factor a channel, `blur` a radius in pixels, `grain` a standard deviation.

    `jpeg` is the quality, 0 for none.
    """

    greyscale: bool
    gain: tuple[float, float, float]
    gamma: float
    blur: float
    grain: float
    jpeg: int


def sample_camera(rng: np.random.Generator, strength: float, *, greyscale: bool) -> Camera:
    """A camera whose faults grow with `strength` in [0, 1]; casts stay so mild that colour words stay true."""
    cast = 1 + rng.uniform(-0.07, 0.07, 3) * strength
    gain = rng.uniform(1 - 0.25 * strength, 1 + 0.12 * strength) * cast
    return Camera(
        greyscale=greyscale,
        gain=(float(gain[0]), float(gain[1]), float(gain[2])),
        gamma=float(np.exp(rng.uniform(-0.25, 0.25) * strength)),
        blur=float(rng.uniform(0.3, 1.6)) * strength if rng.random() < 0.35 else 0.0,
        grain=float(rng.uniform(1, 12)) * strength if rng.random() < 0.5 else 0.0,
        jpeg=int(rng.integers(35, 90)) if rng.random() < 0.3 * strength else 0,
    )


def shoot(
    rng: np.random.Generator, scene: Float32[np.ndarray, "3 height width"], camera: Camera
) -> UInt8[np.ndarray, "height width 3"]:
    """The image a camera takes of a scene in [0, 255]; `rng` only draws the grain."""
    channels = np.tensordot(LUMA, scene, 1)[None].repeat(3, axis=0) if camera.greyscale else scene
    planes = np.clip(channels, 0, 255).astype(np.uint8)
    levels = np.arange(256) / 255
    gain = (float(np.mean(camera.gain)),) * 3 if camera.greyscale else camera.gain
    table = [np.clip(255 * factor * levels**camera.gamma, 0, 255).astype(np.uint8) for factor in gain]
    image = Image.merge("RGB", [Image.fromarray(plane) for plane in planes]).point(np.concatenate(table).tolist())
    if camera.blur:
        image = image.filter(ImageFilter.BoxBlur(camera.blur))
    if camera.grain:
        pixels = np.asarray(image).astype(np.int16)
        grain = grain_patch(rng, *pixels.shape[:2])
        grain = grain[..., :1] if camera.greyscale else grain
        pixels += grain * np.int16(round(camera.grain * 16)) // 256
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    if camera.jpeg:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=camera.jpeg)
        image = Image.open(buffer).convert("RGB")
    return np.array(image)
