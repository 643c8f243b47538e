from __future__ import annotations

import json
from pathlib import Path

import pynmea2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.weather.mwv import Wind, decode
from drivers.wire.nmea import LIMIT_BYTES, Reject, Sentence, SentenceReader, parse


def wind(line: bytes) -> Wind:
    sentence = parse(line)
    assert isinstance(sentence, Sentence), sentence
    return decode(sentence)


@pytest.mark.parametrize(
    ("line", "speed_m_s", "status"),
    [
        (b"$WIMWV,39,R,1.3,M,A*06", 1.3, "ok"),
        (b"$WIMWV,61,R,1.0,M,A*08", 1.0, "ok"),
        (b"$WIMWV,59,R,1.2,M,A*01", 1.2, "ok"),
        (b"$WIMWV,,R,,M,V*37", None, "void"),
        (b"$WIMWV,297.6,R,5.6,N,A*2A", 5.6 * 1852 / 3600, "ok"),
    ],
)
def test_makers_own_lines_give_their_speed(line: bytes, speed_m_s: float | None, status: str) -> None:
    result = wind(line)
    assert result.speed_m_s == (None if speed_m_s is None else pytest.approx(speed_m_s))
    assert result.status == status


def test_a_two_digit_status_of_zero_is_good_and_any_other_is_named() -> None:
    assert decode(Sentence("II", "MWV", ("120", "R", "002.10", "M", "00"))).speed_m_s == pytest.approx(2.1)
    assert decode(Sentence("II", "MWV", ("120", "R", "002.10", "M", "04"))).status == "status 04"


@pytest.mark.parametrize("speed", ["nan", "inf", "-1", "101", "1,5", "9" * 100])
def test_a_speed_that_is_no_wind_is_refused_by_name(speed: str) -> None:
    with pytest.raises(ValueError, match="MWV speed"):
        decode(Sentence("WI", "MWV", ("120", "R", speed, "M", "A")))


def test_another_parser_agrees_on_every_wind_sentence_of_two_boats(recordings: Path) -> None:
    checked = 0
    for path in sorted((recordings / "wind_nmea").glob("*.log")):
        for line in path.read_bytes().splitlines():
            if line[3:6] != b"MWV":
                continue
            ours, theirs = wind(line), pynmea2.parse(line.decode("ascii"))
            factor = {"N": 1852 / 3600, "K": 1 / 3.6, "M": 1.0}[theirs.wind_speed_units]
            if theirs.status == "A" and theirs.wind_speed is not None:
                assert ours.speed_m_s == pytest.approx(float(theirs.wind_speed) * factor)
                checked += 1
            else:
                assert ours.speed_m_s is None
    assert checked > 1_000


def test_sentences_in_halves_and_run_together_give_exactly_the_five_good_speeds(cases: Path) -> None:
    reader, speeds, causes = SentenceReader(), [], []
    folder = next(cases.glob("14-*"))
    for _pause_ms, text in json.loads((folder / "chunks.json").read_text()):
        chunk = bytes.fromhex(text[4:]) if text.startswith("hex:") else text.encode("latin-1")
        for item in reader.feed(chunk):
            if isinstance(item, Reject):
                causes.append(item.cause)
            elif (result := decode(item)).speed_m_s is None:
                causes.append(result.status)
            else:
                speeds.append(result.speed_m_s)
    assert speeds == [3.1, 3.2, 3.3, 3.4, 3.5]
    assert {"wrong checksum", "no checksum", "cut off by the next sentence", "no start of a sentence"} <= {*causes}
    assert f"no end within {LIMIT_BYTES} bytes" in causes


@given(st.lists(st.binary(max_size=300)))
def test_any_bytes_give_sentences_or_rejects_and_hold_no_memory(chunks: list[bytes]) -> None:
    reader = SentenceReader()
    for chunk in chunks:
        for item in reader.feed(chunk):
            assert isinstance(item, Sentence | Reject)
            if isinstance(item, Reject):
                assert len(item.raw) <= LIMIT_BYTES + 1


@given(st.lists(st.integers(1, 80), max_size=40))
def test_where_the_stream_is_cut_makes_no_difference(cuts: list[int]) -> None:
    stream = b"$WIMWV,39,R,1.3,M,A*06\r\n$WIMWV,61,R,1.0,M,A*08\r\n"
    reader, out, at = SentenceReader(), [], 0
    for cut in [*cuts, len(stream)]:
        out += reader.feed(stream[at : at + cut])
        at += cut
    assert [decode(item).speed_m_s for item in out if isinstance(item, Sentence)] == [1.3, 1.0]
