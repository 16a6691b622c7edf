"""Phrases as text: cleaned as the tokenizer reads them, and compared."""

import html
import re
import unicodedata

_QUOTES = str.maketrans({**dict.fromkeys("‘’‚‛ʼ", "'"), **dict.fromkeys("“”„‟", '"')})
_LIGATURES = str.maketrans(
    {"ĳ": "ij", "Ĳ": "IJ", "ŉ": "ʼn", "Ǳ": "DZ", "ǲ": "Dz", "ǳ": "dz", "Ǆ": "DŽ", "ǅ": "Dž", "ǆ": "dž"}
    | {"Ǉ": "LJ", "ǈ": "Lj", "ǉ": "lj", "Ǌ": "NJ", "ǋ": "Nj", "ǌ": "nj"}
    | {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "ſt", "ﬆ": "st"}
)


def clean_text(text: str) -> str:
    """Lower-case text with plain quotes, widths and ligatures, without markup entities and repeated blanks.

    Source: CLIP's text cleaning, with what it takes from ftfy written out here: docs/parity.md#text-cleaning.
    """
    text = _repair_decoding(html.unescape(text) if "<" not in text else text)
    text = "".join(_plain_width(char) for char in text.translate(_LIGATURES)).translate(_QUOTES)
    text = re.sub(r"\x1b\[((?:\d|;)*)([a-zA-Z])", "", text)
    text = "".join(char for char in text if not _is_control(char))
    text = unicodedata.normalize("NFC", text)
    text = html.unescape(html.unescape(text)).strip()
    return re.sub(r"\s+", " ", text).strip().lower()


def phrase_key(phrase: str) -> str:
    """What phrases are compared by: the same of "Red_mug" and " red  mug"; empty where a phrase says nothing."""
    return clean_text(phrase.replace("_", " "))


def _plain_width(char: str) -> str:
    wide = "\uff01" <= char <= "\uffef" or char == "\u3000"
    return unicodedata.normalize("NFKC", char) if wide else char


def _repair_decoding(text: str) -> str:
    """Undoes UTF-8 that was read as Windows-1252 ("Ã©" for "é"); text that makes no sense as UTF-8 stays as it is."""
    try:
        return b"".join(_windows_byte(char) for char in text).decode()
    except UnicodeError:
        return text


def _windows_byte(char: str) -> bytes:
    try:
        return char.encode("cp1252")
    except UnicodeEncodeError:
        return char.encode("latin-1")  # bytes that Windows-1252 leaves open are read as Latin-1


def _is_control(char: str) -> bool:
    """Invisible characters that do not belong in a phrase: most controls, direction marks, byte order mark."""
    code = ord(char)
    if code < 32:
        return char not in "\t\n\f\r"
    return code in (0x7F, 0xFEFF) or 0x206A <= code <= 0x206F or 0xFFF9 <= code <= 0xFFFC
