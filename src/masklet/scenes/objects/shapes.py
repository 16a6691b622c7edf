"""Geometric shapes, letters and digits, coins and cells: objects whose name is their outline or their surface."""

import numpy as np

from masklet.scenes.objects.silhouettes import Drawing, Kind, Pen, around

Rng = np.random.Generator

METALS = ("gold", "silver", "bronze")


def _circle(pen: Pen, rng: Rng) -> None:  # noqa: ARG001
    pen.oval(0, 0, 0.97, 0.97)


def _oval(pen: Pen, rng: Rng) -> None:
    pen.oval(0, 0, 0.97, float(rng.uniform(0.5, 0.66)))


def _square(pen: Pen, rng: Rng) -> None:
    pen.box((-0.95, -0.95), (0.95, 0.95), float(rng.choice([0.0, 0.1, 0.2])))


def _rectangle(pen: Pen, rng: Rng) -> None:
    half = float(rng.uniform(0.4, 0.6))
    pen.box((-0.97, -half), (0.97, half), float(rng.choice([0.0, 0.1])))


def _triangle(pen: Pen, rng: Rng) -> None:
    lean = float(rng.uniform(-0.3, 0.3))
    pen.poly([(lean, -0.95), (0.95, 0.8), (-0.95, 0.8)])


def _star(pen: Pen, rng: Rng) -> None:
    count = int(rng.choice([5, 5, 6]))
    outer, inner = around(count, 0.98), around(count, float(rng.uniform(0.38, 0.5)), -90 + 180 / count)
    pen.poly([point for pair in zip(outer, inner, strict=True) for point in pair])


def _heart(pen: Pen, rng: Rng) -> None:  # noqa: ARG001
    t = np.linspace(0, 2 * np.pi, 90)
    x = np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 16
    pen.poly([(float(a) * 0.96, float(b) * 0.96) for a, b in zip(x, y, strict=True)])


def _ring(pen: Pen, rng: Rng) -> None:
    pen.hoop(0, 0, 0.97, 0.97, float(rng.uniform(0.25, 0.45)))


def _cross(pen: Pen, rng: Rng) -> None:
    half = float(rng.uniform(0.2, 0.34))
    pen.box((-half, -0.95), (half, 0.95))
    pen.box((-0.95, -half), (0.95, half))


def _arrow(pen: Pen, rng: Rng) -> None:
    half = float(rng.uniform(0.16, 0.28))
    pen.poly([(-0.95, -half), (0.1, -half), (0.1, -0.7), (0.97, 0), (0.1, 0.7), (0.1, half), (-0.95, half)])


def _diamond(pen: Pen, rng: Rng) -> None:
    half = float(rng.uniform(0.5, 0.68))
    pen.poly([(0, -0.97), (half, 0), (0, 0.97), (-half, 0)])


def _crescent(pen: Pen, rng: Rng) -> None:
    pen.oval(0, 0, 0.95, 0.95)
    pen.oval(float(rng.uniform(0.35, 0.55)), -0.1, 0.78, 0.78, cut=True)


def _character(character: str) -> Drawing:
    return lambda pen, _: pen.text(character)


def _coin(pen: Pen, rng: Rng) -> None:
    pen.oval(0, 0, 0.97, 0.97)
    pen.hoop(0, 0, 0.97, 0.97, 0.06, tone=150)
    motif = rng.integers(4)
    if motif == 0:
        pen.text(str(rng.integers(1, 10)), tone=165, scale=0.6)
    elif motif == 1:  # a head in profile: skull, nose, neck
        pen.oval(0.05, -0.2, 0.38, 0.42, tone=165)
        pen.poly(
            [(-0.25, -0.25), (-0.5, 0.05), (-0.2, 0.1), (-0.25, 0.4), (-0.45, 0.7), (0.5, 0.7), (0.3, 0)], tone=165
        )
        pen.line([(-0.2, -0.45), (0.3, -0.4)], 0.06, tone=100)
    elif motif == 2:  # a crest
        points = around(int(rng.integers(5, 9)), 0.6, float(rng.uniform(0, 90)))
        for point in points:
            pen.line([(0, 0), point], 0.12, tone=165)
        pen.oval(0, 0, 0.3, 0.3, tone=110)
    for x, y in around(int(rng.integers(8, 26)), 0.76, float(rng.uniform(0, 90))):  # the legend, as worn marks
        size = float(rng.uniform(0.02, 0.06))
        pen.oval(x, y, size, size * 1.4, tone=int(rng.integers(90, 175)))
    for _ in range(int(rng.integers(8, 40))):  # wear
        x, y = rng.uniform(-0.7, 0.7, 2)
        pen.oval(float(x), float(y), *rng.uniform(0.01, 0.09, 2).tolist(), tone=int(rng.integers(100, 158)))


def _cell(pen: Pen, rng: Rng) -> None:
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    radius = 0.86 + sum(
        float(rng.normal(0, 0.05)) * np.cos(k * angles + float(rng.uniform(0, 6.28))) for k in range(2, 5)
    )
    radius = np.clip(radius, 0.6, 0.98)
    pen.poly(list(zip((radius * np.cos(angles)).tolist(), (radius * np.sin(angles)).tolist(), strict=True)))
    if rng.random() < 0.6:  # a nucleus
        x, y = rng.uniform(-0.25, 0.25, 2).tolist()
        pen.oval(x, y, *rng.uniform(0.22, 0.4, 2).tolist(), tone=int(rng.choice([70, 95])))
    for _ in range(8):
        x, y = rng.uniform(-0.5, 0.5, 2).tolist()
        pen.oval(x, y, 0.05, 0.05, tone=int(rng.integers(100, 150)))


# Left out because something else looks the same: I, O, Q, 0, 1.
LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"
DIGITS = "23456789"

SHAPES: tuple[Kind, ...] = (
    Kind(nouns=("circle",), draw=_circle, rotation=180.0, aspect=0.02, shear=0.02, variants=1),
    Kind(nouns=("oval",), draw=_oval, rotation=180.0, aspect=0.03, shear=0.03),
    Kind(nouns=("square",), draw=_square, rotation=20.0, aspect=0.03, shear=0.03),  # turned by 45 it is a diamond
    Kind(nouns=("rectangle",), draw=_rectangle, rotation=180.0, aspect=0.1, shear=0.03),
    Kind(nouns=("triangle",), draw=_triangle, rotation=180.0),
    Kind(nouns=("star",), draw=_star, rotation=180.0),
    Kind(nouns=("heart",), draw=_heart, rotation=60.0, variants=1),
    Kind(nouns=("ring",), draw=_ring, rotation=180.0, aspect=0.3),
    Kind(nouns=("cross",), draw=_cross, rotation=180.0),
    Kind(nouns=("arrow",), draw=_arrow, rotation=180.0),
    Kind(nouns=("hexagon",), draw=lambda pen, _: pen.poly(around(6, 0.97)), rotation=180.0, aspect=0.1, variants=1),
    Kind(nouns=("pentagon",), draw=lambda pen, _: pen.poly(around(5, 0.97)), rotation=180.0, aspect=0.1, variants=1),
    Kind(nouns=("diamond",), draw=_diamond, rotation=20.0, aspect=0.05, shear=0.04),
    Kind(nouns=("crescent", "moon"), draw=_crescent, rotation=180.0, aspect=0.08),
    Kind(
        nouns=("coin",),
        draw=_coin,
        rotation=180.0,
        aspect=0.08,
        shear=0.04,
        relief="coin",
        colours=METALS,
        variants=24,
        patterned=False,
    ),
    Kind(nouns=("cell",), draw=_cell, rotation=180.0, aspect=0.3, relief="dome", variants=16, patterned=False),
)

CHARACTERS: tuple[Kind, ...] = tuple(
    Kind(nouns=(f"{word} {character.lower()}", word), draw=_character(character), rotation=28.0, flip=False, variants=1)
    for word, characters in (("letter", LETTERS), ("number", DIGITS))
    for character in characters
)
