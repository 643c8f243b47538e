"""Lossless JPEG judged by DCMTK and by a DICOS toolkit, and fuzzed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.wire import dicom, dicom_image
from drivers.wire.dicom import DicomFault
from hil.devices.dicos_object import Scan, part10


def image(raw: bytes) -> dicom_image.Image:
    return dicom_image.decode(dicom.parse(raw))


def compressed(folder: Path, scan: Scan, *options: str) -> bytes:
    """The scan as DCMTK compresses it."""
    if not (program := shutil.which("dcmcjpeg")):
        pytest.skip("DCMTK is not installed")
    (folder / "plain.dcs").write_bytes(part10(scan))
    command = [program, "+e1", *options, str(folder / "plain.dcs"), str(folder / "coded.dcs")]
    subprocess.run(command, check=True, timeout=60)
    return (folder / "coded.dcs").read_bytes()


@pytest.mark.parametrize("scan", [Scan(), Scan(bits_stored=12), Scan(rows=3, columns=5), Scan(rows=512, columns=1024),
                                  Scan(dead_column=7, saturated_column=8)])  # fmt: skip
def test_what_dcmtk_compresses_is_read_to_the_bit(tmp_path: Path, scan: Scan) -> None:
    found, plain = image(compressed(tmp_path, scan)), image(part10(scan))
    np.testing.assert_array_equal(found.transmission, plain.transmission)
    assert found.missing_rows == 0


def test_a_stream_cut_anywhere_gives_whole_rows_and_counts_the_others(tmp_path: Path) -> None:
    scan = Scan(rows=16, columns=32)
    raw, plain = compressed(tmp_path, scan), image(part10(scan)).transmission
    counts = set()
    for length in range(len(raw) - 900, len(raw), 7):
        try:
            found = image(raw[:length])
        except DicomFault:
            continue
        there = len(plain) - found.missing_rows
        np.testing.assert_array_equal(found.transmission[:there], plain[:there])
        assert np.isnan(found.transmission[there:]).all()
        counts.add(there)
    assert len(counts) > 8


def test_other_processes_and_lies_about_the_frame_are_refused(tmp_path: Path) -> None:
    raw = compressed(tmp_path, Scan())
    for old, new, word in (
        (b"\xff\xc3", b"\xff\xc0", "not process 14"),
        (b"\xff\xc3\x00\x0b\x10\x00\x40", b"\xff\xc3\x00\x0b\x10\x00\x41", "Rows x Columns"),
        (b"\xff\xd8\xff", b"\xff\xd7\xff", "no SOI"),
    ):
        assert old in raw
        with pytest.raises(DicomFault, match=word):
            image(raw.replace(old, new))


def test_damage_anywhere_in_the_stream_is_a_picture_or_a_fault(tmp_path: Path) -> None:
    raw = compressed(tmp_path, Scan(rows=8, columns=16))
    begin = raw.index(b"\xff\xd8\xff")

    @settings(max_examples=300, deadline=None)
    @given(st.integers(begin, len(raw) - 1), st.binary(min_size=1, max_size=6))
    def damage(at: int, bad: bytes) -> None:
        try:
            found = image(raw[:at] + bad + raw[at + len(bad) :])
        except DicomFault as fault:
            assert "\n" not in str(fault)
            return
        assert found.transmission.shape == (8, 16)

    damage()


def test_a_dicos_toolkits_own_file_is_read_to_the_bit(tmp_path: Path) -> None:
    pydicos = pytest.importorskip("pydicos")
    toolkit = pytest.importorskip("pyDICOS")
    stored = (np.arange(64 * 128) * 7 % 60_000).astype(np.uint16).reshape(64, 128)
    writer = pydicos.DXLoader()
    writer.Initialize(
        toolkit.OBJECT_OF_INSPECTION_TYPE.enumTypeCargo, toolkit.DX.PRESENTATION_INTENT_TYPE.enumProcessing
    )
    writer.SetKVP(6000.0)
    writer.SetXRayTubeCurrent(100.0)
    writer.set_data(stored)
    writer.write(str(tmp_path / "toolkit.dcs"))
    header = dicom.parse((tmp_path / "toolkit.dcs").read_bytes())
    assert header.transfer_syntax == dicom.JPEG_LOSSLESS
    assert header.text(0x00100020) == "unknown"
    found = dicom_image.decode(header)
    np.testing.assert_array_equal(np.round(found.transmission * 65_535), stored)
    assert found.notes == ()
