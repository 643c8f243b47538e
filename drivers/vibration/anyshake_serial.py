"""AnyShake Explorer digitizers on RS-232/485: frames of version 3, little-endian, framed by their implied length.

``01 FE`` | i64 milliseconds | u32 configuration | u32 variable | channel after channel | XOR of all from offset 2 |
``EF 10``. Nothing is escaped, so header and trailer occur inside counts: the configuration word says how long a frame
is, and header, trailer, XOR and the step of the milliseconds only check it (an 8-bit XOR misses 1 damage in 256).

The milliseconds are UTC where the unit has a GNSS receiver, else since its start. Then arrival tells the time: a frame
is never early, so the line under the arrivals is the clock (lower envelope), not their mean.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from drivers.driver import Expected, Identity, Surroundings, WrongDevice
from drivers.reading import ClockQuality, Modality, Stamp, VibrationBlock
from drivers.vibration.counts import CountWatch
from drivers.wire.serial_port import SerialPort

MODALITY = Modality.VIBRATION
HEADER, TRAILER = b"\x01\xfe", b"\xef\x10"
INTERVALS_MS = (100, 200, 500, 1000)  # configuration word, bits 31-30
RATES_HZ = (10, 20, 50, 100, 200, 250, 500, 1000)  # bits 29-27
HEAD_BYTES, TAIL_BYTES = 18, 3
LONGEST_FRAME = HEAD_BYTES + 8 * 4 * 1000 + TAIL_BYTES
LATENCY_INTERVALS = 2  # the maker's Observer: a frame's last byte comes two intervals after its first sample
STEP_MS = 5000  # a jump as long as this is a restart or a set clock, not lost frames (as the maker's Observer has it)
BIN_NS, BINS = 5 * 10**9, 120  # assumed: ten minutes of envelope, its lowest point each 5 s
SLOPE_AFTER_NS = 60 * 10**9  # assumed: before a minute a slope is mostly jitter
STEEPEST = 200e-6  # assumed: no quartz is worse
USB_LATENCY_NS = 16_000_000  # an FTDI adapter holds bytes so long where its latency timer is left alone
FULL_SCALE = {2: 2**15 - 1, 3: 2**23 - 1, 4: 2**31 - 1}  # by bytes a sample
CLOCK_NS = 10**9  # assumed: GNSS time and a lane's synchronised clock do not differ by a second
ID_WAIT_S = 11.0  # it is told in one second of ten
REST_KEPT = 512  # bytes of what was passed over that go into quarantine


class Channel(BaseModel):
    """One input of the digitizer."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    number: int = Field(ge=1, le=8)
    sensor: str = Field(pattern=r"^(B[1-8]|G[1-4])$")
    component: Literal["Z", "N", "E", "1", "2"] = "Z"


class Config(BaseModel):
    """The ``[devices.<name>]`` table of an AnyShake Explorer."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    driver: Literal["vibration.anyshake_serial"]
    port: str = Field(min_length=1, description="Serial line, by a name that survives replugging")
    baud_rate: Literal[9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600] = 115200
    channels: tuple[Channel, ...] = Field(min_length=1, max_length=8)
    rate_hz: Literal[10, 20, 50, 100, 200, 250, 500, 1000] = 250
    interval_ms: Literal[100, 200, 500, 1000] = 100
    device_id: str = Field("", pattern=r"^([0-9A-F]{8})?$", description="As `lanepulse devices probe` shows it")
    silence_s: float = Field(3.0, gt=0, le=60)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a configuration word says of the frame around it; ``sample_bytes`` is by channel, 0 is off."""

    interval_ms: int
    rate_hz: int
    gnss: bool
    sample_bytes: tuple[int, ...]

    @property
    def samples(self) -> int:
        """Samples of a channel in a frame."""
        return self.interval_ms * self.rate_hz // 1000

    @property
    def frame_bytes(self) -> int:
        """Length of the whole frame."""
        return HEAD_BYTES + self.samples * sum(self.sample_bytes) + TAIL_BYTES


@dataclass(frozen=True, slots=True)
class Frame:
    """One checked frame: ``counts`` is channel number -> (n,) float64; ``device_id`` where this frame tells it.

    ``sends_id`` is whether the unit tells it at all: in one second of ten.
    """

    milliseconds: int
    shape: Shape
    counts: dict[int, NDArray[np.float64]]
    sends_id: bool
    device_id: str | None
    raw: bytes


def shape_of(word: int) -> Shape | None:
    """The shape that a configuration word names, or None where no channel is on."""
    kinds = [word >> bit & 3 for bit in range(24, 9, -2)]  # 1 int16, 2 int24, 3 int32
    sizes = tuple(kind + 1 if kind else 0 for kind in kinds)
    return (
        Shape(INTERVALS_MS[word >> 30], RATES_HZ[word >> 27 & 7], bool(word >> 26 & 1), sizes) if any(sizes) else None
    )


def decode(frame: bytes) -> Frame:
    """One whole frame.

    Raises:
        ValueError: header, length, trailer or checksum is wrong; one of a few causes, so that they can be counted.
    """
    if frame[:2] != HEADER or len(frame) < HEAD_BYTES:
        raise ValueError("no header")
    milliseconds, word, variable = struct.unpack_from("<qII", frame, 2)
    shape = shape_of(word)
    if shape is None or len(frame) != shape.frame_bytes:
        raise ValueError("not the length that the configuration word implies")
    if frame[-2:] != TRAILER:
        raise ValueError("no trailer")
    octets = np.frombuffer(frame, np.uint8)
    if np.bitwise_xor.reduce(octets[2:-3]) != octets[-3]:
        raise ValueError("wrong checksum")
    counts, at = {}, HEAD_BYTES
    for number, size in enumerate(shape.sample_bytes, start=1):
        if size:
            counts[number] = _counts(octets[at : at + size * shape.samples], size)
            at += size * shape.samples
    sends_id = bool(word & 1)
    tells_id = sends_id and milliseconds // 1000 % 10 == 0
    return Frame(milliseconds, shape, counts, sends_id, f"{variable:08X}" if tells_id else None, frame)


def _counts(octets: NDArray[np.uint8], size: int) -> NDArray[np.float64]:
    """Two's complement of 2, 3 or 4 bytes, low byte first, as (n,) float64."""
    wide = np.zeros((len(octets) // size, 4), np.uint8)
    wide[:, 4 - size :] = octets.reshape(-1, size)
    signed: NDArray[np.int32] = wide.view("<i4").ravel() >> 8 * (4 - size)
    return signed.astype(np.float64)


class FrameReader:
    """Sans-IO: bytes in, frames out, and what lay between them. Never holds more than one longest frame and a read."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, chunk: bytes) -> list[Frame | bytes]:
        """Whatever the chunk completes, in order; bytes are what is no frame.

        Where a candidate is not complete, a whole frame after it wins: a header that stood inside counts, or a length
        that was damaged, must not make us wait for 32 kB.
        """
        self._buffer += chunk
        out: list[Frame | bytes] = []
        while found := self._next():
            start, end, frame = found
            if start:
                out.append(self._buffer[:start])
            out.append(frame)
            self._buffer = self._buffer[end:]
        keep = self._first_candidate()
        if keep:
            out.append(self._buffer[:keep])
            self._buffer = self._buffer[keep:]
        return out

    def _candidates(self) -> list[tuple[int, int]]:
        """Start and end of what may be frames; the end may not have come yet."""
        places, at = [], self._buffer.find(HEADER)
        while at >= 0:
            if len(self._buffer) - at < HEAD_BYTES:
                places.append((at, at + HEAD_BYTES))
            elif shape := shape_of(int.from_bytes(self._buffer[at + 10 : at + 14], "little")):
                places.append((at, at + shape.frame_bytes))
            at = self._buffer.find(HEADER, at + 1)
        return places

    def _next(self) -> tuple[int, int, Frame] | None:
        for start, end in self._candidates():
            if end <= len(self._buffer) and self._buffer[end - 2 : end] == TRAILER:
                try:
                    return start, end, decode(self._buffer[start:end])
                except ValueError:
                    continue
        return None

    def _first_candidate(self) -> int:
        """Where the first frame begins that may still become one; a lone 01 at the end may be a header's half."""
        size = len(self._buffer)
        waiting = [start for start, end in self._candidates() if end > size]
        half = size - 1 if self._buffer.endswith(HEADER[:1]) else size
        return max(min([*waiting, half]), size - LONGEST_FRAME)


@dataclass(frozen=True, slots=True)
class Step:
    """What the milliseconds of a frame say beside the one before; a frame that is not ``believed`` is damage."""

    believed: bool
    status: str = "ok"
    restarted: bool = False


class Milliseconds:
    """They advance by the interval, or by some intervals where frames were lost; a jump needs a second frame."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._doubted: int | None = None

    def judge(self, milliseconds: int, interval_ms: int) -> Step:
        """One frame's time. Raises nothing."""
        last, doubted = self._last, self._doubted
        self._doubted = None
        if last is None:
            self._last = milliseconds
            return Step(True, restarted=True)
        ahead = milliseconds - last
        if ahead > 0 and ahead % interval_ms == 0 and ahead < STEP_MS:
            self._last = milliseconds
            lost = ahead // interval_ms - 1
            return Step(True, f"gap of {lost * interval_ms / 1000:.3f} s" if lost else "ok")
        if doubted is not None and milliseconds - doubted == interval_ms:
            self._last = milliseconds
            return Step(True, f"its clock jumped by {ahead / 1000:.1f} s: restarted or set", restarted=True)
        self._doubted = milliseconds
        return Step(False)


class Envelope:
    """The unit's clock by ours: the line under (its milliseconds, our arrival), over the last ten minutes."""

    def __init__(self) -> None:
        self._lowest: deque[tuple[int, int]] = deque(maxlen=BINS)  # (device ns, arrival - device ns), lowest of its bin

    def see(self, device_ns: int, arrival_ns: int) -> None:
        """A frame's time by the unit, and when it came by our monotonic clock."""
        point = (device_ns, arrival_ns - device_ns)
        if self._lowest and self._lowest[-1][0] // BIN_NS == device_ns // BIN_NS:
            self._lowest[-1] = min(self._lowest[-1], point, key=lambda seen: seen[1])
        else:
            self._lowest.append(point)

    def monotonic_ns(self, device_ns: int) -> int:
        """When a frame of that device time comes if nothing holds it up."""
        hull = _lower_hull(list(self._lowest))
        first, last = hull[0][0], hull[-1][0]
        if last - first < SLOPE_AFTER_NS:
            return device_ns + min(offset for _, offset in hull)
        middle = (first + last) // 2
        left, right = next(pair for pair in pairwise(hull) if pair[1][0] >= middle)
        slope = (right[1] - left[1]) / (right[0] - left[0])
        slope = min(STEEPEST, max(-STEEPEST, slope))
        return device_ns + left[1] + round(slope * (device_ns - left[0]))


def _lower_hull(points: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Lower convex hull of points in order of their first coordinate; integers, so that it is exact."""
    hull: list[tuple[int, int]] = []
    for point in points:
        while len(hull) > 1 and _is_above(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    return hull


def _is_above(left: tuple[int, int], middle: tuple[int, int], right: tuple[int, int]) -> bool:
    """Whether ``middle`` lies on or above the line from ``left`` to ``right``."""
    return (middle[1] - left[1]) * (right[0] - left[0]) >= (right[1] - left[1]) * (middle[0] - left[0])


@dataclass(frozen=True, slots=True)
class _Anchor:
    """The time that was given to the last frame."""

    milliseconds: int
    utc_ns: int


class Explorer:
    """Sans-IO: frames in, blocks out, with time, number and status."""

    def __init__(self, name: str, config: Config) -> None:
        self._name, self._config = name, config
        self._milliseconds, self._envelope = Milliseconds(), Envelope()
        self._anchor: _Anchor | None = None
        self._watches: dict[int, CountWatch] = {}
        self.sequence = -1

    def blocks(self, frame: Frame, utc_ns: int, monotonic_ns: int, clock: ClockQuality) -> list[VibrationBlock] | None:
        """A block a configured channel, or None for a frame whose milliseconds are not to be believed.

        Args:
            frame: the frame.
            utc_ns: our clock when its last byte came.
            monotonic_ns: our monotonic clock at the same moment.
            clock: what our clock knew of itself.

        Raises:
            WrongDevice: rate, interval, channels or identity are not the configured ones.
        """
        _agree(self._name, self._config, frame)
        step = self._milliseconds.judge(frame.milliseconds, frame.shape.interval_ms)
        if not step.believed:
            return None
        if step.restarted:
            self._envelope, self._anchor = Envelope(), None
        time_ns, word = self._time(frame, utc_ns, monotonic_ns)
        self._anchor = _Anchor(frame.milliseconds, time_ns)
        self.sequence += 1
        stamp = Stamp(time_ns, utc_ns, monotonic_ns, _quality(frame.shape, clock))
        return [self._block(channel, frame, stamp, [step.status, word]) for channel in self._config.channels]

    def _time(self, frame: Frame, utc_ns: int, monotonic_ns: int) -> tuple[int, str]:
        """UTC of the first sample, and what is odd about it."""
        latency_ns = LATENCY_INTERVALS * frame.shape.interval_ms * 10**6
        device_ns = frame.milliseconds * 10**6
        if frame.shape.gnss:
            behind_ns = utc_ns - latency_ns - device_ns
            odd = abs(behind_ns) > CLOCK_NS
            return device_ns, f"its GNSS time and the lane's clock differ by {behind_ns / 1e9:.1f} s" if odd else ""
        self._envelope.see(device_ns, monotonic_ns)
        fitted_ns = utc_ns - monotonic_ns + self._envelope.monotonic_ns(device_ns) - latency_ns
        if self._anchor is None:
            return fitted_ns, ""
        follows_ns = self._anchor.utc_ns + device_ns - self._anchor.milliseconds * 10**6
        close = abs(fitted_ns - follows_ns) <= 0.5e9 / frame.shape.rate_hz  # within half a sample: do not tear blocks
        return follows_ns if close else fitted_ns, ""

    def _block(self, channel: Channel, frame: Frame, stamp: Stamp, words: list[str]) -> VibrationBlock:
        counts = frame.counts[channel.number]
        rate_hz = frame.shape.rate_hz
        if (watch := self._watches.get(channel.number)) is None:
            full_scale = FULL_SCALE[frame.shape.sample_bytes[channel.number - 1]]
            watch = self._watches[channel.number] = CountWatch(full_scale, rate_hz)
        said = [word for word in (*words, watch.judge(counts)) if word not in ("", "ok")]
        code = _band(rate_hz) + "H" + channel.component
        status = "; ".join(said) or "ok"
        return VibrationBlock(self._name, stamp, channel.sensor, code, float(rate_hz), counts, self.sequence, status)


def _quality(shape: Shape, clock: ClockQuality) -> ClockQuality:
    """Our clock's, and what arrival adds to it where the unit has none: the adapter, and the maker's latency."""
    if shape.gnss or clock.max_error_ns is None:
        return clock
    return replace(clock, max_error_ns=clock.max_error_ns + USB_LATENCY_NS + shape.interval_ms * 10**6)


def _band(rate_hz: int) -> str:
    """FDSN band code of a short-period sensor."""
    return "G" if rate_hz >= 1000 else "D" if rate_hz >= 250 else "E" if rate_hz >= 80 else "S"


def _agree(name: str, config: Config, frame: Frame) -> None:
    shape = frame.shape
    if (shape.rate_hz, shape.interval_ms) != (config.rate_hz, config.interval_ms):
        raise WrongDevice(
            f"{name}: sends {shape.rate_hz} Hz in {shape.interval_ms} ms, configured are {config.rate_hz} Hz "
            f"in {config.interval_ms} ms; set rate_hz and interval_ms"
        )
    if off := [channel.number for channel in config.channels if channel.number not in frame.counts]:
        on = ", ".join(map(str, frame.counts))
        raise WrongDevice(f"{name}: channel {off[0]} is off there, on are {on}; set channels")
    if config.device_id and frame.device_id not in (None, config.device_id):
        raise WrongDevice(f"{name}: unit {frame.device_id} answers, {config.device_id} is configured; swapped?")


def expected(config: Config) -> tuple[Expected, ...]:
    """A stream a sensor, a block a frame."""
    sensors = sorted({channel.sensor for channel in config.channels})
    return tuple(Expected(sensor, config.interval_ms / 1000, config.silence_s) for sensor in sensors)


async def _frames(name: str, config: Config, around: Surroundings) -> AsyncGenerator[tuple[Frame, int, int], None]:
    """Frames with our clocks at their arrival; what is none goes to ``around.reject``, in pieces of some size."""
    loop, reader, rest, passed_bytes = asyncio.get_running_loop(), FrameReader(), b"", 0
    async with SerialPort(config.port, config.baud_rate) as line:
        until_s = loop.time() + config.silence_s
        while True:
            try:
                chunk = await line.read(max(0.0, until_s - loop.time()))
            except TimeoutError:
                came = f"{passed_bytes} bytes came; check baud_rate" if passed_bytes else "no bytes; check the cable"
                raise TimeoutError(f"{name}: no frame for {config.silence_s:g} s: {came}") from None
            utc_ns, monotonic_ns = around.now_utc_ns(), around.monotonic_ns()
            for item in reader.feed(chunk):
                if isinstance(item, bytes):
                    passed_bytes, rest = passed_bytes + len(item), rest + item[:REST_KEPT]
                if rest and (isinstance(item, Frame) or len(rest) >= REST_KEPT):
                    around.reject(f"{name}: bytes that are no frame", rest[:REST_KEPT])
                    rest = b""
                if isinstance(item, Frame):
                    until_s, passed_bytes = loop.time() + config.silence_s, 0
                    yield item, utc_ns, monotonic_ns


async def probe(name: str, config: Config, around: Surroundings) -> Identity:
    """Rate, channels, and the unit's number, which it tells in one second of ten: waited for once, then remembered.

    Raises:
        WrongDevice: rate, interval, channels or number are not the configured ones.
        TimeoutError, ConnectionError: as the wire says.
    """
    loop = asyncio.get_running_loop()
    give_up_s = loop.time() + ID_WAIT_S
    async with aclosing(_frames(name, config, around)) as frames:
        async for frame, _, _ in frames:
            _agree(name, config, frame)
            device_id = frame.device_id or around.recall("device_id") or ""
            if device_id or not frame.sends_id or loop.time() > give_up_s:
                break
    shape = frame.shape
    time = "GNSS time" if shape.gnss else "no GNSS, time by arrival"
    model = f"Explorer, channels {', '.join(map(str, frame.counts))} at {shape.rate_hz} Hz, {time}"
    return Identity("AnyShake", model, device_id)


async def readings(name: str, config: Config, around: Surroundings) -> AsyncIterator[VibrationBlock]:
    """A block a channel and frame, with its status; gaps are told and never filled.

    Raises:
        WrongDevice: rate, interval, channels or number are not the configured ones, or have changed.
        TimeoutError: no frame for ``silence_s``.
        ConnectionError: the line is lost.
    """
    explorer = Explorer(name, config)
    async with aclosing(_frames(name, config, around)) as frames:
        async for frame, utc_ns, monotonic_ns in frames:
            blocks = explorer.blocks(frame, utc_ns, monotonic_ns, around.clock())
            if blocks is None:
                around.reject(f"{name}: milliseconds that do not advance by the interval", frame.raw[:REST_KEPT])
                continue
            if frame.device_id:
                around.remember("device_id", frame.device_id)
            for block in blocks:
                yield block
