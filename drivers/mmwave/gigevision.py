"""Passive millimetre-wave imager on GigE Vision: counts over GVSP, a few features by the device's own GenICam XML.

The driver takes control, agrees geometry and packet size with the device, and reads them back. What is not a whole
frame of that geometry is counted and never shown. Kelvin is ``gain * counts + offset``, 0.01 and 0 for centikelvin.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator

from drivers.driver import DriverFault, Expected, Identity, Surroundings, WrongDevice
from drivers.mmwave.radiometry import Scale, Watch, kelvin
from drivers.reading import Modality, RadiometricFrame, Stamp
from drivers.wire import gvcp
from drivers.wire.genicam import Description, Node
from drivers.wire.gvsp import (
    FORMATS,
    Assembler,
    Dropped,
    Frame,
    Geometry,
    GvspReceiver,
    Missing,
    Tally,
    unpack,
)

MODALITY = Modality.MMWAVE
HIGHEST_COUNTS = {"Mono8": 0xFF, "Mono12Packed": 0xFFF, "Mono16": 0xFFFF}
SHORTEST_PATIENCE_S = 0.1  # assumed: longer than four requests for lost packets take
SAFE_PACKET = 1400  # passes every Ethernet, tunnels included
FEATURES = ("Width", "Height", "PixelFormat", "AcquisitionStart", "AcquisitionStop")
Feature = Literal["Width", "Height", "PixelFormat", "AcquisitionStart", "AcquisitionStop"]


class Config(Scale):
    """The ``[devices.<name>]`` table of an imager on GigE Vision."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    driver: Literal["mmwave.gigevision"]
    address: str = Field(description="IPv4 address of the imager")
    port: int = Field(gvcp.PORT, ge=1, le=65535)
    serial: str | None = Field(None, max_length=16, description="Refuse an imager with another serial number")
    pixel_format: Literal["Mono8", "Mono12Packed", "Mono16"] = "Mono16"
    packet_size: int = Field(
        SAFE_PACKET, ge=128, le=9000, description="Bytes of a stream packet, IP header included: not over the MTU"
    )
    packet_delay_ticks: int | None = Field(None, ge=0, le=0xFFFFFFFF, description="Pause between stream packets")
    period_s: float = Field(0.1, gt=0, le=60, description="Time from frame to frame")
    silence_s: float = Field(3.0, gt=0, le=600, description="Longest time without a whole frame")
    registers: dict[Feature, Annotated[int, Field(ge=0, le=0xFFFFFFFC, multiple_of=4)]] = Field(
        {}, description="Addresses of features that the imager's XML does not give plainly"
    )

    @field_validator("address")
    @classmethod
    def _is_ipv4(cls, address: str) -> str:
        return str(IPv4Address(address))

    @property
    def geometry(self) -> Geometry:
        """What is agreed with the device."""
        return Geometry(self.rows, self.columns, FORMATS[self.pixel_format])


def expected(config: Config) -> tuple[Expected, ...]:
    """One stream of frames."""
    return (Expected("frames", config.period_s, config.silence_s),)


async def probe(name: str, config: Config, around: Surroundings) -> Identity:
    """Ask who is there, without taking control.

    Raises:
        WrongDevice: another serial number than the configured one.
        DriverFault, TimeoutError, OSError: as the wire says.
    """
    async with gvcp.GvcpControl(config.address, config.port) as control:
        found = await control.discover()
    if config.serial is not None and found.serial != config.serial:
        raise WrongDevice(f"{name}: {config.address} has serial {found.serial!r}, not {config.serial!r}; check address")
    return Identity(found.vendor, found.model, found.serial, found.version)


async def _features(config: Config, control: gvcp.GvcpControl) -> dict[str, Node]:
    """Registers of the features used, from the configuration or else from the device's XML."""
    one_register = config.registers.get("AcquisitionStart") == config.registers.get("AcquisitionStop")
    nodes: dict[str, Node] = {}
    for feature, address in config.registers.items():
        start = 0 if feature == "AcquisitionStop" and one_register else 1  # one register starts by 1 and stops by 0
        nodes[feature] = Node(feature, address, start, {})
    missing = [feature for feature in FEATURES if feature not in nodes]
    if missing:
        description = Description(await control.stored_xml())
        nodes |= {feature: description.node(feature) for feature in missing}
        with contextlib.suppress(DriverFault):  # not every imager has modes
            nodes["AcquisitionMode"] = description.node("AcquisitionMode")
    return nodes


async def _read(control: gvcp.GvcpControl, node: Node) -> int:
    value = await control.read_register(node.address)
    return int.from_bytes(value.to_bytes(4, "big"), "little") if node.little_endian else value


async def _write(control: gvcp.GvcpControl, node: Node, value: int) -> None:
    if node.little_endian:
        value = int.from_bytes(value.to_bytes(4, "big"), "little")
    await control.write_register(node.address, value)


async def _agree(name: str, config: Config, control: gvcp.GvcpControl, nodes: dict[str, Node]) -> None:
    """Write what differs from the configuration, and read it back. Raises DriverFault, OSError."""
    wanted = {"PixelFormat": FORMATS[config.pixel_format], "Width": config.columns, "Height": config.rows}
    for feature, value in wanted.items():
        if await _read(control, nodes[feature]) != value:
            with contextlib.suppress(DriverFault):  # what is fixed in the device says so in the reading back
                await _write(control, nodes[feature], value)
    for feature, value in wanted.items():
        if (has := await _read(control, nodes[feature])) != value:
            setting = {"PixelFormat": "pixel_format", "Width": "columns", "Height": "rows"}[feature]
            shown = f"{has:#x} and takes no {value:#x}" if feature == "PixelFormat" else f"{has} and takes no {value}"
            raise DriverFault(f"{name}: the imager's {feature} is {shown}; correct {setting} in the config")
    mode = nodes.get("AcquisitionMode")
    if mode is not None and "Continuous" in mode.entries:
        with contextlib.suppress(DriverFault):
            await _write(control, mode, mode.entries["Continuous"])


async def _packet_size(config: Config, control: gvcp.GvcpControl) -> int:
    """Set the size of stream packets; what the device made of it."""
    flags = await control.read_register(gvcp.STREAM_PACKET_SIZE) & 0x7FFF0000  # top bit: fire a test packet
    await control.write_register(gvcp.STREAM_PACKET_SIZE, flags | config.packet_size)
    if config.packet_delay_ticks is not None:
        await control.write_register(gvcp.STREAM_DELAY, config.packet_delay_ticks)
    return await control.read_register(gvcp.STREAM_PACKET_SIZE) & 0xFFFF


@contextlib.asynccontextmanager
async def _stream(
    name: str, config: Config, around: Surroundings, control: gvcp.GvcpControl
) -> AsyncIterator[tuple[GvspReceiver, Assembler]]:
    """The device streaming to us, and stopped at the end. Raises DriverFault, TimeoutError, OSError on entering."""
    lost: list[GvspReceiver] = []
    failed: list[Exception] = []

    def on_lost(error: Exception) -> None:
        failed.append(error)
        for receiver in lost:
            receiver.fail(error)

    async with control.held(on_lost):
        nodes = await _features(config, control)
        await _agree(name, config, control, nodes)
        packet_size = await _packet_size(config, control)
        can_resend = bool(await control.read_register(gvcp.CAPABILITY) & gvcp.CAN_RESEND)
        patience_ns = round(max(SHORTEST_PATIENCE_S, config.period_s) * 1e9)
        assembler = Assembler(config.geometry, packet_size, resend=can_resend, patience_ns=patience_ns)

        def ask_again(missing: Missing) -> None:
            control.ask_again(missing.block_id, missing.first, missing.last, extended=missing.extended)

        receiver = GvspReceiver(
            control.host,
            config.address,
            assembler,
            config.geometry.frame_bytes,
            ask_again,
            around.monotonic_ns,
        )
        async with receiver:
            lost.append(receiver)
            for error in failed:
                receiver.fail(error)
            await control.write_register(gvcp.STREAM_DESTINATION, int(IPv4Address(control.host)))
            await control.write_register(gvcp.STREAM_PORT, receiver.port)
            try:
                await _write(control, nodes["AcquisitionStart"], nodes["AcquisitionStart"].start)
                yield receiver, assembler
            finally:
                with contextlib.suppress(DriverFault, OSError):
                    await _write(control, nodes["AcquisitionStop"], nodes["AcquisitionStop"].start)
                    await control.write_register(gvcp.STREAM_PORT, 0)


def why_silent(tally: Tally, config: Config, shortage: str | None) -> DriverFault | TimeoutError:
    """The most likely cause that no frame became whole, from what came instead."""
    within = f"no whole frame in {config.silence_s:g} s"
    if tally.refused:
        return DriverFault(f"{within}: {tally.last_refusal}; correct rows, columns, pixel_format or packet_size")
    if tally.leaders + tally.trailers and not tally.full_packets:
        return TimeoutError(
            f"{within}: {tally.leaders} leaders and {tally.trailers} trailers came and no full pixel packet; "
            f"packet_size = {config.packet_size} is likely over the path's MTU: lower packet_size "
            f"({SAFE_PACKET} passes everywhere) or raise the MTU of every switch and card"
        )
    if tally.incomplete:
        kernel = f"; {shortage}" if shortage else ""
        return TimeoutError(
            f"{within}: {tally.incomplete} frames came with packets missing; check cable and switch, "
            f"set packet_delay_ticks{kernel}"
        )
    odd = "".join(f"; {times} {what}" for what, times in sorted(tally.counts.items()))
    return TimeoutError(f"{within}: no stream packet came; check the firewall and the imager's trigger{odd}")


@dataclass(slots=True)
class _Session:
    """One stream: what was judged of its frames, and what came since the last whole one."""

    name: str
    config: Config
    around: Surroundings
    watch: Watch
    incomplete: int = 0

    def reading(self, frame: Frame) -> RadiometricFrame:
        """A whole frame in kelvin, with what it or the frames before say against it."""
        counts = unpack(frame.pixels, self.config.geometry)
        in_kelvin = kelvin(counts, self.config, HIGHEST_COUNTS[self.config.pixel_format])
        frame_k, status = self.watch.judge(counts, in_kelvin, frame.timestamp)
        now_utc_ns, now_ns = self.around.now_utc_ns(), self.around.monotonic_ns()
        began_utc_ns = now_utc_ns - (now_ns - frame.first_monotonic_ns)
        stamp = Stamp(began_utc_ns, now_utc_ns, now_ns, self.around.clock())
        return RadiometricFrame(self.name, stamp, frame_k, frame.block_id, self.config.side, status)

    def count(self, odd: Counter[str]) -> None:
        """What came and was no part of a frame is counted by its kind; the frames are right all the same."""
        for what in sorted(odd):
            self.around.reject(f"{self.name}: {what}", b"")

    def reject(self, dropped: list[Dropped]) -> None:
        """A frame that was given up is counted and named, with its leader."""
        for frame in dropped:
            self.incomplete += 1
            cause = f"{self.name}: frame {frame.block_id} ({self.incomplete}. lost of this stream) {frame.cause}"
            self.around.reject(cause, frame.leader)


async def readings(name: str, config: Config, around: Surroundings) -> AsyncIterator[RadiometricFrame]:
    """Whole frames in kelvin, with a status each; those that were given up go to ``around.reject``.

    Raises:
        Refused: another host holds the imager.
        DriverFault: the imager will not send what the configuration says.
        TimeoutError: no whole frame for ``silence_s``; the message says what came instead.
        ConnectionError: control is lost; the imager restarted, or went away.
    """
    session, loop = _Session(name, config, around, Watch(config)), asyncio.get_running_loop()
    async with (
        gvcp.GvcpControl(config.address, config.port) as control,
        _stream(name, config, around, control) as (receiver, assembler),
    ):
        if receiver.shortage:
            around.reject(f"{name}: {receiver.shortage}", b"")
        silent_from_s = loop.time()
        while True:
            try:
                async with asyncio.timeout_at(silent_from_s + config.silence_s):
                    frames, dropped = await receiver.news()
            except TimeoutError:
                cause = why_silent(assembler.tally, config, receiver.shortage)
                raise type(cause)(f"{name}: {cause}") from None
            session.reject(dropped)
            for frame in frames:
                reading = session.reading(frame)
                assembler.recycle(frame)
                yield reading
            if frames:
                silent_from_s = loop.time()
                session.count(assembler.tally.counts + control.counts)
                control.counts.clear()
                assembler.tally = Tally()
