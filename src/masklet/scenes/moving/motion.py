"""How things move in a clip: sums of slow waves, so that paths curve, come back, and are known at any moment.

All of it starts from nothing at time 0. Times are frames, lengths pixels, angles radians, sizes logarithms.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from masklet.scenes.objects.paint import rotation

Rng = np.random.Generator

_STILL_SHARE = 0.1
_SPIN_SHARE = 0.15
_BEND_SHARE = 0.6
_SHAKE_SHARE = 0.3


@dataclass(frozen=True, kw_only=True)
class Wave:
    """A smooth to and fro that is 0 at time 0."""

    amplitude: float
    period: float
    phase: float

    def at(self, time: float) -> float:
        """The displacement at `time`, never above twice the amplitude."""
        return self.amplitude * float(np.sin(2 * np.pi * time / self.period + self.phase) - np.sin(self.phase))


Waves = tuple[Wave, ...]


def total_at(waves: Waves, time: float) -> float:
    """Sum of all waves."""
    return sum((wave.at(time) for wave in waves), 0.0)


@dataclass(frozen=True, kw_only=True)
class Bend:
    """A soft ripple that runs through an object: its unit coordinates are shifted by waves over them and over time."""

    amplitude: float
    pitch: tuple[float, float]
    speed: float
    phase: float

    def shift(self, unit: Float[np.ndarray, "*grid 2"], time: float) -> Float[np.ndarray, "*grid 2"]:
        """Where in the undeformed object the points `unit` are taken from; the middle stays nearly where it is."""
        angle = self.speed * time + self.phase
        across = np.sin(self.pitch[0] * unit[..., 1] + angle) - np.sin(angle)
        along = np.sin(self.pitch[1] * unit[..., 0] + 0.7 * angle) - np.sin(0.7 * angle)
        return unit + self.amplitude * np.stack([across, along], axis=-1)


@dataclass(frozen=True, kw_only=True)
class Course:
    """Where an object goes, how it turns, grows, is squeezed (logarithm of width over height) and bends."""

    x: Waves = ()
    y: Waves = ()
    turn: Waves = ()
    growth: Waves = ()
    squeeze: Waves = ()
    bend: Bend | None = None


@dataclass(frozen=True, kw_only=True)
class View:
    """What the camera sees at a moment: the world point in the middle, and the way from world to image pixels.

    `brightness` is a factor.
    """

    x: float
    y: float
    matrix: Float[np.ndarray, "2 2"]
    brightness: float


@dataclass(frozen=True, kw_only=True)
class CameraPath:
    """A camera that pans, zooms, rolls and shakes over the world, in changing light."""

    start: tuple[float, float]
    x: Waves
    y: Waves
    roll: Waves
    zoom: Waves
    light: Waves

    def at(self, time: float) -> View:
        """The view at `time`; at time 0 world and image have the same scale and no angle between them."""
        return View(
            x=self.start[0] + total_at(self.x, time),
            y=self.start[1] + total_at(self.y, time),
            matrix=float(np.exp(total_at(self.zoom, time))) * rotation(total_at(self.roll, time)),
            brightness=float(np.exp(total_at(self.light, time))),
        )


def _wave(rng: Rng, amplitude: float, fastest: float) -> Wave:
    """A wave whose greatest change a frame is `fastest`."""
    return Wave(
        amplitude=amplitude,
        period=float(2 * np.pi * max(abs(amplitude), 1e-6) / fastest),
        phase=float(rng.uniform(0, 2 * np.pi)),
    )


def sample_course(rng: Rng, size: int, *, spins: bool) -> Course:
    """A course in an image of `size` pixels: up to 4 % of it a frame, often out of it and back.

    Only things that may stand at any angle spin (`spins`); the others sway.
    """
    x, y = _wander(rng, size)
    if spins and rng.random() < _SPIN_SHARE / 0.3:
        turn = _wave(rng, 12.0, float(rng.uniform(0.03, 0.15)))
    else:
        turn = _wave(rng, float(rng.uniform(0, 0.4)), float(rng.uniform(0.005, 0.06)))
    return Course(
        x=x,
        y=y,
        turn=(turn,),
        growth=(_wave(rng, float(rng.uniform(0, 0.3)), float(rng.uniform(0.002, 0.02))),),
        squeeze=(_wave(rng, float(rng.uniform(0, 0.3)), float(rng.uniform(0.002, 0.03))),),
        bend=Bend(
            amplitude=float(rng.uniform(0.02, 0.14)),
            pitch=(float(rng.uniform(1, 3)), float(rng.uniform(1, 3))),
            speed=float(rng.uniform(0.05, 0.5)),
            phase=float(rng.uniform(0, 2 * np.pi)),
        )
        if rng.random() < _BEND_SHARE
        else None,
    )


def _wander(rng: Rng, size: int) -> tuple[Waves, Waves]:
    """To and fro in one direction and, less far, across it; some do not move at all."""
    if rng.random() < _STILL_SHARE:
        return (), ()
    direction = rotation(rng.uniform(0, 2 * np.pi))
    speed = size * float(np.exp(rng.uniform(np.log(0.003), np.log(0.04))))
    far = size * float(rng.uniform(0.05, 0.45))
    along = _wave(rng, far, speed)
    across = _wave(rng, far * float(rng.uniform(0.1, 0.5)), speed * float(rng.uniform(0.2, 0.7)))
    return _turned(along, across, direction[0]), _turned(along, across, direction[1])


def _turned(along: Wave, across: Wave, weights: np.ndarray) -> Waves:
    pairs = zip((along, across), weights.tolist(), strict=True)
    return tuple(replace(wave, amplitude=wave.amplitude * weight) for wave, weight in pairs)


def swap_courses(rng: Rng, first: Course, second: Course, way: Sequence[float]) -> tuple[Course, Course]:
    """Both courses, changed so that the objects pass through each other and back; `way` leads from first to second."""
    period = float(rng.uniform(14, 44))

    def crossing(course: Course, sign: int) -> Course:
        x, y = ((Wave(amplitude=sign * far / 2, period=period, phase=-np.pi / 2),) for far in way)
        return replace(course, x=x, y=y)

    return crossing(first, 1), crossing(second, -1)


def sample_camera_path(rng: Rng, size: int, start: tuple[float, float], reach: float) -> CameraPath:
    """A camera beginning at `start` in the world that moves at most about `reach` pixels away from it."""
    amplitude = reach / 2 * float(rng.uniform(0, 1))
    speed = size * float(np.exp(rng.uniform(np.log(0.001), np.log(0.02))))
    return CameraPath(
        start=start,
        x=(_wave(rng, amplitude, speed), *_shake(rng, size)),
        y=(_wave(rng, amplitude * float(rng.uniform(0.2, 1)), speed), *_shake(rng, size)),
        roll=(_wave(rng, float(rng.uniform(0, 0.06)), float(rng.uniform(0.001, 0.01))),),
        zoom=(_wave(rng, float(rng.uniform(0, 0.09)), float(rng.uniform(0.001, 0.012))),),
        light=(_wave(rng, float(rng.uniform(0, 0.12)), float(rng.uniform(0.001, 0.04))),),
    )


def _shake(rng: Rng, size: int) -> Waves:
    if rng.random() >= _SHAKE_SHARE:
        return ()
    return (_wave(rng, size * float(rng.uniform(0.001, 0.006)), size * 0.01),)
