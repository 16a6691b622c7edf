"""A clip as a strip of frames, with its masklets in colours that they keep."""

from collections.abc import Sequence

from PIL import Image

from masklet.engine.clips.masklets import from_mask_row
from masklet.engine.records import MaskRow
from masklet.engine.review.pictures import decoded, shrunk
from masklet.engine.stages.stage import Project, frames_of
from masklet.render.marks import outline_width, paint_mask, unit_of
from masklet.render.palettes import object_colour

FRAMES, SIDE = 4, 240


def strip(project: Project, media_id: str, rows: Sequence[MaskRow]) -> Image.Image:
    """Frames from all over the clip, side by side."""
    count = len(frames_of(project.view.one_media(media_id)))
    masklets = [from_mask_row(row, project.blobs) for row in rows]
    parts = []
    for place in range(min(FRAMES, count)):
        frame = round(place * (count - 1) / max(1, FRAMES - 1))
        canvas = shrunk(project.picture(media_id, frame), SIDE)
        width = outline_width(unit_of(canvas.width, canvas.height) * 2)
        for number, masklet in enumerate(masklets):
            if frame in masklet.frames:
                mask = MaskRow(counts=masklet.frames[frame], size=masklet.size, box=(0.0, 0.0, 0.0, 0.0), score=0.0)
                paint_mask(canvas, decoded(mask, (canvas.height, canvas.width)), object_colour(number), width)
        parts.append(canvas)
    both = Image.new("RGB", (sum(each.width + 4 for each in parts) - 4, parts[0].height), (24, 25, 30))
    left = 0
    for each in parts:
        both.paste(each, (left, 0))
        left += each.width + 4
    return both
