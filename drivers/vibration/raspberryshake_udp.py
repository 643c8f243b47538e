"""Raspberry Shake DATACAST: one UDP datagram a channel, pushed, without number, checksum or acknowledgement.

``{'EHZ', 1582315130.292, 14168, 14927}``: channel, time of the first sample in epoch seconds, counts. 25 samples at
100 Hz, 50 at 50 Hz (the old RS1D). It looks like Python and is never evaluated. What is lost shows in the times alone.
Nothing proves the sender but its address, which can be forged: keep the unit on a network of the lane's own.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from drivers.driver import DriverFault, Expected, Identity, Surroundings
from drivers.reading import Modality, Stamp, VibrationBlock
from drivers.vibration.counts import CountWatch

MODALITY = Modality.VIBRATION
PACKET_SAMPLES = {100: 25, 50: 50}  # maker's DATACAST manual, by rate in Hz
LONGEST_BYTES = 2048  # assumed: 50 samples of 11 characters are 700
MOST_SAMPLES = 128  # assumed: over twice the longest packet
FULL_SCALE = 2**23 - 1  # 24-bit converter
MAILBOX = 256  # datagrams; 16 s of a 4-channel unit
OTHERS_KEPT = 16  # assumed: no unit has more channels
STRANGERS_KEPT = 8  # datagrams of others whose bytes are kept; a flood of them must not fill the disk
PACKET = re.compile(
    rb"\{'([A-Z][A-Z0-9]{2})', ?(\d{1,10})\.(\d{1,6})((?:, ?-?\d{1,10}){1,%d})\}\s{0,3}" % MOST_SAMPLES, re.ASCII
)

Channel = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]{2}$")]
Sensor = Annotated[str, Field(pattern=r"^(B[1-8]|G[1-4])$")]


class Config(BaseModel):
    """The ``[devices.<name>]`` table of a Raspberry Shake."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    driver: Literal["vibration.raspberryshake_udp"]
    listen: str = Field("0.0.0.0:8888", pattern=r"^\S+:\d{1,5}$", description="host:port that the unit casts to")
    peer: IPv4Address | IPv6Address = Field(description="The unit's address; datagrams of others are dropped")
    channels: dict[Channel, Sensor] = Field(
        min_length=1, max_length=8, description='Channel of the unit -> our sensor: {"EHZ" = "G1"}'
    )
    rate_hz: Literal[50, 100] = 100
    silence_s: float = Field(3.0, gt=0, le=60)
    clock_s: float = Field(1.0, gt=0, le=60, description="How far the unit's clock may be from the lane's")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not 0 < int(self.listen.rpartition(":")[2]) <= 65535:
            raise ValueError(f"listen {self.listen!r}: the port is not between 1 and 65535")
        return self


@dataclass(frozen=True, slots=True)
class Packet:
    """One datagram: ``samples`` is (n,) float64 in counts, ``time_utc_ns`` that of the first by the unit's clock."""

    channel: str
    time_utc_ns: int
    samples: NDArray[np.float64]


def decode(datagram: bytes) -> Packet:
    """One datagram.

    Raises:
        ValueError: it is not of the form above; one of a few causes, so that they can be counted.
    """
    if len(datagram) > LONGEST_BYTES:
        raise ValueError(f"datagram of over {LONGEST_BYTES} bytes")
    match = PACKET.fullmatch(datagram)
    if match is None:
        raise ValueError("not a DATACAST packet")
    channel, seconds, fraction, counts = match.groups()
    samples = np.array([int(count) for count in counts.split(b",")[1:]], dtype=np.float64)
    if np.abs(samples).max() > 2**31:
        raise ValueError("counts beyond 32 bits")
    return Packet(channel.decode("ascii"), int(seconds) * 10**9 + int(fraction.ljust(9, b"0")), samples)


class Continuity:
    """One channel: what the times and counts of a packet say beside those before."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._last: Packet | None = None
        self._spacing_ns = 0
        self._counts = CountWatch(FULL_SCALE, rate_hz)
        self.heard_ns = 0
        self.sequence = -1

    def judge(self, packet: Packet, now_ns: int) -> str | None:
        """What is wrong with it, "" if nothing, None if it is the last packet once more; ``now_ns`` is monotonic."""
        last, self._last, self.heard_ns = self._last, packet, now_ns
        if last is not None and last.time_utc_ns == packet.time_utc_ns and np.array_equal(last.samples, packet.samples):
            return None
        self.sequence += 1
        words = [self._time(last, packet) if last is not None else "", self._counts.judge(packet.samples)]
        return "; ".join(word for word in words if word)

    def _time(self, last: Packet, packet: Packet) -> str:
        spacing_ns, before_ns = packet.time_utc_ns - last.time_utc_ns, self._spacing_ns
        self._spacing_ns = spacing_ns
        gap_ns = spacing_ns - round(len(last.samples) * 1e9 / self._rate_hz)
        half_ns = round(0.5e9 / self._rate_hz)
        if abs(gap_ns) <= half_ns:
            return ""
        if spacing_ns > 0 and abs(spacing_ns - before_ns) <= half_ns / 2:
            rate_hz = len(last.samples) * 1e9 / spacing_ns
            return f"its times say {rate_hz:.1f} Hz, rate_hz says {self._rate_hz}: correct it"
        word = "gap" if gap_ns > 0 else "overlap or a clock set back"
        return f"{word} of {abs(gap_ns) / 1e9:.3f} s"


class Shake:
    """Sans-IO: datagrams of the unit in, judged packets out."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._streams = {channel: Continuity(config.rate_hz) for channel in config.channels}
        self.others: set[str] = set()  # channels that it casts and nobody wants

    def feed(self, datagram: bytes, utc_ns: int, now_ns: int) -> tuple[Packet, int, str] | None:
        """The packet, its number and its status, or None for one that is not wanted; ``now_ns`` is monotonic.

        Raises:
            ValueError: see `decode`.
        """
        packet = decode(datagram)
        stream = self._streams.get(packet.channel)
        if stream is None:
            if len(self.others) < OTHERS_KEPT:
                self.others.add(packet.channel)
            return None
        word = stream.judge(packet, now_ns)
        if word is None:
            return None
        words = (word, self._clock(packet, utc_ns), self._missing(now_ns))
        return packet, stream.sequence, "; ".join(word for word in words if word) or "ok"

    def _clock(self, packet: Packet, utc_ns: int) -> str:
        behind_s = (utc_ns - packet.time_utc_ns) / 1e9 - len(packet.samples) / self._config.rate_hz
        if abs(behind_s) <= self._config.clock_s:
            return ""
        return f"its clock is {abs(behind_s):.1f} s {'behind' if behind_s > 0 else 'ahead of'} the lane's; check NTP"

    def _missing(self, now_ns: int) -> str:
        silent = [
            c for c, s in self._streams.items() if s.heard_ns and now_ns - s.heard_ns > self._config.silence_s * 1e9
        ]
        return f"no samples of {', '.join(silent)}" if silent else ""

    def heard(self) -> list[str]:
        """Configured channels that have been heard, sorted."""
        return sorted(channel for channel, stream in self._streams.items() if stream.sequence >= 0)


@dataclass(frozen=True, slots=True)
class _Arrived:
    datagram: bytes
    utc_ns: int
    monotonic_ns: int


class _Mailbox(asyncio.DatagramProtocol):
    """Takes datagrams of one address; bounded, and what does not fit is told."""

    def __init__(self, name: str, peer: IPv4Address | IPv6Address, around: Surroundings) -> None:
        self._name, self._peer, self._around = name, peer, around
        self._letters: deque[_Arrived] = deque()
        self._arrived = asyncio.Event()
        self.closed = asyncio.Event()
        self.strangers: Counter[str] = Counter()

    def datagram_received(self, datagram: bytes, address: tuple[str, int]) -> None:
        """Called by the loop for each datagram."""
        if _address(address[0]) != self._peer:
            self._stranger(datagram, address[0])
        elif len(self._letters) >= MAILBOX:
            self._around.reject(f"{self._name}: mailbox full, datagram dropped; the lane is too slow", b"")
        else:
            arrived = _Arrived(datagram, self._around.now_utc_ns(), self._around.monotonic_ns())
            self._letters.append(arrived)
            self._arrived.set()

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the loop when the socket is gone."""
        self.closed.set()

    def _stranger(self, datagram: bytes, address: str) -> None:
        if address in self.strangers or len(self.strangers) < STRANGERS_KEPT:
            self.strangers[address] += 1
        if self.strangers.total() <= STRANGERS_KEPT:
            self._around.reject(f"{self._name}: datagram of a stranger", datagram[:LONGEST_BYTES])

    async def next(self, timeout_s: float) -> _Arrived:
        """The oldest datagram of the peer. Raises TimeoutError."""
        while not self._letters:
            self._arrived.clear()
            async with asyncio.timeout(timeout_s):
                await self._arrived.wait()
        return self._letters.popleft()


@lru_cache(maxsize=64)
def _address(text: str) -> IPv4Address | IPv6Address:
    """The sender; an IPv4 address that came over an IPv6 socket is the IPv4 address."""
    address = ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


@asynccontextmanager
async def _listening(name: str, config: Config, around: Surroundings) -> AsyncIterator[_Mailbox]:
    host, _, port = config.listen.rpartition(":")
    mailbox = _Mailbox(name, config.peer, around)
    try:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: mailbox, local_addr=(host.strip("[]"), int(port))
        )
    except OSError as error:
        raise ConnectionError(
            f"{name}: cannot listen on {config.listen}: {error.strerror}; who else holds that port?"
        ) from error
    try:
        yield mailbox
    finally:
        transport.close()
        await mailbox.closed.wait()  # the port is free when we leave, and a restart at once can have it


async def _hear(
    name: str, config: Config, shake: Shake, around: Surroundings
) -> AsyncGenerator[tuple[_Arrived, Packet, int, str], None]:
    loop = asyncio.get_running_loop()
    async with _listening(name, config, around) as mailbox:
        until_s = loop.time() + config.silence_s
        while True:
            try:
                arrived = await mailbox.next(max(0.0, until_s - loop.time()))
                judged = shake.feed(arrived.datagram, arrived.utc_ns, arrived.monotonic_ns)
            except TimeoutError:
                raise TimeoutError(_silence(name, config, shake, mailbox)) from None
            except ValueError as error:
                around.reject(f"{name}: {error}", arrived.datagram[:LONGEST_BYTES])
                continue
            if judged is not None:
                until_s = loop.time() + config.silence_s
                yield arrived, *judged


def _silence(name: str, config: Config, shake: Shake, mailbox: _Mailbox) -> str:
    if shake.others:
        came = f"it casts {', '.join(sorted(shake.others))}; set channels"
    elif mailbox.strangers:
        came = f"{', '.join(sorted(mailbox.strangers))} sent some; is peer right?"
    else:
        came = f"does the unit cast to {config.listen}?"
    return f"{name}: no samples from {config.peer} for {config.silence_s:g} s: {came}"


def expected(config: Config) -> tuple[Expected, ...]:
    """A stream a sensor, a block a packet."""
    period_s = PACKET_SAMPLES[config.rate_hz] / config.rate_hz
    return tuple(Expected(sensor, period_s, config.silence_s) for sensor in sorted(set(config.channels.values())))


async def probe(name: str, config: Config, around: Surroundings) -> Identity:
    """Wait until every configured channel was heard; a datagram tells neither unit nor firmware.

    Raises:
        DriverFault: some channels never came.
        TimeoutError: none came; says who sent instead.
        ConnectionError: the port is taken.
    """
    shake = Shake(config)
    loop = asyncio.get_running_loop()
    give_up_s = loop.time() + config.silence_s
    async with aclosing(_hear(name, config, shake, around)) as packets:
        async for _ in packets:
            heard = shake.heard()
            if len(heard) == len(config.channels):
                break
            if loop.time() > give_up_s:
                missing = ", ".join(sorted(set(config.channels) - set(heard)))
                raise DriverFault(
                    f"{name}: {config.peer} casts {', '.join([*heard, *sorted(shake.others)])}, never {missing}; "
                    "set channels to what the unit has"
                )
    return Identity("Raspberry Shake", f"DATACAST {', '.join(shake.heard())} at {config.rate_hz} Hz")


async def readings(name: str, config: Config, around: Surroundings) -> AsyncIterator[VibrationBlock]:
    """A block a packet, in the order of arrival, with its status; gaps are told and never filled.

    Raises:
        TimeoutError: no packet of ours for ``silence_s``; says what came instead.
        ConnectionError: the port is taken.
    """
    async with aclosing(_hear(name, config, Shake(config), around)) as packets:
        async for arrived, packet, sequence, status in packets:
            yield VibrationBlock(
                name,
                Stamp(packet.time_utc_ns, arrived.utc_ns, arrived.monotonic_ns, around.clock()),
                config.channels[packet.channel],
                packet.channel,
                float(config.rate_hz),
                packet.samples,
                sequence,
                status,
            )
