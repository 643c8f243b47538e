"""Control messages and the device's XML: bounded, and each refusal with what to do."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.driver import DriverFault
from drivers.wire import genicam, gvcp


def xml(body: str) -> bytes:
    return (
        f'<RegisterDescription xmlns="http://www.genicam.org/GenApi/Version_1_1">{body}</RegisterDescription>'.encode()
    )


def register(name: str, inside: str) -> str:
    return f'<IntReg Name="{name}">{inside}</IntReg>'


PLAIN = xml(
    '<Category Name="Root"><pFeature>Width</pFeature></Category>'
    '<Integer Name="Width"><pValue>WidthReg</pValue></Integer>'
    + register("WidthReg", "<Address>0x100</Address><Address>4</Address><Length>4</Length>")
    + '<Command Name="AcquisitionStop"><pValue>Reg</pValue><CommandValue>0</CommandValue></Command>'
    + register("Reg", "<Address>292</Address><Length>4</Length><Endianess>LittleEndian</Endianess>")
    + '<Enumeration Name="Mode"><EnumEntry Name="Width"><Value>7</Value></EnumEntry><pValue>Reg</pValue></Enumeration>'
)


def zipped(text: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("device.xml", text)
    return packed.getvalue()


@pytest.mark.parametrize("stored", [PLAIN, PLAIN + bytes(3), zipped(PLAIN), zipped(PLAIN) + bytes(3)])
def test_a_feature_leads_to_its_register_plain_or_zipped(stored: bytes) -> None:
    description = genicam.Description(stored)
    assert description.node("Width") == genicam.Node("Width", 0x104, 1, {})
    assert description.node("AcquisitionStop") == genicam.Node("AcquisitionStop", 292, 0, {}, little_endian=True)
    assert description.node("Mode").entries == {"Width": 7}


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ("", "no feature Width"),
        ('<Integer Name="Width"><Value>5</Value></Integer>', "ends at no register"),
        ('<Integer Name="Width"><pValue>Width</pValue></Integer>', "ends at no register"),
        (register("Width", "<pAddress>Base</pAddress><Length>4</Length>"), "is computed"),
        (register("Width", "<Address>4</Address><pIndex>Which</pIndex>"), "is computed"),
        (register("Width", "<Address>4</Address><Length>8</Length>"), "no plain 4-byte register"),
        (register("Width", "<Address>here</Address>"), "'here' for a number"),
        (register("Width", f"<Address>0x{'f' * 30}</Address>"), "outside the device's 32 bits"),
        (register("Width", "<Address>-4</Address>"), "outside the device's 32 bits"),
    ],
)
def test_an_address_that_is_not_plain_is_refused_by_the_features_name(body: str, cause: str) -> None:
    with pytest.raises(DriverFault, match=cause):
        genicam.Description(xml(body)).node("Width")


def test_xml_that_unpacks_without_end_or_declares_entities_is_refused() -> None:
    with pytest.raises(DriverFault, match="unpacks to over"):
        genicam.Description(zipped(b" " * (genicam.LONGEST_XML + 1)))
    with pytest.raises(DriverFault, match="declares entities"):
        genicam.Description(b'<!DOCTYPE a [<!ENTITY b "bbbb">]><a>&b;</a>')
    with pytest.raises(DriverFault, match="zip"):
        genicam.Description(zipped(PLAIN)[:60])


@given(st.binary(max_size=200), st.integers(0, 300))
def test_any_damage_to_a_zipped_xml_is_a_description_or_a_fault(noise: bytes, at: int) -> None:
    stored = bytearray(zipped(PLAIN))
    stored[at : at + len(noise)] = noise
    try:
        genicam.Description(bytes(stored)).node("Width")
    except DriverFault as fault:
        assert "device XML" in str(fault)


def test_the_url_of_the_xml_is_read_as_real_devices_write_it() -> None:
    assert gvcp.decode_url(b"Local:fake.xml;10000;b34d\0junk") == (0x10000, 0xB34D)
    assert gvcp.decode_url(b"local:Cam.zip;8001000;2A?SchemaVersion=1.1.0\0") == (0x8001000, 0x2A)


@pytest.mark.parametrize(
    "url", [b"http://maker/cam.xml", b"File:cam.xml", b"Local:x;10002;10", b"Local:x;0", b"", b"Local:x;0;FFFFFFFF"]
)
def test_an_xml_elsewhere_or_without_bounds_is_refused(url: bytes) -> None:
    with pytest.raises(DriverFault, match="device XML"):
        gvcp.decode_url(url)


@given(st.binary(max_size=600))
def test_any_bytes_are_an_ack_or_a_fault(datagram: bytes) -> None:
    try:
        ack = gvcp.decode_ack(datagram)
    except DriverFault as fault:
        assert "GVCP reply" in str(fault)
    else:
        assert len(ack.payload) == len(datagram) - 8


def test_a_discovery_reply_says_who_is_there() -> None:
    payload = bytearray(248)
    payload[72:75], payload[104:109], payload[216:219] = b"Rig", b"Image", b"X-1"
    found = gvcp.decode_discovery(bytes(payload))
    assert (found.vendor, found.model, found.version, found.serial) == ("Rig", "Image", "", "X-1")
    with pytest.raises(DriverFault, match="247 bytes, expected 248"):
        gvcp.decode_discovery(bytes(payload[:247]))


def test_a_command_has_the_header_of_the_standard() -> None:
    assert gvcp.encode_command(gvcp.READ_REGISTER, struct.pack(">I", 0xA00), 7) == bytes.fromhex(
        "4201008000040007 00000a00"
    )
