"""The review sheet: a page in one file, with all questions as a grid, that needs no server and sends nothing.

Keys answer, and the answers, with the time each took, are downloaded as a file for `masklet engine review-import`.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from masklet.engine.clips.drawing import strip
from masklet.engine.review.pictures import from_near, jpeg, whole
from masklet.engine.review.queues import ANSWERS, ReviewItem
from masklet.engine.stages.stage import Project
from masklet.errors import InputError
from masklet.files import write_atomically

MOST_ITEMS = 2000  # of one page; more would not be scrolled through, nor kept by a browser
QUESTIONS = {
    "masks": "Does the mask show this, whole and alone?",
    "exhaustivity": "Is every one of these outlined?",
    "audit": "Is every one of these outlined?",
}
_TEMPLATE = Path(__file__).parent / "sheet.html"


def write_sheet(project: Project, items: Sequence[ReviewItem], path: Path) -> Path:
    """Writes the page for items of one task. Raises: InputError when there are none, or it cannot be written."""
    if not items:
        raise InputError("nothing is open for people in this task; `masklet engine stats PROJECT` shows what is")
    return write_atomically(path, render_sheet(project, items[:MOST_ITEMS]))


def render_sheet(project: Project, items: Sequence[ReviewItem]) -> str:
    """The page as text; the same items give the same text."""
    task = items[0].task
    cards = [
        {
            "pair": item.pair_id,
            "maskset": item.maskset_id,
            "number": item.number,
            "phrase": item.phrase,
            "masks": len(item.masks),
            "picture": _picture(project, item),
        }
        for item in items
    ]
    text = json.dumps({"task": task, "question": QUESTIONS[task], "answers": list(ANSWERS[task]), "cards": cards})
    template = _TEMPLATE.read_text(encoding="utf-8")
    script = template.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    safe = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return template.replace("SCRIPT_HASH", digest).replace("DATA_OF_THE_SHEET", safe)


def _picture(project: Project, item: ReviewItem) -> str:
    is_clip = project.view.one_media(item.media_id)["profile"] is not None
    if item.number is not None:
        drawn = from_near(project.picture(item.media_id, item.masks[0].frame), item.masks[0])
    elif is_clip:
        drawn = strip(project, item.media_id, item.masks)
    else:
        drawn = whole(project.picture(item.media_id), item.masks)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(drawn)).decode()
