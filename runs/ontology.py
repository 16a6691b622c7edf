"""Derives the table of nouns that the data engine ships from WordNet 3.0 (Debian: `apt-get download wordnet-base`).

    python runs/ontology.py FOLDER_OF_WORDNET src/masklet/engine/ontology/nouns.tsv.gz

Kept are things that can be seen: animals, artefacts, parts of bodies, food, objects, people by what they are, plants;
without individuals, genus names and names of four words or more. A line is one of

    n <number> <names, `|` between, `*` after those that first mean something else> <parents> <occurrences> <category>
    a <adjective>        v <word that is oftener a verb than a noun>        x <irregular plural> <singular>
"""

import gzip
import sys
from collections import defaultdict, deque
from pathlib import Path

VISIBLE = {"05", "06", "08", "13", "17", "18", "20", "21"}
TOPS = "03"  # the file of the most general words, of which the roots alone are kept
# Of the paper's 17 categories those that WordNet's things fall into, and the concepts that they begin with.
ROOTS = {
    "animals": ("animal",),
    "art, history and religion": ("art", "musical_instrument", "flag", "jewel", "sculpture", "painting"),
    "buildings and locations": ("structure", "geological_formation", "building", "body_of_water", "land"),
    "celestial": ("celestial_body", "star"),
    "documents": ("sign", "card", "book", "newspaper"),
    "electronics": ("electronic_equipment", "camera", "computer", "telephone"),
    "equipment": ("equipment", "weapon", "sports_equipment", "armor", "medical_instrument"),
    "fashion and beauty": ("clothing", "footwear", "accessory", "jewelry", "headdress"),
    "food and drinks": ("food", "beverage", "foodstuff", "fruit", "vegetable"),
    "furnishing and home": ("furniture", "furnishing", "home_appliance", "writing_implement"),
    "human": ("person",),
    "object parts": ("body_part", "part", "component"),
    "patterns and material": ("fabric", "rock", "building_material"),
    "plants and fungi": ("plant_life", "fungus"),
    "transportation": ("vehicle", "wheeled_vehicle", "road", "craft"),
    "tools and appliances": ("tool", "container", "utensil", "plaything", "lamp", "device", "implement"),
    "other products": ("coin", "artifact", "object"),
}


def counts_of(folder: Path) -> dict[tuple[str, str], int]:
    """How often a word occurs as noun (1) and as verb (2) in the texts that WordNet counted."""
    found: dict[tuple[str, str], int] = defaultdict(int)
    for line in (folder / "cntlist.rev").read_text().splitlines():
        key, _, count = line.split()
        word, _, rest = key.partition("%")
        found[word, rest[0]] += int(count)
    return found


def synsets(folder: Path) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Names and parents of the things that can be seen, by number."""
    roots = {root for each in ROOTS.values() for root in each}
    names, parents = {}, {}
    for line in (folder / "data.noun").read_text().splitlines():
        if line.startswith("  "):
            continue
        words = line.split("|")[0].split()
        number, kind, num_words = words[0], words[1], int(words[3], 16)
        pointers = words[5 + 2 * num_words :]
        pairs = [(pointers[place], pointers[place + 1]) for place in range(0, len(pointers) - 3, 4)]
        lemmas = [words[4 + 2 * place] for place in range(num_words)]
        is_visible = kind in VISIBLE or (kind == TOPS and bool(roots & set(lemmas)))
        kept = [lemma for lemma in lemmas if is_plain(lemma)]
        if kept and is_visible and not any(mark == "@i" for mark, _ in pairs):
            names[number] = kept
            parents[number] = [other for mark, other in pairs if mark == "@"]
    return names, parents


def is_plain(lemma: str) -> bool:
    """Whether a name is lower case, of letters, and short."""
    return lemma.islower() and lemma.count("_") < 3 and lemma.replace("_", "").replace("-", "").isalpha()


def index(folder: Path, kind: str) -> dict[str, list[str]]:
    """The senses of each word, first ones first."""
    lines = (folder / f"index.{kind}").read_text().splitlines()
    split = [line.split() for line in lines if not line.startswith("  ")]
    return {words[0]: [word for word in words if len(word) == 8 and word.isdecimal()] for words in split}


def categories(
    names: dict[str, list[str]], parents: dict[str, list[str]], senses: dict[str, list[str]]
) -> dict[str, str]:
    """The category of each thing below a root: that of the nearest."""
    children: dict[str, list[str]] = defaultdict(list)
    for number, above in parents.items():
        for other in above:
            children[other].append(number)
    found: dict[str, str] = {}
    for title, roots in ROOTS.items():
        for root in roots:
            number = next((each for each in senses[root] if each in names), None)
            if number is not None:
                found.setdefault(number, title)
    waiting = deque(found)
    while waiting:
        number = waiting.popleft()
        for child in sorted(children[number]):
            if child not in found:
                found[child] = found[number]
                waiting.append(child)
    return found


def first_seen(name: str, senses: list[str], names: dict[str, list[str]], category: dict[str, str]) -> str:
    """The sense that is meant of things seen: no kind of person, for a mug is a vessel before it is a fool.

    Before that the one whose own first name it is, for it is a vessel before it is a face.
    """
    return min(senses, key=lambda each: (category[each] == "human", names[each][0] != name, senses.index(each)))


def main() -> None:
    """Writes the table."""
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    names, parents = synsets(folder)
    senses, counted = index(folder, "noun"), counts_of(folder)
    category = categories(names, parents, senses)
    known = {name for number in category for name in names[number]}
    first = {
        name: first_seen(name, [each for each in senses[name] if each in category], names, category) for name in known
    }
    lines = []
    for number in sorted(category):
        above = [other for other in parents[number] if other in category]
        # A word counts for its first sense alone
        often = sum(counted[name, "1"] for name in names[number] if senses[name][:1] == [number])
        labels = "|".join(name.replace("_", " ") + ("" if first[name] == number else "*") for name in names[number])
        lines.append(f"n\t{number}\t{labels}\t{','.join(above)}\t{often}\t{category[number]}")
    adjectives = index(folder, "adj")
    lines += [f"a\t{word}" for word in adjectives if word.isalpha() and counted[word, "3"] + counted[word, "5"] > 1]
    verbs = sorted(index(folder, "verb").keys() & known)
    lines += [f"v\t{word}" for word in verbs if counted[word, "2"] > counted[word, "1"]]
    irregular = [line.split()[:2] for line in (folder / "noun.exc").read_text().splitlines()]
    lines += [f"x\t{plural}\t{one}" for plural, one in irregular if one in known and plural.isalpha()]
    with out.open("wb") as file, gzip.GzipFile(fileobj=file, mode="wb", mtime=0, filename="") as packed:
        packed.write(("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
