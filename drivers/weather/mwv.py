"""The NMEA 0183 sentence MWV: wind speed and angle, of any talker, in all units and both status styles.

``$WIMWV,39,R,1.3,M,A*06``: angle, R relative or T theoretical, speed, unit, status. A is valid and V is void; one
maker's anemometers give their own two-digit status in its place, where 00 is good.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from drivers.wire.nmea import Sentence

M_S = {"M": 1.0, "K": 1 / 3.6, "N": 1852 / 3600, "S": 0.44704}  # S is statute miles an hour
SPEED_LIMIT_M_S = 100.0  # above any lane anemometer's range; a number over it is damage, not wind
GOOD_STATUS = ("A", "00")


@dataclass(frozen=True, slots=True)
class Wind:
    """Speed in m/s, or None with the device's word for why there is none; angle in degrees where given."""

    speed_m_s: float | None
    angle_deg: float | None
    relative: bool
    status: str


def decode(sentence: Sentence) -> Wind:
    """Wind of one MWV sentence.

    Raises:
        ValueError: the sentence is no MWV, or a field is neither empty nor of its form; the message names the field.
    """
    if sentence.formatter != "MWV" or len(sentence.fields) != 5:
        raise ValueError(f"not MWV with 5 fields: {sentence.formatter} with {len(sentence.fields)}")
    angle, reference, speed, unit, status = (field.strip() for field in sentence.fields)
    if reference not in ("R", "T"):
        raise ValueError(f"MWV reference {reference!r} is neither R nor T")
    if unit not in M_S:
        raise ValueError(f"MWV unit {unit!r} is none of {', '.join(M_S)}")
    angle_deg = _number(angle, "angle")
    relative = reference == "R"
    if status not in GOOD_STATUS:
        return Wind(None, angle_deg, relative, "void" if status == "V" else f"status {status}")
    number = _number(speed, "speed")
    if number is None:
        return Wind(None, angle_deg, relative, "no speed")
    speed_m_s = number * M_S[unit]
    if not 0 <= speed_m_s <= SPEED_LIMIT_M_S:
        raise ValueError(f"MWV speed {speed} {unit} is outside 0 to {SPEED_LIMIT_M_S:g} m/s")
    return Wind(speed_m_s, angle_deg, relative, "ok")


def _number(text: str, field: str) -> float | None:
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"MWV {field} {text[:20]!r} is not a number") from None
    if not isfinite(number):
        raise ValueError(f"MWV {field} {text[:20]!r} is not finite")
    return number
