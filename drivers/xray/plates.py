"""Whether two plate texts mean one vehicle: a key for joining beside the text, which stays as it was read.

Alphabets that share shapes are folded (a Cyrillic or Greek plate read by a Latin reader); look-alikes within one
alphabet (O and 0) are not: such a pair is offered to a person, never joined.
"""

from __future__ import annotations

import unicodedata
from enum import StrEnum

TWINS = str.maketrans(
    "АВЕКМНОРСТУХІЈЅ" "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "ABEKMHOPCTYXIJS" "ABEZHIKMNOPTYX",
)  # fmt: skip
LOOK_ALIKES = str.maketrans("OIB", "018")  # what plate readers confuse
NO_PLATE = frozenset(("UNKNOWN", "NONE", "NOPLATE", "NOREAD", "UNREAD", "NA"))  # "unknown" is a DICOS toolkit's default
MAX_TEXT = 64  # assumed: DICOM LO, and longer than any plate


class Same(StrEnum):
    """Whether two plates are one; ``MAYBE`` never joins by itself."""

    YES = "yes"
    NO = "no"
    MAYBE = "maybe"


def join_key(text: str | None) -> str | None:
    """Upper-case letters and digits, twins folded; None where nothing stands for a vehicle."""
    key = "".join(_groups(text or ""))
    return None if not key or key in NO_PLATE else key


def same(first: str | None, second: str | None) -> Same:
    """Whether two texts, as read, are one plate.

    Equal keys are MAYBE where both are written in groups that contradict each other: B NO 1234 and BN O 1234 are two
    cars. Different keys are MAYBE where look-alikes or accents alone tell them apart.
    """
    key, other = join_key(first), join_key(second)
    if key is None or other is None:
        return Same.NO
    if key != other:
        return Same.MAYBE if _blurred(key) == _blurred(other) else Same.NO
    boundaries, others = _boundaries(first or ""), _boundaries(second or "")
    return Same.YES if boundaries <= others or others <= boundaries else Same.MAYBE


def _groups(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", text[:MAX_TEXT]).upper().translate(TWINS)
    plain = "".join(str(unicodedata.digit(sign, sign)) for sign in plain)  # digits of any script
    return "".join(sign if sign.isalnum() else " " for sign in plain).split()


def _boundaries(text: str) -> frozenset[int]:
    """Where one group ends and the next begins, counted in letters and digits."""
    ends, at = [], 0
    for group in _groups(text):
        at += len(group)
        ends.append(at)
    return frozenset(ends)


def _blurred(key: str) -> str:
    bare = "".join(sign for sign in unicodedata.normalize("NFD", key) if not unicodedata.combining(sign))
    return bare.translate(LOOK_ALIKES)
