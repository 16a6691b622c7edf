"""LVIS labels: COCO's, where what is labelled in full and what was checked to be absent differs by image.

Of each image a few categories were looked for. Those with labels are labelled in full unless the image lists them under
`not_exhaustive_category_ids`; those under `neg_category_ids` are absent; of all others nothing is known.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from masklet.errors import InputError
from masklet.formats.coco import CocoFile, CocoImage, read_coco
from masklet.formats.records import Id
from masklet.phrases import phrase_key

_REMARK = re.compile(r"\s*\([^()]*\)\s*$")


def read_lvis(path: Path) -> CocoFile:
    """The file with phrases for category names; `exhaustive` of an image lists the phrases labelled in full.

    Two categories may share a phrase, as "bow_(weapon)" and "bow_(decorative_ribbons)" do; it is labelled in full only
    where both are.

    Raises: InputError naming file, record and field.
    """
    document = read_coco(path)
    categories = {
        key: replace(each, name=phrase_of(each.name), synonyms=[*map(phrase_of, each.synonyms or ())])
        for key, each in document.categories.items()
    }
    categories_of_phrase: dict[str, set[Id]] = defaultdict(set)
    for category in categories.values():
        for phrase in category.phrases:
            categories_of_phrase[phrase_key(phrase)].add(category.id)
    if all(each.neg_category_ids is each.not_exhaustive_category_ids is None for each in document.images.values()):
        raise InputError(
            f"{path}: no image has neg_category_ids or not_exhaustive_category_ids: LVIS labels are expected"
        )
    labelled = {key: {each.category_id for each in found} for key, found in document.by_image().items()}
    images = {}
    for key, image in document.images.items():
        known = _known_categories(path, image, labelled.get(key, set()), categories.keys())
        candidates = {phrase for category in known for phrase in categories[category].phrases}
        complete = sorted(phrase for phrase in candidates if categories_of_phrase[phrase_key(phrase)] <= known)
        images[key] = replace(image, exhaustive=complete)
    return CocoFile(images=images, categories=categories, annotations=document.annotations)


def phrase_of(name: str) -> str:
    """A category's name as one would say it: without underscores and without the remark that tells it from others."""
    return " ".join(_REMARK.sub("", name.replace("_", " ")).split()) or name


def _known_categories(path: Path, image: CocoImage, labelled: set[Id], categories: Iterable[Id]) -> set[Id]:
    """Categories labelled in full, or known to be absent, in one image."""
    where = f"{path}: image {image.id}"
    lists = {field: getattr(image, field) or [] for field in ("neg_category_ids", "not_exhaustive_category_ids")}
    for field, values in lists.items():
        unknown = sorted(map(str, set(values).difference(categories)))
        if unknown:
            raise InputError(f"{where}: {field}: there is no category {unknown[0]}")
    absent, partial = map(set, lists.values())
    both = sorted(map(str, absent & labelled))
    if both:
        raise InputError(f"{where}: neg_category_ids: holds category {both[0]}, which is labelled")
    return (labelled - partial) | absent
