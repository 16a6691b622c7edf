"""The pictures of docs/data-engine.md, drawn by the code that they are about.

python examples/engine_pictures.py OUT      writes engine-states.svg, engine-mask.png and engine-whole.png
"""

import sys
from itertools import count
from pathlib import Path

import numpy as np

from masklet.engine.records import MaskRow
from masklet.engine.review.corrections import to_row
from masklet.engine.review.pictures import from_near, whole
from masklet.engine.states import FINAL, FOR_PEOPLE, TRANSITIONS, State
from masklet.files import write_atomically
from masklet.scenes.layout import SceneConfig
from masklet.scenes.scene import render_scene

WIDTH, HEIGHT, BOX = 1080, 470, (134, 34)
PLACES = {  # column and row of each state
    State.PROPOSED: (0, 2),
    State.PHRASE_REJECTED: (0, 4),
    State.QUEUED: (1, 2),
    State.SKIPPED_EASY: (1, 4),
    State.SKIPPED_BALANCE: (1, 5),
    State.MASKED: (2, 2),
    State.HUMAN_MASKS: (2, 0),
    State.MASKS_VERIFIED: (3, 2),
    State.PENDING: (4, 2),
    State.HUMAN_PENDING: (4, 0),
    State.REJECTED: (4, 5),
    State.TO_CORRECT: (5, 4),
    State.TO_CORRECT_GROUP: (5, 5),
    State.FINAL_POSITIVE: (6, 1),
    State.FINAL_NEGATIVE: (6, 2),
    State.CORRECTED: (6, 4),
    State.RECHECK: (6, 5),
    State.JOB_REJECTED: (5, 6),
}
COLOURS = {"people": "#f6d9a8", "final": "#bfe3c0", "else": "#dfe6ee"}


def middle(state: State) -> tuple[float, float]:
    """Where the box of a state is."""
    column, row = PLACES[state]
    return 80 + column * 153, 40 + row * 64


def draw_states() -> str:
    """All states with the moves between them; moves back to the queue are left out, as every open state has one."""
    parts = []
    for state, causes in TRANSITIONS.items():
        for after in {target for target in causes.values() if target is not State.QUEUED or state is State.PROPOSED}:
            (x0, y0), (x1, y1) = middle(state), middle(after)
            length = max(1.0, float(np.hypot(x1 - x0, y1 - y0)))
            short = min(
                abs(BOX[0] / 2 * length / max(1e-6, abs(x1 - x0))), abs(BOX[1] / 2 * length / max(1e-6, abs(y1 - y0)))
            )
            x1, y1 = x1 - (x1 - x0) * short / length, y1 - (y1 - y0) * short / length
            parts.append(f'<line x1="{x0:.0f}" y1="{y0:.0f}" x2="{x1:.0f}" y2="{y1:.0f}" class="move"/>')
    for state in TRANSITIONS:
        x, y = middle(state)
        kind = "final" if state in FINAL else "people" if state in FOR_PEOPLE else "else"
        corner = f'x="{x - BOX[0] / 2:.0f}" y="{y - BOX[1] / 2:.0f}" width="{BOX[0]}" height="{BOX[1]}" rx="6"'
        parts.append(f'<rect {corner} fill="{COLOURS[kind]}" stroke="#445"/>')
        parts.append(f'<text x="{x:.0f}" y="{y + 5:.0f}">{state}</text>')
    style = (
        "text{font:14px sans-serif;text-anchor:middle;fill:#123}.move{stroke:#789;stroke-width:1.5;marker-end:url(#a)}"
    )
    arrow = '<marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    arrow += '<path d="M0 0L8 4L0 8z" fill="#789"/></marker>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"><style>{style}</style>'
    return f'{head}<defs>{arrow}</defs><rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'


def scene() -> tuple[np.ndarray, list[MaskRow]]:
    """The first generated photo with a phrase of which it shows six or more, and their true masks."""
    for seed in count():
        example = render_scene(seed, SceneConfig(crowd_share=0.0, coin_share=0.0, cell_share=0.0))
        query = max(example.queries, key=lambda each: len(each.object_index))
        if 6 <= len(query.object_index) <= 15:
            return example.image, [to_row(example.masks[row]) for row in query.object_index]
    raise AssertionError("seeds do not end")


def main() -> None:
    """Writes the pictures."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images")
    write_atomically(out / "engine-states.svg", draw_states())
    image, masks = scene()
    for name, picture in (("engine-mask", from_near(image, masks[0])), ("engine-whole", whole(image, masks, side=480))):
        write_atomically(out / f"{name}.png", lambda file, each=picture: each.save(file, "PNG"))


if __name__ == "__main__":
    main()
