"""A bar below an image that says what its colours mean, with as many lines as the entries need."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from masklet.render.palettes import BAR, BAR_MUTED, BAR_TEXT, Colour
from masklet.render.tags import fill_rounded


@dataclass(frozen=True)
class LegendEntry:
    """A dot of a colour and what it stands for; without a colour both are muted."""

    text: str
    colour: Colour | None


def with_legend(canvas: Image.Image, entries: Sequence[LegendEntry], font: ImageFont.FreeTypeFont) -> Image.Image:
    """A taller copy of the canvas with the bar below."""
    # Lay the entries out in lines
    line, gap, dot, margin = font.size * 1.75, font.size * 1.4, font.size * 0.6, font.size * 0.8
    x, y = margin, font.size * 0.35
    places = []
    for entry in entries:
        width = dot * 1.6 + font.getlength(entry.text)
        if x > font.size and x + width > canvas.width - margin:
            x, y = margin, y + line
        places.append((x, y, entry))
        x += width + gap
    # Draw them
    tall = Image.new("RGB", (canvas.width, canvas.height + round(y + line + font.size * 0.35)), BAR)
    tall.paste(canvas, (0, 0))
    draw = ImageDraw.Draw(tall)
    for x, y, entry in places:
        middle = canvas.height + y + line / 2
        left, top, side = round(x), round(middle - dot / 2), round(dot)
        fill_rounded(tall, (left, top, left + side, top + side), dot / 2, entry.colour or BAR_MUTED)
        ink = BAR_MUTED if entry.colour is None else BAR_TEXT
        draw.text((x + dot * 1.6, middle), entry.text, font=font, fill=ink, anchor="lm")
    return tall
