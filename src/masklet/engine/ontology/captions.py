"""Noun phrases of captions by the word classes of the ontology: small, offline, and the same on every machine.

It finds chunks "adjectives, then a noun that names a thing" and gives them in singular. It does not parse sentences.
"""

import re
import unicodedata

from masklet.engine.ontology.concepts import Ontology

MOST_ADJECTIVES = 2
LONGEST_NOUN = 3  # words


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ALWAYS_PLURAL = _words(
    "scissors glasses sunglasses trousers jeans shorts pants tongs pliers tweezers binoculars goggles headphones "
    "clothes tights leggings pyjamas"
)
IRREGULAR = {"women": "woman", "people": "person", "persons": "person", "lenses": "lens"}  # which the ontology lacks
NOT_SEEN = _words(
    "other same different several many various few new old good own next last first second third main "
    "one two three four five six seven eight nine ten eleven twelve dozen hundred"
)
SCENES = _words(
    "background foreground photo photograph picture image view scene shot front back side top bottom middle group "
    "pair lot number row set bunch part piece kind type sort close-up closeup"
)
BEFORE_NOUNS = _words("a an the his her its their my our your this that these those some with of and in on")
_WORD = re.compile(r"[^\W_]+(?:[-'][^\W_]+)*|[.,;:!?()]")


def noun_phrases(caption: str, ontology: Ontology) -> list[str]:
    """The phrases of a caption in singular, each once, in their order; at most two adjectives each."""
    tokens = _WORD.findall(
        unicodedata.normalize("NFKC", caption).lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    )
    tokens = [token.removesuffix("'s") for token in tokens]
    found: dict[str, None] = {}
    place = 0
    while place < len(tokens):
        noun, length = _noun_at(tokens, place, ontology)
        if not length:
            place += 1
            continue
        adjectives: list[str] = []
        before = place - 1
        while before >= 0 and len(adjectives) < MOST_ADJECTIVES and _is_adjective(tokens[before], ontology):
            adjectives.insert(0, tokens[before])
            before -= 1
        is_verb = length == 1 and noun in ontology.verbs and not adjectives
        has_article = before >= 0 and tokens[before] in BEFORE_NOUNS
        if noun not in SCENES | NOT_SEEN and not (is_verb and not has_article):
            found[" ".join([*(each for each in adjectives if each not in NOT_SEEN), noun])] = None
        place += length
    return list(found)


def singular(noun: str, ontology: Ontology) -> str:
    """The singular of a noun, as far as the ontology knows it; other words stay as they are."""
    *before, last = noun.split(" ")
    return " ".join([*before, _singular_word(last, " ".join(before), ontology)])


def _singular_word(word: str, before: str, ontology: Ontology) -> str:
    if word in ALWAYS_PLURAL:
        single = word.removesuffix("es") if word == "glasses" else word.removesuffix("s")
        is_compound = before and (ontology.find(f"{before} {single}") or ontology.find(before + single))
        return single if is_compound else word
    if word in IRREGULAR or word in ontology.plurals:
        return IRREGULAR.get(word) or ontology.plurals[word]

    def known(each: str) -> bool:
        return ontology.find(f"{before} {each}".strip()) is not None or ontology.find(each) is not None

    endings = (("ies", "y"), ("ves", "f"), ("ves", "fe"), ("s", ""), ("es", ""))
    candidates = [
        word[: -len(end)] + other for end, other in endings if word.endswith(end) and len(word) > len(end) + 1
    ]
    if word.endswith("ss") or word.endswith("us"):
        return word
    return next((each for each in candidates if known(each)), word)


def _noun_at(tokens: list[str], place: int, ontology: Ontology) -> tuple[str, int]:
    """The longest name of a thing that begins here, in singular, and its number of words; 0 for none."""
    for length in range(min(LONGEST_NOUN, len(tokens) - place), 0, -1):
        name = singular(" ".join(tokens[place : place + length]), ontology)
        if ontology.find(name) is None or (length == 1 and _is_no_noun_here(tokens, place, ontology)):
            continue
        return name, length
    return "", 0


def _is_no_noun_here(tokens: list[str], place: int, ontology: Ontology) -> bool:
    """An adjective that another noun follows, as in "orange cat"."""
    if tokens[place] not in ontology.adjectives or place + 1 >= len(tokens):
        return False
    following = singular(tokens[place + 1], ontology)
    return ontology.find(following) is not None and tokens[place + 1] not in ontology.verbs


def _is_adjective(token: str, ontology: Ontology) -> bool:
    return token in ontology.adjectives and token not in BEFORE_NOUNS
