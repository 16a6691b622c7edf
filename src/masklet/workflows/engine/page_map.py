"""The map of a project's photos: like ones near each other, drawn as small pictures on one chart."""

import base64
from xml.sax.saxutils import escape, quoteattr

from PIL import Image

from masklet.engine.curation.describe import flat_map, kinds_of_media, vectors_of
from masklet.engine.review.pictures import jpeg
from masklet.engine.stages.stage import Project
from masklet.errors import InputError
from masklet.eval.reports.page import Chart
from masklet.render.palettes import object_colour

WIDTH, HEIGHT, MARGIN = 900, 560, 24
MOST_PICTURES, PICTURE = 150, 40  # of so many pixels; the others are dots


def map_of(project: Project) -> Chart | None:
    """The chart, None while fewer than three photos are described."""
    vectors = vectors_of(project)
    if len(vectors) < 3:
        return None
    media = {row["media_id"]: row for row in project.view.media()}
    kinds = kinds_of_media(project)
    colours = {kind: object_colour(number) for number, kind in enumerate(sorted({*kinds.values()}))}
    places = {key: place for key, place in flat_map(vectors).items() if key in media}
    dots, pictures = [], []
    step = max(1, len(places) // MOST_PICTURES)
    for number, (key, (x, y)) in enumerate(sorted(places.items())):
        left, top = MARGIN + x * (WIDTH - 2 * MARGIN), MARGIN + y * (HEIGHT - 2 * MARGIN)
        title = f"<title>{escape(media[key]['uri'])} ({escape(kinds[key])})</title>"
        red, green, blue = colours[kinds[key]]
        stroke = f"rgb({red},{green},{blue})"
        picture = _small(project, key) if number % step == 0 else None
        if picture is None:
            dots.append(f'<circle cx="{left:.1f}" cy="{top:.1f}" r="4" fill="{stroke}">{title}</circle>')
            continue
        width, height, data = picture
        box = f'x="{left - width / 2:.1f}" y="{top - height / 2:.1f}" width="{width}" height="{height}"'
        frame = f'<rect {box} fill="none" stroke="{stroke}" stroke-width="2"/>'
        pictures.append(f"<g>{title}<image {box} href={quoteattr(data)}/>{frame}</g>")
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="map of {len(places)} photos">{"".join(dots)}{"".join(pictures)}</svg>'
    )
    legend = ", ".join(f"{sum(kind == k for k in kinds.values())} {kind}" for kind in colours)
    return Chart(f"Map of {len(places)} photos", svg, f"like ones near each other; frames by kind: {legend}")


def _small(project: Project, media_id: str) -> tuple[int, int, str] | None:
    try:
        image = Image.fromarray(project.picture(media_id))
    except InputError:  # an original that is gone is a dot
        return None
    image.thumbnail((PICTURE, PICTURE))
    return image.width, image.height, "data:image/jpeg;base64," + base64.b64encode(jpeg(image)).decode()
