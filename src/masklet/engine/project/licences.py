"""Which licences of photos may stand in one data set, and which refuse to mix. No legal advice: it errs to refusal."""

import re
from collections.abc import Collection

from masklet.errors import InputError

OPEN, NON_COMMERCIAL, SHARE_ALIKE, NO_DERIVATIVES, UNKNOWN = "open", "nc", "sa", "nd", "unknown"
_OPEN = re.compile(r"^(CC0|CC-BY-\d|CC-BY$|PDM|MIT|APACHE|BSD|UNLICENSE|PUBLIC-DOMAIN|CDLA-PERMISSIVE)")


def family_of(licence: str) -> str:
    """What a licence, such as CC-BY-NC-4.0, asks of those who pass on what is made of it."""
    name = licence.upper().replace(" ", "-").replace("_", "-")
    parts = name.split("-")
    if "ND" in parts:
        return NO_DERIVATIVES
    if "NC" in parts:
        return NON_COMMERCIAL
    if "SA" in parts or name.startswith(("GPL", "ODBL", "LGPL", "CDLA-SHARING")):
        return SHARE_ALIKE
    return OPEN if _OPEN.match(name) else UNKNOWN


def check_mix(licences: Collection[str]) -> str:
    """The strictest family of licences that may stand together.

    Raises: InputError naming those that may not: an unknown one, one without derivatives, two that each ask for
    themselves (share-alike), or share-alike beside non-commercial.
    """
    families = {each: family_of(each) for each in sorted(licences)}
    found = set(families.values())
    alike = [each for each, family in families.items() if family == SHARE_ALIKE]
    alone = [each for each, family in families.items() if family in (UNKNOWN, NO_DERIVATIVES)]
    refused = alone if len(families) > 1 else []
    if len(alike) > 1 or (alike and NON_COMMERCIAL in found):
        refused = [*refused, *alike]
    if refused:
        raise InputError(
            f"photos under {', '.join(families)} do not mix: {', '.join(dict.fromkeys(refused))} cannot stand beside "
            "the others; take some alone, such as `masklet engine snapshot PROJECT --licence CC-BY-4.0`"
        )
    order = (UNKNOWN, NO_DERIVATIVES, NON_COMMERCIAL, SHARE_ALIKE, OPEN)
    return next((each for each in order if each in found), OPEN)
