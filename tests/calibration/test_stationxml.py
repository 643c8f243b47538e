"""StationXML in and out: a response, or a line that names channel and field."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import obspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obspy.io.stationxml.core import validate_stationxml

from calibration.response import Response
from calibration.stationxml import StationXmlFault, read_stationxml, write_stationxml

GEOPHONE = Response(11_520_000.0, 20.0, (0j, 0j), (complex(-19.8, 20.2), complex(-19.8, -20.2)))
WRITTEN = "2026-03-01T10:15:02Z"


def _file(response: Response = GEOPHONE) -> bytes:
    return write_stationxml({("B1", "EHZ"): response}, WRITTEN)


def test_a_good_file_gives_the_sensitivity_and_the_poles(cases: Path) -> None:
    found = read_stationxml((cases / "23-stationxml-zero-sensitivity" / "good.xml").read_bytes())
    assert found == {("B1", "DPZ"): GEOPHONE}


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("zero-total", "InstrumentSensitivity/Value is 0"),
        ("zero-stage", "Stage 1/StageGain/Value is 0"),
        ("gain-at-0hz", "InstrumentSensitivity/Frequency is 0 Hz"),
        ("no-response", "Response is missing"),
    ],
)
def test_each_wrong_file_names_the_channel_and_the_field(cases: Path, name: str, field: str) -> None:
    found = read_stationxml((cases / "23-stationxml-zero-sensitivity" / f"{name}.xml").read_bytes())
    fault = found["B1", "DPZ"]
    assert isinstance(fault, str) and "channel B1.DPZ" in fault and field in fault


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        (b"<Value>11520000.0</Value>", b"<Value>NaN</Value>", "InstrumentSensitivity/Value"),
        (b"<Value>11520000.0</Value>", b"<Value>1e-300</Value>", "InstrumentSensitivity/Value"),
        (b"<Value>11520000.0</Value>", b"<Value>11520000,0</Value>", "InstrumentSensitivity/Value"),
        (b"<Frequency>20.0</Frequency>", b"<Frequency>-1</Frequency>", "InstrumentSensitivity/Frequency"),
        (b"<Frequency>20.0</Frequency>", b"", "InstrumentSensitivity/Frequency"),
        (b"<Name>m/s</Name>", b"<Name>M/S**2</Name>", "InputUnits"),
        (b"<Real>-19.8</Real>", b"<Real>19.8</Real>", "PolesZeros/Pole"),
        (b"LAPLACE (RADIANS/SECOND)", b"LAPLACE", "PzTransferFunctionType"),
    ],
)
def test_a_field_that_cannot_be_divided_by_is_named(old: bytes, new: bytes, field: str) -> None:
    fault = read_stationxml(_file().replace(old, new, 1))["B1", "EHZ"]
    assert isinstance(fault, str) and field in fault


def test_a_stage_gain_at_0_hz_under_zeros_at_the_origin_is_a_fault() -> None:
    head, tail = _file().split(b"<StageGain>")
    at_zero = head + b"<StageGain>" + tail.replace(b"<Frequency>20.0</Frequency>", b"<Frequency>0</Frequency>")
    fault = read_stationxml(at_zero)["B1", "EHZ"]
    assert isinstance(fault, str) and "StageGain/Frequency is 0 Hz" in fault


def test_poles_in_hertz_are_the_same_response() -> None:
    in_hertz = Response(100.0, 20.0, (0j, 0j), (complex(-3, 3), complex(-3, -3)))
    text = _file(in_hertz).replace(b"LAPLACE (RADIANS/SECOND)", b"LAPLACE (HERTZ)")
    found = read_stationxml(text)["B1", "EHZ"]
    assert isinstance(found, Response) and found.poles[0] == 2 * np.pi * complex(-3, 3)


def test_the_epoch_that_covers_the_samples_is_taken() -> None:
    early = _file(Response(100.0, 20.0)).replace(b'"B1">', b'"B1" endDate="2025-12-31T00:00:00Z">')
    late = _file(Response(200.0, 20.0)).replace(b'"B1">', b'"B1" startDate="2026-01-01T00:00:00">')
    channel = late[late.index(b"<Channel") : late.index(b"</Station>")]
    both = early.replace(b"</Station>", channel + b"</Station>")
    assert read_stationxml(both, 1_700_000_000_000_000_000)["B1", "EHZ"] == Response(100.0, 20.0)
    assert read_stationxml(both, 1_780_000_000_000_000_000)["B1", "EHZ"] == Response(200.0, 20.0)
    assert read_stationxml(both)["B1", "EHZ"] == Response(200.0, 20.0)
    fault = read_stationxml(both, 1_767_200_000_000_000_000)["B1", "EHZ"]
    assert isinstance(fault, str) and "no epoch" in fault


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"not xml",
        b'<!DOCTYPE x [<!ENTITY a "b">]><x/>',
        b"<FDSNStationXML schemaVersion='1.1'/>",
        _file().replace(b'"1.2"', b'"2.0"'),
        b"<a>" * 100,
        b'<?xml version="1.0" encoding="no-such"?><a/>',
    ],
)
def test_what_is_not_stationxml_is_refused_in_one_line(text: bytes) -> None:
    with pytest.raises(StationXmlFault) as caught:
        read_stationxml(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("response", [GEOPHONE, Response(4e8, 5.0)])
def test_what_is_written_is_valid_and_obspy_reads_the_same(response: Response) -> None:
    text = _file(response)
    valid, errors = validate_stationxml(io.BytesIO(text))
    assert valid, errors
    channel = obspy.read_inventory(io.BytesIO(text), format="STATIONXML")[0][0][0]
    assert channel.location_code == "B1"
    assert channel.response.instrument_sensitivity.value == response.sensitivity_counts_per_m_s
    if response.poles:
        theirs = channel.response.get_evalresp_response_for_frequencies([5.0, 20.0, 40.0], output="VEL")
        np.testing.assert_allclose(response.at(np.array([5.0, 20.0, 40.0])), theirs, rtol=1e-6)


@settings(max_examples=50)
@given(
    st.floats(1e-3, 1e18),
    st.floats(0.01, 1000),
    st.lists(st.complex_numbers(max_magnitude=1e4, allow_nan=False), max_size=4),
    st.lists(st.builds(complex, st.floats(-1e4, -0.01), st.floats(-1e4, 1e4)), min_size=1, max_size=4),
)
def test_a_response_comes_back_or_its_fault_is_said(
    gain: float, frequency_hz: float, zeros: list[complex], poles: list[complex]
) -> None:
    response = Response(gain, frequency_hz, tuple(zeros), tuple(poles))
    if any(2j * np.pi * frequency_hz == zero for zero in zeros):
        return
    found = read_stationxml(_file(response))["B1", "EHZ"]
    assert found == response or (isinstance(found, str) and "PolesZeros" in found)


@settings(max_examples=200)
@given(st.integers(0, 4000), st.binary(min_size=1, max_size=8))
def test_any_damage_gives_a_response_a_fault_or_one_refusal(at: int, junk: bytes) -> None:
    text = _file()
    at %= len(text)
    try:
        read_stationxml(text[:at] + junk + text[at + len(junk) :])
    except StationXmlFault as fault:
        assert "\n" not in str(fault)


def test_every_strange_recording_gives_responses_or_clear_faults(recordings: Path) -> None:
    files = sorted((recordings / "odd" / "stationxml").iterdir())
    responses = 0
    for file in files:
        try:
            found = read_stationxml(file.read_bytes())
        except StationXmlFault as fault:
            assert str(fault) and "\n" not in str(fault), file.name
            continue
        for (location, channel), answer in found.items():
            assert isinstance(answer, Response) or (channel[:16] in answer and location[:16] in answer), file.name
            responses += isinstance(answer, Response)
    assert responses > 20
