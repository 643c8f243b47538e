"""StationXML 1.0 to 1.2: each channel's response out of it, or the reason why there is none; and a minimal file.

FDSN StationXML, schema http://www.fdsn.org/xml/station/1. Read by expat itself, without document types and entities
(a bundle may come from anybody), with bounds on bytes, depth and elements before any tree is built.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite, pi
from xml.etree.ElementTree import Element, SubElement, TreeBuilder, tostring
from xml.parsers import expat

import numpy as np

from calibration.response import Response

NAMESPACE = "http://www.fdsn.org/xml/station/1"
VERSIONS = ("1", "1.0", "1.1", "1.2")
LARGEST_BYTES = 16 * 1024 * 1024  # assumed: a full response with FIR stages is below 100 kB a channel
DEEPEST = 32  # assumed: the schema nests 11 deep
MOST_ELEMENTS = 500_000  # assumed: bounds the tree to some 100 MB
LEAST_SENSITIVITY, MOST_SENSITIVITY = 1e-3, 1e18  # assumed, counts/(m/s): beyond it squares of m/s over- or underflow
RADIANS, HERTZ, DIGITAL = "LAPLACE (RADIANS/SECOND)", "LAPLACE (HERTZ)", "DIGITAL (Z-TRANSFORM)"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")  # xs:double without INF and NaN

Channel = tuple[str, str]  # (location code, channel code)


class StationXmlFault(ValueError):
    """The whole file is of no use: what was found, what to do."""


class _ChannelFault(ValueError):
    """One channel has no usable response: the field and what it holds."""


def read_stationxml(text: bytes, at_utc_ns: int | None = None) -> dict[Channel, Response | str]:
    """Response of each channel, or one line that names channel and field.

    Args:
        text: the file.
        at_utc_ns: where a channel has several epochs, the one that covers this moment; None takes the last.

    Raises:
        StationXmlFault: not StationXML 1.0 to 1.2, or beyond the bounds of this module.
    """
    root = _tree(text)
    if root.tag != f"{{{NAMESPACE}}}FDSNStationXML":
        raise StationXmlFault(f"root element is {root.tag[:80]!r}, not FDSNStationXML of {NAMESPACE}")
    version = root.get("schemaVersion", "")
    if version.strip() not in VERSIONS:
        raise StationXmlFault(f"schemaVersion is {version[:20]!r}; this reads 1.0, 1.1 and 1.2")
    epochs: dict[Channel, list[Element]] = {}
    for channel in root.iterfind(f"{_q('Network')}/{_q('Station')}/{_q('Channel')}"):
        location = channel.get("locationCode", "").strip().replace("--", "")
        epochs.setdefault((location, channel.get("code", "").strip()), []).append(channel)
    return {name: _of_epochs(name, found, at_utc_ns) for name, found in sorted(epochs.items())}


def _of_epochs(name: Channel, epochs: list[Element], at_utc_ns: int | None) -> Response | str:
    place = f"channel {'.'.join(part[:16] or '--' for part in name)}"
    try:
        chosen = _epochs_at(epochs, at_utc_ns)
        answers = [_response(channel) for channel in chosen]
        if any(answer != answers[0] for answer in answers):
            raise _ChannelFault(f"startDate: {len(answers)} epochs hold at once, with unlike responses")
    except ValueError as fault:
        return f"{place}: {fault}"
    return answers[0]


def _epochs_at(epochs: list[Element], at_utc_ns: int | None) -> list[Element]:
    """Epochs that hold at the moment, at least one."""
    spans = [(_date(epoch, "startDate"), _date(epoch, "endDate"), epoch) for epoch in epochs]
    if at_utc_ns is None:
        last = max(start or 0.0 for start, _, _ in spans)
        return [epoch for start, _, epoch in spans if (start or 0.0) == last]
    at_s = at_utc_ns / 1e9
    holds = [e for start, end, e in spans if (start is None or start <= at_s) and (end is None or at_s <= end)]
    if not holds:
        raise _ChannelFault("startDate, endDate: no epoch covers the time of the samples")
    return holds


def _date(channel: Element, field: str) -> float | None:
    text = channel.get(field)
    if text is None or not text.strip():
        return None
    try:
        date = datetime.fromisoformat(text.strip())
    except ValueError:
        raise _ChannelFault(f"{field} {text[:40]!r} is not a date") from None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()  # StationXML: UTC where no zone is given


def _response(channel: Element) -> Response:
    found = channel.find(_q("Response"))
    if found is None or not len(found):
        raise _ChannelFault("Response is missing: counts cannot become m/s")
    if found.find(_q("InstrumentPolynomial")) is not None:
        raise _ChannelFault("Response/InstrumentPolynomial is not a sensitivity; give InstrumentSensitivity")
    total = found.find(_q("InstrumentSensitivity"))
    if total is None:
        raise _ChannelFault("Response/InstrumentSensitivity is missing: counts cannot become m/s")
    _check_units(total, "Response/InstrumentSensitivity")
    sensitivity = _sensitivity(total)
    frequency_hz = _number(total, "Frequency", "Response/InstrumentSensitivity/Frequency")
    zeros, poles = _stages(found)
    _check_frequency("Response/InstrumentSensitivity/Frequency", frequency_hz, zeros, poles)
    response = Response(sensitivity, frequency_hz, zeros, poles)
    with np.errstate(all="ignore"):
        there = response.at(np.array([frequency_hz, 1.0, 100.0]))
    if not np.all(np.isfinite(there)) or np.any(there == 0):
        raise _ChannelFault(
            "Response/Stage/PolesZeros: zero or infinite where heartbeats are, or where the gain is given"
        )
    return response


def _sensitivity(total: Element) -> float:
    value = _number(total, "Value", "Response/InstrumentSensitivity/Value")
    if value == 0:
        raise _ChannelFault("Response/InstrumentSensitivity/Value is 0: nothing can be divided by it")
    if not LEAST_SENSITIVITY <= abs(value) <= MOST_SENSITIVITY:
        raise _ChannelFault(f"Response/InstrumentSensitivity/Value {value:g} counts/(m/s) is no seismometer's")
    return value


def _check_units(total: Element, place: str) -> None:
    name = (total.findtext(f"{_q('InputUnits')}/{_q('Name')}") or "").strip()
    if name.lower() != "m/s":
        raise _ChannelFault(f"{place}/InputUnits/Name is {name[:20]!r}, not M/S")


def _check_frequency(place: str, frequency_hz: float, zeros: tuple[complex, ...], poles: tuple[complex, ...]) -> None:
    if frequency_hz < 0:
        raise _ChannelFault(f"{place} {frequency_hz:g} Hz is negative")
    if frequency_hz > 0:
        return
    if any(zero == 0 for zero in zeros):
        raise _ChannelFault(f"{place} is 0 Hz, where zeros at the origin make the response 0")
    if not poles:  # an inertial sensor gives nothing at 0 Hz: converters write 0 for "unknown"
        raise _ChannelFault(f"{place} is 0 Hz, and no poles and zeros show a response there")


def _stages(response: Element) -> tuple[tuple[complex, ...], tuple[complex, ...]]:
    """Zeros and poles of all analogue stages in rad/s; each stage's gain is checked on the way."""
    zeros: list[complex] = []
    poles: list[complex] = []
    for index, stage in enumerate(response.iterfind(_q("Stage")), 1):
        place = f"Response/Stage {stage.get('number', str(index))[:8]}"
        stage_zeros, stage_poles = _poles_zeros(stage, place)
        gain = stage.find(_q("StageGain"))
        if gain is not None:
            if _number(gain, "Value", f"{place}/StageGain/Value") == 0:
                raise _ChannelFault(f"{place}/StageGain/Value is 0: the chain passes nothing")
            frequency_hz = _number(gain, "Frequency", f"{place}/StageGain/Frequency")
            if frequency_hz == 0 and any(zero == 0 for zero in stage_zeros):
                raise _ChannelFault(
                    f"{place}/StageGain/Frequency is 0 Hz, where zeros at the origin make the response 0"
                )
        zeros += stage_zeros
        poles += stage_poles
    if zeros and not poles:
        raise _ChannelFault("Response/Stage/PolesZeros: zeros without poles")
    return tuple(zeros), tuple(poles)


def _poles_zeros(stage: Element, place: str) -> tuple[list[complex], list[complex]]:
    found = stage.find(_q("PolesZeros"))
    if found is None:
        return [], []
    kind = (found.findtext(_q("PzTransferFunctionType")) or "").strip().upper()
    if kind == DIGITAL:  # flat in the pass band by design; the overall sensitivity already holds its gain
        return [], []
    if kind not in (RADIANS, HERTZ):
        raise _ChannelFault(f"{place}/PolesZeros/PzTransferFunctionType is {kind[:40]!r}")
    scale = 2 * pi if kind == HERTZ else 1.0
    zeros = [scale * _complex(zero, f"{place}/PolesZeros/Zero") for zero in found.iterfind(_q("Zero"))]
    poles = [scale * _complex(pole, f"{place}/PolesZeros/Pole") for pole in found.iterfind(_q("Pole"))]
    if any(pole.real > 0 or pole == 0 for pole in poles):
        raise _ChannelFault(f"{place}/PolesZeros/Pole: a pole at the origin or right of it is no sensor's")
    return zeros, poles


def _complex(element: Element, place: str) -> complex:
    return complex(_number(element, "Real", f"{place}/Real"), _number(element, "Imaginary", f"{place}/Imaginary"))


def _number(parent: Element, name: str, place: str) -> float:
    text = (parent.findtext(_q(name)) or "").strip()
    if not text:
        raise _ChannelFault(f"{place} is missing")
    if not _NUMBER.fullmatch(text[:64]) or not isfinite(float(text[:64])) or len(text) > 64:
        raise _ChannelFault(f"{place} {text[:40]!r} is not a number")
    return float(text)


def _q(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


def _tree(text: bytes) -> Element:
    """The tree, or StationXmlFault; names as ``{namespace}local``."""
    if len(text) > LARGEST_BYTES:
        raise StationXmlFault(f"{len(text)} bytes; up to {LARGEST_BYTES} are read")
    if not text.strip():
        raise StationXmlFault("the file is empty")
    builder = _Builder()
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.tree.data
    parser.StartDoctypeDeclHandler = builder.doctype
    parser.EntityDeclHandler = builder.doctype
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise StationXmlFault(f"not XML: {error}") from None
    except (LookupError, UnicodeError) as error:  # an encoding that nobody knows
        raise StationXmlFault(f"its encoding cannot be read: {str(error)[:80]}") from None
    return builder.tree.close()


class _Builder:
    """Elements into a tree, counted."""

    def __init__(self) -> None:
        self.tree = TreeBuilder()
        self._depth = 0
        self._elements = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._elements += 1
        if self._depth > DEEPEST or self._elements > MOST_ELEMENTS:
            raise StationXmlFault(f"nested deeper than {DEEPEST}, or more than {MOST_ELEMENTS} elements")
        self.tree.start(_qualified(name), attributes)

    def end(self, name: str) -> None:
        self._depth -= 1
        self.tree.end(_qualified(name))

    def doctype(self, *_: object) -> None:
        raise StationXmlFault("a document type or entity is declared; StationXML needs neither: not read")


def _qualified(name: str) -> str:
    return "{" + name if "}" in name else name


def write_stationxml(
    responses: Mapping[Channel, Response],
    created_utc: str,
    *,
    network: str = "XX",
    station: str = "LANE",
    latitude_deg: float = 0.0,
    longitude_deg: float = 0.0,
) -> bytes:
    """A minimal valid StationXML 1.2 of these channels.

    Network ``XX`` is FDSN's code for data that belongs to no registered network. Coordinates are demanded by the
    schema; 0, 0 stands for a lane that does not tell where it is.

    Args:
        responses: (location, channel) -> response.
        created_utc: RFC 3339, when this was written.
        network: FDSN network code.
        station: FDSN station code.
        latitude_deg: degrees north.
        longitude_deg: degrees east.
    """
    root = Element("FDSNStationXML", {"xmlns": NAMESPACE, "schemaVersion": "1.2"})
    _leaf(root, "Source", "lanepulse")
    _leaf(root, "Created", created_utc)
    place = SubElement(SubElement(root, "Network", {"code": network}), "Station", {"code": station})
    _coordinates(place, latitude_deg, longitude_deg)
    _leaf(SubElement(place, "Site"), "Name", station)
    for (location, code), response in sorted(responses.items()):
        channel = SubElement(place, "Channel", {"code": code, "locationCode": location})
        _coordinates(channel, latitude_deg, longitude_deg)
        _leaf(channel, "Depth", "0.0")
        _write_response(SubElement(channel, "Response"), response)
    body: bytes = tostring(root, encoding="utf-8")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + body + b"\n"


def _coordinates(parent: Element, latitude_deg: float, longitude_deg: float) -> None:
    _leaf(parent, "Latitude", repr(latitude_deg))
    _leaf(parent, "Longitude", repr(longitude_deg))
    _leaf(parent, "Elevation", "0.0")


def _write_response(parent: Element, response: Response) -> None:
    total = SubElement(parent, "InstrumentSensitivity")
    _gain(total, response)
    _units(total)
    if not response.poles:
        return
    stage = SubElement(parent, "Stage", {"number": "1"})
    shape = SubElement(stage, "PolesZeros")
    _units(shape)
    _leaf(shape, "PzTransferFunctionType", RADIANS)
    flat = Response(1.0, response.frequency_hz, response.zeros, response.poles)
    _leaf(shape, "NormalizationFactor", repr(float(1.0 / _magnitude(flat))))
    _leaf(shape, "NormalizationFrequency", repr(float(response.frequency_hz)))
    for kind, roots in (("Zero", response.zeros), ("Pole", response.poles)):
        for number, root in enumerate(roots):
            element = SubElement(shape, kind, {"number": str(number)})
            _leaf(element, "Real", repr(float(root.real)))
            _leaf(element, "Imaginary", repr(float(root.imag)))
    _gain(SubElement(stage, "StageGain"), response)


def _magnitude(response: Response) -> float:
    """|product of (s - zero) / (s - pole)| at the frequency of the sensitivity; the schema calls its inverse A0."""
    s = 2j * pi * response.frequency_hz
    top = np.prod([s - zero for zero in response.zeros]) if response.zeros else 1.0
    return float(abs(top / np.prod([s - pole for pole in response.poles])))


def _gain(parent: Element, response: Response) -> None:
    _leaf(parent, "Value", repr(float(response.sensitivity_counts_per_m_s)))
    _leaf(parent, "Frequency", repr(float(response.frequency_hz)))


def _units(parent: Element) -> None:
    _leaf(SubElement(parent, "InputUnits"), "Name", "m/s")
    _leaf(SubElement(parent, "OutputUnits"), "Name", "count")


def _leaf(parent: Element, name: str, text: str) -> None:
    SubElement(parent, name).text = text
