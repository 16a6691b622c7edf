"""The datasheet of a snapshot: what is in it, where it is from, who decided, and what it should not be used for.

Source: the questions are those of Gebru et al. (2021), Datasheets for Datasets, as far as a ledger can answer them.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from masklet.engine.ledger import tables as t
from masklet.engine.project.licences import UNKNOWN, family_of
from masklet.engine.view import LedgerView

MOST_LISTED = 30
TIERS = {
    "HQ-human": "a person said that nothing is missing",
    "HQ-ai": "a trained verifier said so",
    "SYN": "rules and the model's own scores said so; nobody looked",
}


def datasheet(view: LedgerView, snapshot_id: str, manifest: Mapping[str, Any]) -> str:
    """The sheet as Markdown; the same snapshot gives the same text."""
    entries = manifest["annotations"]
    counts, splits = manifest["counts"], Counter(entry["split"] for entry in entries)
    chosen = {entry["annotation"] for entry in entries}
    rows = [row for row in view.all_annotations() if row["annotation_id"] in chosen]
    positive, negative = (Counter(r["text"] for r in rows if bool(r["polarity"]) == side) for side in (True, False))
    origins = Counter(row["origin"] for row in rows)
    media = {row["media_id"]: row for row in view.all_media()}
    used = {media[entry["media"]]["source_id"] for entry in entries}
    sources = [row for row in view.ledger.read(select(t.source).order_by(t.source.c.name)) if row["source_id"] in used]
    lines = [
        f"# Datasheet of snapshot {snapshot_id[:12]}",
        "",
        "## What it is made of",
        "",
        f"{counts['images']} images, {counts['pairs']} pairs of an image and a phrase, {counts['positive']} of them "
        f"present, with {counts['masks']} masks.",
        f"Splits: {_listed(splits)}; duplicates of an image are never parted.",
        "",
        "| tier | pairs | whose word it rests on |",
        "|---|---|---|",
        *(f"| {tier} | {count} | {TIERS.get(tier, '')} |" for tier, count in manifest["tiers"].items()),
        "",
        f"Phrases came from: {_listed(origins)}.",
        "",
        "| phrase | present | known to be absent |",
        "|---|---|---|",
        *(f"| {text} | {count} | {negative[text]} |" for text, count in _common(positive)),
        "",
        "## Where the images are from",
        "",
        "| source | licence | attribution |",
        "|---|---|---|",
        *(f"| {row['name']} | {row['licence']} | {row['attribution'] or '-'} |" for row in sources),
        "",
        *_left_out(manifest),
        "## What to know before use",
        "",
        "- A phrase that is not listed for an image was not asked of it: it is neither present nor absent.",
        f"- {counts['groups']} pairs hold groups whose instances cannot be told apart; they are not exhaustive.",
    ]
    if any(family_of(row["licence"]) == UNKNOWN for row in sources):
        lines.append("- The licence of some images is not known: images and labels must not be passed on.")
    if "SYN" in manifest["tiers"]:
        lines.append("- Labels of tier SYN carry the model's own mistakes; look at some before training on them.")
    return "\n".join([*lines, ""])


def _common(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:MOST_LISTED]


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing"


def _left_out(manifest: Mapping[str, Any]) -> list[str]:
    if not manifest["left_out"]:
        return []
    counts = Counter(each["set"] for each in manifest["left_out"])
    return [f"Left out, as they show what is in evaluation sets: {_listed(counts)}.", ""]
