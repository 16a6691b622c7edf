"""Phrases in one form: what says the same becomes the same, and what names nothing that can be outlined is left out.

Source: SAM 3 paper, appendix D: singular, no possessives, near-duplicates joined, phrases that cannot be grounded and
those about what is sensitive in people left out. The lists are our own.
"""

import re
import unicodedata
from dataclasses import dataclass

from masklet.engine.ontology.captions import ALWAYS_PLURAL, BEFORE_NOUNS, NOT_SEEN, SCENES, singular
from masklet.engine.ontology.concepts import HUMAN, SEEN_OF_PEOPLE, Ontology

MOST_WORDS = 5
MOST_ADJECTIVES = 2
LONGEST = 60  # characters
LONGEST_UNCHANGED = 4  # letters of a word that nobody knows, which may be a name


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PRONOUNS = _words(
    "it he she they we you i him her them us me who what which that this these those something anything nothing "
    "someone somebody everyone everybody anyone nobody thing things stuff object objects item items one ones here there"
)
PLACES = _words(
    "left right middle center centre edge corner inside outside distance area place space surface ground-level "
    "day night morning evening afternoon summer winter spring autumn time moment way order mood atmosphere style "
    "colour color size shape texture quality beauty happiness love idea concept example activity event celebration"
)
VAGUE = _words(
    "beautiful nice pretty lovely cute ugly interesting amazing awesome great typical famous favourite favorite "
    "certain particular special real actual own main visible very really quite so unknown random cool modern "
    "traditional delicious tasty"
)
QUANTITIES = _words(
    "some any many much few several all both each every no couple lots plenty dozens dozen hundred hundreds thousands "
    "numerous various multiple single double triple another two three four five six seven eight nine ten eleven twelve"
)
PARTITIVES = _words(
    "group pair couple bunch lot set row pile piece part number kind type sort crowd series serie stack"
)
PREPOSITIONS = _words("of with in on at by for from near under over behind beside")
SENSITIVE = _words(  # whatever it is said of
    "homosexual homosexuals transsexual gypsy gypsies crippled cripple retarded junkie junkies whore slut prostitute "
    "terrorist terrorists thug thugs criminal criminals beggar beggars addict addicts alcoholic alcoholics immigrant "
    "immigrants refugee refugees jew jews muslim muslims hindu hindus lesbian lesbians caucasian caucasians"
)
SENSITIVE_OF_PEOPLE = _words(
    "christian jewish buddhist atheist gay bisexual transgender queer african asian arab hispanic latino latina "
    "oriental european american indian illegal disabled handicapped autistic schizophrenic blind deaf homeless poor "
    "rich obese fat anorexic pregnant republican democrat communist alcoholic"
)
PEOPLE = SEEN_OF_PEOPLE | _words("couple family guy lady gentleman teenager adult kid patient student worker")
SKIN = _words("black white brown yellow dark light coloured colored")
SEVERAL = _words("and or & + / ,")
_OUTSIDE = re.compile(r"^[^\w]+|[^\w]+$")
_NUMBER = re.compile(r"^[#$€£]?\d+([.,:/x\u00d7\u2044]\d+)*(%|st|nd|rd|th|s)?$")


@dataclass(frozen=True, kw_only=True)
class NormalPhrase:
    """A phrase in its normal form, "" with the reason where it is none that can be asked."""

    text: str
    reason: str = ""


def normal_phrase(text: str, ontology: Ontology) -> NormalPhrase:
    """Lower case, singular, without articles, owners, numbers and empty praise; reasons are words, never errors."""
    words = _clean(text)
    is_number = bool(_NUMBER.match(text))
    if SEVERAL & set(re.split(r"\s+|(?<=\w)([/,])(?=\s*\w)", text.lower())) and not is_number:
        return NormalPhrase(text="", reason="several things")
    if not words or len(text) > 4 * LONGEST or len(words) > 3 * MOST_WORDS:
        return NormalPhrase(text="", reason="a sentence" if words else "empty")
    head, rest = _split(_without_measures(words))
    head = [word for word in head if word not in VAGUE | NOT_SEEN or word == head[-1]]
    head = [*head[:-1], _single(head, ontology)] if head else []
    reason = _why_not(head, ontology)
    whole = _few_adjectives(head, ontology) + rest if not reason else []
    if len(whole) > MOST_WORDS or len(" ".join(whole)) > LONGEST:
        reason = "a sentence"
    return NormalPhrase(text="" if reason else " ".join(whole), reason=reason)


def _why_not(head: list[str], ontology: Ontology) -> str:
    """Why a noun cannot be asked; "" where it can."""
    if not head:
        return "names nothing"
    if _is_sensitive(head, ontology):
        return "sensitive in people"
    return "names nothing" if head[-1] in PRONOUNS | PLACES | SCENES | VAGUE | NOT_SEEN | QUANTITIES else ""


def _clean(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", text).lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    plain = "".join(each if unicodedata.category(each)[0] != "C" else " " for each in plain)
    words = [_OUTSIDE.sub("", word).removesuffix("'s") for word in plain.replace("_", " ").split()]
    return [word for word in words if word]


def _without_measures(words: list[str]) -> list[str]:
    """Without articles, numbers and quantities before the noun, and without "a group of"."""
    while words:
        if words[0] in BEFORE_NOUNS | QUANTITIES or _NUMBER.match(words[0]):
            words = words[1:]
        elif words[0].removesuffix("s") in PARTITIVES and len(words) > 2 and words[1] == "of":
            words = words[2:]
        elif words[0] in VAGUE | NOT_SEEN and len(words) > 1:
            words = words[1:]
        else:
            break
    return words


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """The noun with what stands before it, and what is said of it after a preposition, without its articles."""
    place = next((n for n, word in enumerate(words) if n and word in PREPOSITIONS), len(words))
    rest = words[place:]
    return words[:place], rest[:1] + [word for word in rest[1:] if word not in BEFORE_NOUNS - PREPOSITIONS]


def _single(head: list[str], ontology: Ontology) -> str:
    """The last word in singular, also where the ontology knows only its last part, or not the word at all."""
    last = singular(" ".join(head), ontology).rpartition(" ")[2]
    front, hyphen, end = last.rpartition("-")
    if hyphen:
        return front + hyphen + singular(end, ontology)
    is_plural = last.endswith("s") and not last.endswith(("ss", "us", "is", "os", "as", "ves", "ies"))
    is_unknown = ontology.find(last) is None and last not in ALWAYS_PLURAL and len(last) > LONGEST_UNCHANGED
    return last.removesuffix("s") if is_plural and is_unknown and last.isascii() else last


def _is_sensitive(words: list[str], ontology: Ontology) -> bool:
    if SENSITIVE & set(words):
        return True
    concept = ontology.find(words[-1])
    is_person = words[-1] in PEOPLE or (concept is not None and concept.category == HUMAN)
    return is_person and bool((SKIN | SENSITIVE_OF_PEOPLE) & set(words))


def _few_adjectives(head: list[str], ontology: Ontology) -> list[str]:
    """The noun with the two adjectives nearest to it."""
    place = len(head) - 1
    while place > 0 and (head[place - 1] not in ontology.adjectives or ontology.find(" ".join(head[place - 1 :]))):
        place -= 1
    adjectives = head[:place]
    return [*adjectives[-MOST_ADJECTIVES:], *head[place:]]
