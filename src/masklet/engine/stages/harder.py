"""A second try for phrases whose words say little to the model: by an example of its own, and by a broader name.

Masks that come from a broader name are not known to show the phrase itself: they are scored at even odds, so that
verification decides about each. What was asked is kept with the masks (`proposal_phrase`).

Source: SAM 3 paper, appendix D: fine-grained phrases are masked through their coarse ancestor and then verified.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from masklet.engine.ontology.concepts import Ontology, concepts_of
from masklet.engine.records import MaskRow
from masklet.engine.stages.mask_rows import masks_by_phrase, overlap_table
from masklet.protocols import ImageSegmenter

WEAK = (0.2, 0.7)  # presence between which words are weak and an example may help
GOOD_EXAMPLE = 0.5  # score of a mask that is taken as one
ABSENT = 0.5  # presence below which a broader name is tried
EVEN = 0.5
MOST_ANCESTORS = 2
SAME = 0.5


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """Masks of a phrase, best first, and what was asked for them."""

    masks: Sequence[MaskRow]
    asked: str


def try_harder(
    session: ImageSegmenter,
    first: Mapping[str, Sequence[MaskRow]],
    presence: Mapping[str, float],
    ontology: Ontology,
    threshold: float,
) -> dict[str, Proposal]:
    """Better proposals for the phrases that have any, by phrase."""
    found = {}
    for phrase in sorted(presence):
        masks = first.get(phrase, ())
        if masks and WEAK[0] <= presence[phrase] < WEAK[1] and masks[0].score >= GOOD_EXAMPLE:
            more = _by_example(session, phrase, masks[0], threshold)
            new = [mask for mask in more if _is_new(mask, masks)]
            if new:
                found[phrase] = Proposal(masks=[*masks, *new], asked=f"{phrase} and an example")
    weak = [
        phrase for phrase in presence if presence[phrase] < ABSENT and phrase not in found and not first.get(phrase)
    ]
    return found | _by_ancestors(session, weak, ontology, threshold)


def _by_example(session: ImageSegmenter, phrase: str, example: MaskRow, threshold: float) -> Sequence[MaskRow]:
    instances = session.find(phrase, boxes=[example.box], threshold=threshold)
    return masks_by_phrase(instances, session.size).get(phrase, [])


def _is_new(mask: MaskRow, masks: Sequence[MaskRow]) -> bool:
    return bool(overlap_table([mask], masks).max() < SAME)


def _by_ancestors(
    session: ImageSegmenter, weak: Sequence[str], ontology: Ontology, threshold: float
) -> dict[str, Proposal]:
    """Masks of the nearest broader concept that the model finds, for each phrase without masks."""
    names: dict[str, list[str]] = {}
    for phrase, concept in concepts_of(ontology, weak).items():
        above = [
            ontology.concepts[each] for each in ontology.ancestors(concept.concept_id) if each in ontology.concepts
        ]
        names[phrase] = [each.names[0] for each in above if ontology.is_clear(each)][:MOST_ANCESTORS]
    asked = sorted({name for several in names.values() for name in several})
    if not asked:
        return {}
    instances = session.find(asked, threshold=threshold)
    masks = masks_by_phrase(instances, session.size)
    found = {}
    for phrase, several in names.items():
        name = next((each for each in several if instances.presence[each] >= ABSENT and masks.get(each)), None)
        if name is not None:
            found[phrase] = Proposal(masks=[replace(mask, score=EVEN) for mask in masks[name]], asked=name)
    return found
