"""Radiographs are read strictly; pydicom, which shares no code with the reader, is the judge."""

from __future__ import annotations

import re
import struct
import tracemalloc
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.wire import dicom, dicom_image
from drivers.wire.dicom import DicomFault
from hil.devices.dicos_object import Scan, element, part10, picture, words

FIELD = r"\([0-9A-F]{4},[0-9A-F]{4}\)|DICM"


def image(raw: bytes) -> dicom_image.Image:
    return dicom_image.decode(dicom.parse(raw))


def patched(raw: bytes, old: bytes, new: bytes) -> bytes:
    assert raw.count(old) == 1
    return raw.replace(old, new)


def test_a_good_object_is_the_share_of_full_scale_that_was_measured() -> None:
    found = image(part10(Scan()))
    assert found.transmission.dtype == np.float32
    np.testing.assert_allclose(found.transmission, picture(Scan()), atol=1e-5)
    assert (found.missing_rows, found.notes, found.uniform) == (0, (), False)


def test_every_stored_picture_is_an_image_or_an_error_that_names_the_field(recordings: Path) -> None:
    files = sorted([*(recordings / "xray").glob("*.dcm"), *(recordings / "odd" / "dicom").iterdir()])
    images = 0
    for file in files:
        try:
            assert image(file.read_bytes()).transmission.size > 0
            images += 1
        except DicomFault as fault:
            assert re.search(FIELD, str(fault)), f"{file.name}: {fault}"
            assert "\n" not in str(fault)
    assert images >= 7
    assert len(files) > 50


def test_no_stored_picture_takes_more_memory_than_twice_the_image(recordings: Path) -> None:
    """Beside the file itself; a table from stored words to transmission is the rest of it."""
    table_bytes, measured = 3 << 20, 0
    for file in sorted([*(recordings / "xray").glob("*.dcm"), *(recordings / "odd" / "dicom").iterdir()]):
        raw, size = file.read_bytes(), 0
        tracemalloc.start()
        with suppress(DicomFault):
            size = image(raw).transmission.nbytes
            measured += 1
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak <= 2 * size + table_bytes, file.name
    assert measured >= 7


@pytest.mark.parametrize("name", ["xray/RG1_UNCR.dcm", "xray/RG3_UNCR.dcm", "odd/dicom/MR_small_RLE.dcm",
                                  "odd/dicom/CT_small.dcm", "odd/dicom/rtdose_rle_1frame.dcm"])  # fmt: skip
def test_stored_values_are_those_that_pydicom_reads(recordings: Path, name: str) -> None:
    judge = pydicom.dcmread(recordings / name)
    stored = judge.pixel_array.astype(np.float64) * float(judge.get("RescaleSlope", 1))
    stored += float(judge.get("RescaleIntercept", 0))
    high = 2.0 ** (judge.BitsStored - judge.PixelRepresentation) - 1
    full = high * float(judge.get("RescaleSlope", 1)) + float(judge.get("RescaleIntercept", 0))
    expected = np.clip((full - stored if judge.PhotometricInterpretation == "MONOCHROME1" else stored) / full, 0, 1)
    np.testing.assert_allclose(image((recordings / name).read_bytes()).transmission, expected, atol=1e-6)


def test_bare_data_sets_are_refused_with_what_to_set_on_the_scanner(cases: Path) -> None:
    for name in ("bare-implicit", "bare-explicit"):
        with pytest.raises(DicomFault, match=r"no DICOM header.*set the scanner"):
            image((cases / "29-dicom-no-meta" / f"{name}.dcm").read_bytes())
    with pytest.raises(DicomFault, match=r"TransferSyntaxUID.*set the scanner"):
        image((cases / "29-dicom-no-meta" / "no-transfer-syntax.dcm").read_bytes())
    with pytest.raises(DicomFault, match="not DICOM"):
        image((cases / "29-dicom-no-meta" / "not-dicom.dcm").read_bytes())
    assert image((cases / "29-dicom-no-meta" / "good.dcm").read_bytes()).missing_rows == 0


def test_missing_rows_are_counted_and_are_never_zero_transmission(cases: Path) -> None:
    half = image((cases / "32-dicom-cut-short" / "half.dcm").read_bytes())
    assert half.missing_rows == 32
    assert np.isnan(half.transmission[32:]).all()
    assert half.transmission[:32].min() > 0.2
    for name in ("no-pixels", "rle-cut"):
        with pytest.raises(DicomFault, match="64 of 64 rows are missing from PixelData"):
            image((cases / "32-dicom-cut-short" / f"{name}.dcm").read_bytes())


def test_a_file_cut_at_any_byte_gives_true_rows_or_a_fault() -> None:
    raw, whole = part10(Scan(rows=8, columns=8)), image(part10(Scan(rows=8, columns=8))).transmission
    for length in range(len(raw)):
        try:
            found = image(raw[:length])
        except DicomFault:
            continue
        there = ~np.isnan(found.transmission)
        assert found.missing_rows == 8 - there.all(axis=1).sum()
        np.testing.assert_array_equal(found.transmission[there], whole[there])


def rle(plane: bytes) -> bytes:
    """Literal runs of PackBits."""
    return b"".join(bytes((len(run) - 1,)) + run for run in (plane[i : i + 128] for i in range(0, len(plane), 128)))


def rle_file(scan: Scan, keep: int | None = None) -> bytes:
    stored = words(scan)
    segments = [rle((stored >> 8).astype(np.uint8).tobytes()), rle((stored & 255).astype(np.uint8).tobytes())]
    coded = struct.pack("<16I", 2, 64, 64 + len(segments[0]), *[0] * 13) + b"".join(segments)
    coded = coded[:keep]
    items = struct.pack("<HHI", 0xFFFE, 0xE000, 0) + struct.pack("<HHI", 0xFFFE, 0xE000, len(coded)) + coded
    pixels = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + items
    whole = part10(scan, dicom.RLE)
    native = element(0x7FE00010, "OW", stored.tobytes())
    assert native in whole
    end = b"" if keep else struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return whole.replace(native, pixels + end)


def test_run_lengths_are_unpacked_and_a_stream_without_its_end_is_missing_rows() -> None:
    scan = Scan(rows=16, columns=64)
    np.testing.assert_allclose(image(rle_file(scan)).transmission, picture(scan), atol=1e-5)
    cut = image(rle_file(scan, keep=64 + 1032 + 600))
    assert cut.missing_rows == 16 - 595 // 64
    assert np.isnan(cut.transmission[-cut.missing_rows :]).all()


def test_inverted_and_logarithmic_pixels_become_the_same_transmission() -> None:
    plain = image(part10(Scan())).transmission
    for other in (Scan(sign=-1), Scan(sign=-1, photometric="MONOCHROME1")):
        np.testing.assert_allclose(image(part10(other)).transmission, plain, atol=3e-5)
    log = image(part10(Scan(relationship="LOG", sign=-1)))
    np.testing.assert_allclose(log.transmission, plain, rtol=2e-3)


def test_monochrome1_without_a_sign_is_inverted() -> None:
    raw = part10(Scan(sign=-1, photometric="MONOCHROME1")).replace(element(0x00281041, "SS", -1), b"")
    np.testing.assert_allclose(image(raw).transmission, picture(Scan()), atol=3e-5)


def test_a_monochrome1_that_contradicts_its_sign_is_said_by_field_name() -> None:
    assert any("PhotometricInterpretation" in note for note in image(part10(Scan(photometric="MONOCHROME1"))).notes)


def test_log_without_a_scale_is_refused_with_what_to_set() -> None:
    raw = patched(part10(Scan(relationship="LOG", sign=-1)), b"OD", b"US")
    with pytest.raises(DicomFault, match=r"LOG over 65535.*RescaleSlope"):
        image(raw)


def test_left_justified_bits_are_refused_and_dirty_ones_are_masked_and_said() -> None:
    with pytest.raises(DicomFault, match=r"HighBit \(0028,0102\) is 15 with BitsStored 12"):
        image(part10(Scan(bits_stored=12, high_bit=15)))
    dirty = image(part10(Scan(bits_stored=12, dirty_bits=True)))
    np.testing.assert_allclose(dirty.transmission, picture(Scan()), atol=2e-4)
    assert any("BitsStored" in note for note in dirty.notes)


def test_lengths_that_contradict_rows_and_columns_are_refused_or_counted() -> None:
    with pytest.raises(DicomFault, match="one of them lies"):
        image(part10(Scan(rows_lie=-1)))  # pydicom drops the last line with a warning
    assert image(part10(Scan(missing_lines=5))).missing_rows == 5
    assert image(part10(Scan(rows_lie=1))).missing_rows == 1
    lying = part10(Scan()).replace(struct.pack("<I", 16384), struct.pack("<I", 0xFFFFFFF0))
    with pytest.raises(DicomFault, match="one of them lies"):
        image(lying)


def test_padding_pixels_are_not_measured() -> None:
    scan = Scan(dead_column=3)
    raw = part10(scan)
    at = raw.index(element(0x00281040, "CS", "LIN"))
    found = image(raw[:at] + element(0x00280120, "US", 0) + raw[at:])
    assert np.isnan(found.transmission[:, 3]).all()
    assert not np.isnan(found.transmission[:, 4]).any()


def nested(depth: int) -> bytes:
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    return (struct.pack("<HH2sHI", 0x0009, 0x0010, b"SQ", 0, 0xFFFFFFFF) + item) * depth


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (part10(Scan(rows=1, columns=1, rows_lie=65_000)), "Rows"),
        (part10(Scan())[: part10(Scan()).index(element(0x00280002, "US", 1))] + nested(5000), "deeper than 16"),
        (part10(Scan(), "1.2.840.10008.1.2.2"), "Explicit VR Big Endian"),
        (part10(Scan(), "1.2.840.10008.1.2.1.99"), "Deflated"),
        (part10(Scan(photometric="PALETTE COLOR")), "PhotometricInterpretation"),
        (part10(Scan(relationship="DISP")), "PixelIntensityRelationship"),
        (part10(Scan(sign=7)), "PixelIntensityRelationshipSign"),
        (patched(part10(Scan()), element(0x00281053, "DS", "1"), element(0x00281053, "DS", "0")), "RescaleSlope"),
        (patched(part10(Scan()), element(0x00281053, "DS", "1"), element(0x00281053, "DS", "nan")), "RescaleSlope"),
        (patched(part10(Scan()), element(0x00280011, "US", 128), element(0x00280011, "UN", b"abc")), "Columns"),
        (patched(part10(Scan()), element(0x00280002, "US", 1), element(0x00280002, "US", 1) * 2), "twice"),
        (part10(Scan(extra={"00280008:IS": "5"})), "NumberOfFrames"),
        (part10(Scan(extra={"00283000:SQ": ""})), "ModalityLUTSequence"),
        (part10(Scan(extra={"7FE00008:OW": ""})), "Float Pixel Data"),
    ],
)  # fmt: skip
def test_beyond_a_limit_or_a_rule_the_field_is_named(raw: bytes, field: str) -> None:
    with pytest.raises(DicomFault, match=field):
        image(raw)


def test_an_object_above_the_size_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(DicomFault, match="max_object_bytes"):
        dicom.parse(part10(Scan()), max_bytes=1000)


def test_too_many_elements_are_refused() -> None:
    head = part10(Scan())[: part10(Scan()).index(element(0x00280002, "US", 1))]
    many = b"".join(element(0x00210000 + i, "US", 1) for i in range(dicom.MAX_ELEMENTS))
    with pytest.raises(DicomFault, match="more than 10000 elements"):
        dicom.parse(head + many)


@settings(max_examples=200, deadline=None)
@given(st.integers(132, len(part10(Scan(rows=4, columns=4))) - 1), st.binary(min_size=1, max_size=4))
def test_damage_anywhere_gives_an_image_or_a_dicom_fault(at: int, damage: bytes) -> None:
    raw = bytearray(part10(Scan(rows=4, columns=4)))
    raw[at : at + len(damage)] = damage
    try:
        found = image(bytes(raw))
    except DicomFault as fault:
        assert "\n" not in str(fault)
        return
    assert ((found.transmission >= 0) & (found.transmission <= 1) | np.isnan(found.transmission)).all()


@given(st.binary(max_size=600))
def test_any_bytes_after_the_magic_are_a_fault_or_structure(tail: bytes) -> None:
    with pytest.raises(DicomFault):
        image(bytes(128) + b"DICM" + tail)


def test_the_header_that_is_put_before_a_received_data_set_is_read_by_pydicom(tmp_path: Path) -> None:
    bad_uid = "1.2.0740038811.40194"  # a leading zero, as a DICOS toolkit makes them
    head = dicom.part10_header(dicom.EXPLICIT_LE, "1.2.840.10008.5.1.4.1.1.501.2.2", bad_uid, "SCANNER")
    whole = part10(Scan())
    (tmp_path / "a.dcs").write_bytes(head + whole[whole.index(b"\x08\x00\x16\x00UI") :])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of that UID
        read = pydicom.dcmread(tmp_path / "a.dcs")
        assert read.file_meta.MediaStorageSOPInstanceUID == bad_uid
    assert read.pixel_array.shape == (64, 128)
