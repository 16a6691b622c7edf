"""The part of a Label Studio configuration that a backend needs: which controls there are, and what they are about."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from masklet.errors import InputError
from masklet.serve.bridges.lenient import bounded_phrases

REGIONS = ("BrushLabels", "BitmaskLabels", "PolygonLabels", "RectangleLabels", "KeyPointLabels", "VideoRectangle")
MOST_LETTERS = 200_000
MOST_PHRASES = 100  # of all labels: a project is set up once, so it may ask more than somebody who types


@dataclass(frozen=True, kw_only=True)
class Control:
    """A control of an image: its tag and name, the image that it draws on, its labels, and its least score."""

    tag: str
    name: str
    to_name: str
    labels: tuple[str, ...] = ()
    least: float | None = None


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """Controls, the key in a task's data of each object that is labelled, and phrases of each label."""

    controls: tuple[Control, ...]
    keys: dict[str, str]
    phrases: dict[str, tuple[str, ...]]

    def output(self) -> Control:
        """The control that masks come in: the finest that there is. Raises: InputError when none is known here."""
        for tag in REGIONS:
            for control in self.controls:
                if control.tag == tag:
                    return control
        raise InputError(f"the labelling interface has none of {', '.join(REGIONS[:4])}")

    def label_of(self, phrase: str, control: Control) -> str:
        """The label that a phrase belongs to: the one that names it, or the first."""
        for label, phrases in self.phrases.items():
            if phrase.lower() in (label.lower(), *(each.lower() for each in phrases)):
                return label
        return phrase if not control.labels else control.labels[0]

    def all_phrases(self, labels: Sequence[str]) -> dict[str, str]:
        """Every phrase of labels, with its label. Raises: InputError when there are too many."""
        found = {phrase: label for label in labels for phrase in self.phrases.get(label) or (label,)}
        bounded_phrases(list(found), MOST_PHRASES)
        return found


def parse_config(text: str) -> LabelConfig:
    """The configuration of its XML. Raises: InputError when it is none; entities are refused unread."""
    if len(text) > MOST_LETTERS or re.search(r"<!\s*(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise InputError("the labelling interface is too long, or defines entities")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, UnicodeEncodeError) as error:
        raise InputError(f"the labelling interface is no XML: {error}") from error
    controls, keys, phrases = [], {}, {}
    for element in root.iter():
        value = element.get("value", "")
        if element.get("name") and value.startswith("$") and not element.get("toName"):
            keys[str(element.get("name"))] = value[1:]
        if not element.get("toName"):
            continue
        labels = []
        for each in element:
            if each.tag in ("Label", "Choice") and each.get("value"):
                labels.append(str(each.get("value")))
                names = [name.strip() for name in each.get("predicted_values", "").split(",") if name.strip()]
                if names or labels[-1] not in phrases:
                    phrases[labels[-1]] = tuple(names)
        least = element.get("model_score_threshold")
        controls.append(
            Control(
                tag=element.tag,
                name=str(element.get("name", "")),
                to_name=str(element.get("toName")),
                labels=tuple(labels),
                least=float(least) if least and re.fullmatch(r"0?\.\d+|0|1", least) else None,
            )
        )
    return LabelConfig(controls=tuple(controls), keys=keys, phrases=phrases)
