"""Everyday things as silhouettes with a few marks inside."""

import numpy as np

from masklet.scenes.objects.silhouettes import Kind, Pen, around

Rng = np.random.Generator


def _mug(pen: Pen, rng: Rng) -> None:
    width, height = rng.uniform(0.5, 0.62), rng.uniform(0.7, 0.9)
    pen.hoop(width - 0.15, 0.05, 0.5, height * 0.6, 0.16)
    pen.box((-0.85, -height), (width - 0.15, height), 0.15)
    middle = (width - 1.0) / 2
    pen.oval(middle, -height + 0.08, (width + 0.7) / 2 - 0.05, 0.13, tone=70)


def _cup(pen: Pen, rng: Rng) -> None:
    foot = rng.uniform(0.4, 0.55)
    pen.poly([(-0.75, -0.85), (0.75, -0.85), (foot, 0.9), (-foot, 0.9)])
    pen.oval(0, -0.83, 0.75, 0.14)
    pen.oval(0, -0.83, 0.66, 0.09, tone=70)


def _bottle(pen: Pen, rng: Rng) -> None:
    body, shoulder = rng.uniform(0.3, 0.42), rng.uniform(-0.3, -0.1)
    pen.box((-body, shoulder), (body, 0.97), 0.12)
    pen.poly([(-0.14, -0.6), (0.14, -0.6), (body, shoulder + 0.15), (-body, shoulder + 0.15)])
    pen.box((-0.14, -0.97), (0.14, -0.5), 0.04)
    pen.box((-0.14, -0.97), (0.14, -0.8), 0.03, tone=80)
    pen.box((-body, 0.15), (body, 0.65), 0.0, tone=180)


def _house(pen: Pen, rng: Rng) -> None:
    wall, eaves = rng.uniform(0.65, 0.8), rng.uniform(-0.25, 0.0)
    pen.box((-wall, eaves), (wall, 0.95))
    pen.poly([(-0.97, eaves), (0, -0.95), (0.97, eaves)])
    pen.box((0.35, -0.85), (0.58, -0.2))
    pen.poly([(-0.97, eaves), (0, -0.95), (0.97, eaves)], tone=85)
    pen.box((-0.15, 0.4), (0.18, 0.95), tone=60)
    pen.box((-0.55, eaves + 0.2), (-0.28, eaves + 0.48), tone=195)
    pen.box((0.3, eaves + 0.2), (0.57, eaves + 0.48), tone=195)


def _tree(pen: Pen, rng: Rng) -> None:
    pen.box((-0.12, 0.2), (0.12, 0.97), tone=60)
    pen.box((-0.12, 0.2), (0.12, 0.97))
    if rng.random() < 0.4:  # a fir
        for top in (-0.97, -0.5, -0.05):
            pen.poly([(0, top), (0.45 + (top + 1) * 0.3, top + 0.65), (-0.45 - (top + 1) * 0.3, top + 0.65)])
        return
    for x, y in [(0.0, -0.25), *around(7, 0.42)]:
        radius = rng.uniform(0.32, 0.42)
        pen.oval(x, y * 0.9 - 0.2, radius, radius)
    pen.oval(-0.15, -0.4, 0.25, 0.2, tone=155)


def _fish(pen: Pen, rng: Rng) -> None:
    half = rng.uniform(0.4, 0.52)
    pen.oval(-0.2, 0, 0.76, half)
    pen.poly([(0.35, 0), (0.95, -0.55), (0.8, 0), (0.95, 0.55)])
    pen.poly([(-0.3, -half * 0.8), (0.1, -half - 0.3), (0.25, -half * 0.6)])
    pen.oval(-0.6, -0.12, 0.1, 0.1, tone=210)
    pen.oval(-0.6, -0.12, 0.05, 0.05, tone=20)
    pen.line([(-0.35, -0.28), (-0.28, 0), (-0.35, 0.28)], 0.05, tone=80)


def _leaf(pen: Pen, rng: Rng) -> None:
    half = rng.uniform(0.38, 0.55)
    t = np.linspace(0, 1, 30)
    edge = half * np.sin(np.pi * t**0.8)
    x = 1.6 * t - 0.95
    upper = list(zip(x.tolist(), (-edge).tolist(), strict=True))
    lower = list(zip(x[::-1].tolist(), edge[::-1].tolist(), strict=True))
    pen.poly(upper + lower)
    pen.line([(-0.9, 0), (0.95, 0)], 0.07)
    pen.line([(-0.9, 0), (0.95, 0)], 0.05, tone=75)
    for start in (-0.5, -0.15, 0.2):
        for side in (-1, 1):
            pen.line([(start + 0.2, 0), (start - 0.05, side * half * 0.6)], 0.03, tone=85)


def _key(pen: Pen, rng: Rng) -> None:
    pen.hoop(-0.6, 0, 0.38, 0.38, rng.uniform(0.14, 0.2))
    pen.box((-0.3, -0.09), (0.95, 0.09))
    for x in (0.55, 0.8) if rng.random() < 0.5 else (0.45, 0.65, 0.85):
        pen.box((x - 0.06, 0), (x + 0.06, rng.uniform(0.25, 0.4)))


def _button(pen: Pen, rng: Rng) -> None:
    pen.oval(0, 0, 0.97, 0.97)
    pen.hoop(0, 0, 0.75, 0.75, 0.08, tone=85)
    for x, y in around(int(rng.choice([2, 4])), 0.25, 45):
        pen.oval(x, y, 0.11, 0.11, tone=25)


def _cloud(pen: Pen, rng: Rng) -> None:
    pen.box((-0.85, 0.05), (0.85, 0.55), 0.24)
    for x in (-0.5, -0.05, 0.45):
        radius = rng.uniform(0.32, 0.5)
        pen.oval(x, 0.12 - radius * 0.5, radius, radius)


def _flower(pen: Pen, rng: Rng) -> None:
    count = int(rng.integers(5, 9))
    for x, y in around(count, 0.58):
        pen.oval(x, y, 0.38, 0.38)
    pen.oval(0, 0, 0.5, 0.5)
    for x, y in around(count, 0.75):
        pen.line([(x * 0.4, y * 0.4), (x, y)], 0.04, tone=95)
    pen.oval(0, 0, 0.27, 0.27, tone=int(rng.choice([60, 210])))


def _mushroom(pen: Pen, rng: Rng) -> None:
    pen.box((-0.24, 0.0), (0.24, 0.95), 0.15, tone=190)
    pen.box((-0.24, -0.1), (0.24, 0.95), 0.15)
    pen.oval(0, -0.05, 0.92, rng.uniform(0.7, 0.9))
    pen.poly([(-1, 0.12), (1, 0.12), (1, 1), (0.24, 1), (0.24, 0.12), (-0.24, 0.12), (-0.24, 1), (-1, 1)], cut=True)
    for x, y in ((-0.45, -0.2), (0.1, -0.5), (0.5, -0.1)):
        pen.oval(x, y, 0.13, 0.11, tone=200)


def _car(pen: Pen, rng: Rng) -> None:
    roof = rng.uniform(-0.6, -0.45)
    pen.box((-0.97, -0.15), (0.97, 0.35), 0.15)
    pen.poly([(-0.7, -0.1), (-0.4, roof), (0.35, roof), (0.72, -0.1)])
    pen.poly([(-0.55, -0.12), (-0.33, roof + 0.1), (-0.05, roof + 0.1), (-0.05, -0.12)], tone=45)
    pen.poly([(0.05, -0.12), (0.05, roof + 0.1), (0.29, roof + 0.1), (0.53, -0.12)], tone=45)
    for x in (-0.52, 0.52):
        pen.oval(x, 0.35, 0.24, 0.24)
        pen.oval(x, 0.35, 0.24, 0.24, tone=30)
        pen.oval(x, 0.35, 0.1, 0.1, tone=140)


def _boat(pen: Pen, rng: Rng) -> None:
    mast = rng.uniform(-0.1, 0.1)
    pen.poly([(-0.95, 0.4), (0.95, 0.4), (0.6, 0.85), (-0.65, 0.85)])
    pen.box((mast - 0.04, -0.95), (mast + 0.04, 0.42))
    pen.poly([(mast + 0.08, -0.9), (mast + 0.08, 0.3), (0.8, 0.3)])
    pen.poly([(mast - 0.08, -0.6), (mast - 0.08, 0.3), (-0.65, 0.3)])
    pen.poly([(-0.95, 0.4), (0.95, 0.4), (0.6, 0.85), (-0.65, 0.85)], tone=75)


def _hat(pen: Pen, rng: Rng) -> None:
    half = rng.uniform(0.45, 0.56)
    pen.oval(0, 0.6, 0.97, 0.2)
    pen.poly([(-half, -0.75), (half, -0.75), (half - 0.05, 0.6), (-half + 0.05, 0.6)])
    pen.oval(0, -0.75, half, 0.1)
    pen.box((-half, 0.2), (half, 0.48), tone=60)


def _umbrella(pen: Pen, rng: Rng) -> None:
    pen.oval(0, 0, 0.97, rng.uniform(0.75, 0.9))
    pen.poly([(-1, 0), (1, 0), (1, 1), (-1, 1)], cut=True)
    for x in (-0.65, 0.0, 0.65):
        pen.oval(x, 0.02, 0.32, 0.13, cut=True)
    pen.line([(0, -0.85), (0, 0.75), (0.12, 0.88), (0.27, 0.75)], 0.08)
    for x in (-0.33, 0.33):
        pen.line([(0, -0.8), (x, -0.05)], 0.03, tone=80)


def _apple(pen: Pen, rng: Rng) -> None:
    pen.oval(-0.32, 0.15, 0.56, 0.72)
    pen.oval(0.32, 0.15, 0.56, 0.72)
    pen.line([(0.0, -0.5), (rng.uniform(0, 0.15), -0.9)], 0.1)
    pen.line([(0.0, -0.42), (0.1, -0.9)], 0.1, tone=50)
    pen.oval(0.36, -0.72, 0.28, 0.13)
    pen.oval(-0.4, -0.1, 0.12, 0.2, tone=185)


def _lamp(pen: Pen, rng: Rng) -> None:
    top = rng.uniform(0.25, 0.4)
    pen.poly([(-top, -0.95), (top, -0.95), (0.72, 0.0), (-0.72, 0.0)])
    pen.box((-0.08, 0.0), (0.08, 0.85))
    pen.oval(0, 0.85, 0.42, 0.11)
    pen.box((-0.5, 0.01), (0.5, 0.97), tone=75)


def _gear(pen: Pen, rng: Rng) -> None:
    count = int(rng.integers(8, 13))
    pen.oval(0, 0, 0.75, 0.75)
    for angle in np.arange(count) * 2 * np.pi / count:
        reach = around(1, 0.86, float(np.rad2deg(angle)))[0]
        pen.line([(0, 0), reach], 0.2)
    pen.oval(0, 0, 0.3, 0.3, cut=True)


def _bone(pen: Pen, rng: Rng) -> None:
    knob = rng.uniform(0.2, 0.26)
    pen.box((-0.7, -0.17), (0.7, 0.17))
    for x in (-0.7, 0.7):
        for y in (-0.2, 0.2):
            pen.oval(x, y, knob, knob)


def _butterfly(pen: Pen, rng: Rng) -> None:
    for side in (-1, 1):
        pen.oval(side * 0.5, -0.35, 0.45, rng.uniform(0.42, 0.52))
        pen.oval(side * 0.4, 0.42, 0.36, 0.4)
        pen.oval(side * 0.52, -0.38, 0.2, 0.22, tone=190)
        pen.oval(side * 0.42, 0.42, 0.14, 0.16, tone=70)
        pen.line([(0, -0.5), (side * 0.22, -0.92)], 0.04)
    pen.oval(0, 0.0, 0.1, 0.68)
    pen.oval(0, 0.0, 0.1, 0.68, tone=45)


def _bird(pen: Pen, rng: Rng) -> None:
    pen.oval(0.05, 0.12, 0.58, rng.uniform(0.38, 0.46))
    pen.oval(-0.5, -0.32, 0.3, 0.3)
    pen.poly([(-0.76, -0.4), (-0.98, -0.24), (-0.74, -0.2)])
    pen.poly([(0.4, 0.0), (0.97, -0.3), (0.9, 0.05), (0.5, 0.35)])
    pen.line([(0.0, 0.45), (0.0, 0.88)], 0.05)
    pen.line([(0.2, 0.45), (0.2, 0.88)], 0.05)
    pen.oval(-0.56, -0.38, 0.06, 0.06, tone=20)
    pen.oval(0.15, 0.08, 0.36, 0.22, tone=85)


def _spoon(pen: Pen, rng: Rng) -> None:
    pen.oval(-0.62, 0, 0.35, rng.uniform(0.22, 0.28))
    pen.line([(-0.35, 0), (0.9, 0)], 0.11)
    pen.oval(-0.62, 0, 0.25, 0.16, tone=90)


def _hammer(pen: Pen, rng: Rng) -> None:
    pen.box((-0.1, -0.6), (0.1, 0.97), 0.05)
    pen.box((-0.6, -0.9), (0.5, -0.5), rng.uniform(0.02, 0.1))
    pen.poly([(0.45, -0.9), (0.85, -0.72), (0.45, -0.5)])
    pen.box((-0.1, -0.48), (0.1, 0.97), tone=80)


def _balloon(pen: Pen, rng: Rng) -> None:
    pen.oval(0, -0.3, rng.uniform(0.55, 0.62), 0.67)
    pen.poly([(0, 0.3), (0.12, 0.48), (-0.12, 0.48)])
    pen.line([(0, 0.45), (0.08, 0.7), (-0.04, 0.93)], 0.04)
    pen.oval(-0.22, -0.52, 0.1, 0.17, tone=200)


def _envelope(pen: Pen, rng: Rng) -> None:
    half = rng.uniform(0.58, 0.68)
    pen.box((-0.97, -half), (0.97, half), 0.05)
    pen.line([(-0.93, -half + 0.04), (0, 0.12), (0.93, -half + 0.04)], 0.05, tone=70)


def _sock(pen: Pen, rng: Rng) -> None:
    foot = rng.uniform(0.6, 0.75)
    pen.box((-0.6, -0.95), (0.0, 0.6), 0.05)
    pen.oval(-0.2, 0.6, 0.4, 0.33)
    pen.box((-0.3, 0.27), (foot, 0.93), 0.3)
    pen.box((-0.6, -0.95), (0.0, -0.65), tone=75)


EVERYDAY: tuple[Kind, ...] = (
    Kind(nouns=("mug",), draw=_mug),
    Kind(nouns=("cup",), draw=_cup),
    Kind(nouns=("bottle",), draw=_bottle, rotation=90.0),
    Kind(nouns=("house",), draw=_house, rotation=15.0),
    Kind(nouns=("tree",), draw=_tree, rotation=15.0),
    Kind(nouns=("fish", "animal"), draw=_fish, rotation=50.0),
    Kind(nouns=("leaf",), draw=_leaf, rotation=180.0),
    Kind(nouns=("key",), draw=_key, rotation=180.0),
    Kind(nouns=("button",), draw=_button, rotation=180.0, aspect=0.05),
    Kind(nouns=("cloud",), draw=_cloud, rotation=10.0, aspect=0.25, relief="dome"),
    Kind(nouns=("flower",), draw=_flower, rotation=180.0),
    Kind(nouns=("mushroom",), draw=_mushroom, rotation=30.0),
    Kind(nouns=("car", "vehicle"), draw=_car, rotation=20.0),
    Kind(nouns=("boat", "vehicle"), draw=_boat, rotation=15.0),
    Kind(nouns=("hat",), draw=_hat),
    Kind(nouns=("umbrella",), draw=_umbrella, rotation=40.0),
    Kind(nouns=("apple", "fruit"), draw=_apple, relief="dome"),
    Kind(nouns=("lamp",), draw=_lamp, rotation=15.0),
    Kind(nouns=("gear",), draw=_gear, rotation=180.0, aspect=0.08),
    Kind(nouns=("bone",), draw=_bone, rotation=180.0),
    Kind(nouns=("butterfly", "animal"), draw=_butterfly, rotation=180.0),
    Kind(nouns=("bird", "animal"), draw=_bird, rotation=25.0),
    Kind(nouns=("spoon",), draw=_spoon, rotation=180.0),
    Kind(nouns=("hammer",), draw=_hammer, rotation=180.0),
    Kind(nouns=("balloon",), draw=_balloon, relief="dome", rotation=20.0),
    Kind(nouns=("envelope",), draw=_envelope, rotation=40.0),
    Kind(nouns=("sock",), draw=_sock, rotation=50.0),
)
