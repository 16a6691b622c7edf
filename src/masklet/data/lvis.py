"""LVIS files, read as COCO ones: what is labelled in full, and what was checked to be absent, differs by picture.

Of each picture a few categories were looked for. Those with labels are labelled in full unless it lists them under
`not_exhaustive_category_ids`; those under `neg_category_ids` are absent; of all others nothing is known.
"""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from masklet.data.reading import check_records
from masklet.data.sources import read_coco
from masklet.errors import InputError

_REMARK = re.compile(r"\s*\([^()]*\)\s*$")


def read_lvis(path: Path) -> dict[str, Any]:
    """The document with phrases for names, file names, and for each picture the phrases labelled in full.

    Two categories may share a phrase, as "bow_(weapon)" and "bow_(decorative_ribbons)" do; it is labelled in full only
    where both are.

    Raises: InputError naming the file, the record and the field.
    """
    document = read_coco(path, name_of_picture=_file_name)
    fields = {"neg_category_ids": list, "not_exhaustive_category_ids": list}
    check_records(path, "images", document["images"], fields)
    categories = [
        {**category, "name": phrase_of(category["name"]), "synonyms": [*map(phrase_of, category.get("synonyms", ()))]}
        for category in document["categories"]
    ]
    categories_of_phrase: dict[str, set[Any]] = defaultdict(set)
    for category in categories:
        for phrase in (category["name"], *category["synonyms"]):
            categories_of_phrase[phrase].add(category["id"])
    phrases_of_category = {each["id"]: {each["name"], *each["synonyms"]} for each in categories}
    labelled: dict[Any, set[Any]] = defaultdict(set)
    for annotation in document["annotations"]:
        labelled[annotation["image_id"]].add(annotation["category_id"])
    for record in document["images"]:
        known = _checked(path, record, labelled[record["id"]], phrases_of_category)
        candidates = {phrase for category in known for phrase in phrases_of_category[category]}
        record["exhaustive"] = sorted(phrase for phrase in candidates if categories_of_phrase[phrase] <= known)
    return {**document, "categories": categories}


def phrase_of(name: str) -> str:
    """A category's name as one would say it: without underscores and without the remark that tells it from others."""
    return _REMARK.sub("", name.replace("_", " ")).strip()


def _checked(path: Path, record: dict[str, Any], labelled: set[Any], names: dict[Any, set[str]]) -> set[Any]:
    """Categories labelled in full, or known to be absent, in one picture."""
    absent, partial = ({*record[field]} for field in ("neg_category_ids", "not_exhaustive_category_ids"))
    for field, values in (("neg_category_ids", absent), ("not_exhaustive_category_ids", partial)):
        unknown = sorted(map(str, values - names.keys()))
        if unknown:
            raise InputError(
                f"{path}: image record {record['id']}: {field} names category {unknown[0]}, which is unknown"
            )
    both = sorted(map(str, absent & labelled))
    if both:
        raise InputError(
            f"{path}: image record {record['id']}: category {both[0]} is labelled, and in neg_category_ids"
        )
    return (labelled - partial) | absent


def _file_name(record: dict[str, Any]) -> Any:
    """As in COCO; published LVIS files have an address instead, which ends with folder and name."""
    address = record.get("coco_url")
    return "/".join(address.split("/")[-2:]) if isinstance(address, str) else None
