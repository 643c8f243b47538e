"""One Modbus RTU transaction at a time, checked by ourselves (MODBUS over Serial Line V1.02, 2.5.1).

pymodbus encodes the request and knows the CRC. Its client is not used: it takes late replies, other functions'
replies and short replies for data (seen on 3.16.1), so unit, function, byte count and CRC are checked here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

from pymodbus.framer.rtu import FramerRTU
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from drivers.driver import DriverFault, Refused
from drivers.wire.serial_port import SerialPort

QUIET_S = 0.1  # assumed: longer than a USB adapter's split (40 ms seen), so a rest this late is not coming
BUSY_PAUSE_S = 0.05  # assumed: between asking a busy device again
LONGEST_FRAME = 256  # MODBUS over Serial Line V1.02, 2.5.1
EXCEPTIONS = {
    1: "illegal function", 3: "illegal value", 4: "device failure", 5: "acknowledge, still working", 6: "busy",
    8: "memory parity error", 10: "gateway path unavailable",
}  # fmt: skip  # MODBUS Application Protocol V1.1b3, 7
BUSY = (5, 6)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request on the wire."""

    unit: int
    function: int
    address: int
    count: int
    frame: bytes

    def __str__(self) -> str:
        return f"unit {self.unit}, function {self.function}, registers 0x{self.address:04X}+{self.count}"


class RtuMaster:
    """The only one who speaks on this line. ``counts`` tells what was dropped, and why."""

    def __init__(self, port: SerialPort, reply_s: float = 0.5, longest_reply_s: float = 1.0) -> None:
        """``reply_s``: wait for a reply. ``longest_reply_s``: by then a late reply has come, and is drained."""
        self._port, self._reply_s, self._longest_reply_s = port, reply_s, longest_reply_s
        self._framer = FramerRTU(DecodePDU(is_server=False))
        self._unanswered: tuple[_Asked, float] | None = None
        self._dirty = False
        self._previous = b""
        self.counts: Counter[str] = Counter()

    async def read_registers(
        self, unit: int, address: int, count: int, *, function: int = 3, within_s: float = 1.0
    ) -> tuple[int, ...]:
        """Registers as unsigned 16-bit words; a busy device is asked again within ``within_s`` seconds.

        Raises:
            Refused: the device does not have these registers.
            DriverFault: the reply is damaged, short, or an exception; ``raw`` holds its bytes.
            TimeoutError: no reply; the message names units that spoke instead.
            ConnectionError: the line is lost.
        """
        request = ReadHoldingRegistersRequest if function == 3 else ReadInputRegistersRequest
        frame = self._framer.buildFrame(request(address=address, count=count, dev_id=unit))
        asked = _Asked(unit, function, address, count, frame)
        loop = asyncio.get_running_loop()
        give_up = loop.time() + within_s
        while True:
            await self._settle()
            reply = await self._transact(asked)
            if not reply[1] & 0x80:
                return tuple(int.from_bytes(reply[i : i + 2], "big") for i in range(3, 3 + 2 * count, 2))
            if reply[2] not in BUSY or loop.time() + BUSY_PAUSE_S > give_up:
                raise _refusal(asked, reply)
            self.counts["busy"] += 1
            await asyncio.sleep(BUSY_PAUSE_S)

    async def _settle(self) -> None:
        """Let every reply that can still come, come, and throw it away: it must not answer the next request."""
        loop = asyncio.get_running_loop()
        until = loop.time()
        if self._unanswered:
            until = self._unanswered[1] + self._longest_reply_s
        if self._dirty:
            until = max(until, loop.time() + QUIET_S)
        while True:
            try:
                self.counts["drained bytes"] += len(await self._port.read(max(until - loop.time(), 0.0)))
            except TimeoutError:
                break
            if loop.time() > until:
                break
        self._dirty, self._unanswered = False, None

    async def _transact(self, asked: _Asked) -> bytes:
        loop = asyncio.get_running_loop()
        self._dirty = True  # stays so unless the reply is good
        self._unanswered = (asked, loop.time())
        deadline = loop.time() + self._reply_s
        self._port.write(asked.frame)
        buffer, foreign = b"", Counter[int]()
        while True:
            left_s = deadline - loop.time()
            try:
                buffer += await self._port.read(max(min(left_s, QUIET_S), 0.0))
            except TimeoutError:
                self._judge_rest(asked, buffer)
                if left_s <= QUIET_S:
                    raise self._no_reply(asked, foreign, buffer) from None
                continue
            if len(buffer) > 2 * LONGEST_FRAME:
                buffer = buffer[-LONGEST_FRAME:]
            while found := _first_frame(buffer):
                start, end = found
                frame, self.counts["noise bytes"] = buffer[start:end], self.counts["noise bytes"] + start
                buffer = buffer[end:]
                if self._is_reply(asked, frame, foreign):
                    if buffer:
                        self.counts["bytes after the reply"] += len(buffer)
                    self._dirty, self._unanswered, self._previous = bool(buffer), None, frame
                    return frame

    def _is_reply(self, asked: _Asked, frame: bytes, foreign: Counter[int]) -> bool:
        if frame == asked.frame:
            self.counts["echo"] += 1
            return False
        if frame[0] != asked.unit:
            foreign[frame[0]] += 1
            self.counts["foreign frames"] += 1
            return False
        if frame[1] & 0x7F != asked.function:
            raise DriverFault(f"{asked}: answered with function {frame[1]}; another master on the line?", frame)
        if frame[1] & 0x80:
            return True
        if frame[2] != 2 * asked.count:
            if frame == self._previous:
                self.counts["repeated replies"] += 1
                return False
            raise DriverFault(f"{asked}: {frame[2] // 2} registers came, not a reading; check the register map", frame)
        return True

    def _judge_rest(self, asked: _Asked, buffer: bytes) -> None:
        """The line is quiet: what lies in the buffer will not become a frame any more."""
        start = buffer.find(bytes((asked.unit, asked.function)))
        if start < 0:
            return
        rest = buffer[start:]
        if len(rest) >= 5 + 2 * asked.count:
            raise DriverFault(f"{asked}: CRC is wrong in {rest.hex(' ')}; check the cable", buffer)
        raise DriverFault(
            f"{asked}: reply cut after {len(rest)} of {5 + 2 * asked.count} bytes; check the cable", buffer
        )

    def _no_reply(self, asked: _Asked, foreign: Counter[int], buffer: bytes) -> TimeoutError:
        others = "".join(f"; unit {unit} spoke {times}x instead" for unit, times in sorted(foreign.items()))
        noise = f"; noise {buffer[:16].hex(' ')}" if buffer else ""
        return TimeoutError(f"{asked}: no reply in {self._reply_s} s{others}{noise}; check power and address")


def _first_frame(buffer: bytes) -> tuple[int, int] | None:
    """Bounds of the first stretch whose length fits its function code and whose CRC is right."""
    for start in range(len(buffer) - 4):
        for size in _possible_sizes(buffer[start:]):
            end = start + size
            if end <= len(buffer):
                check = int.from_bytes(buffer[end - 2 : end], "big")
                if FramerRTU.check_CRC(buffer[start : end - 2], check):
                    return start, end
    return None


def _possible_sizes(rest: bytes) -> tuple[int, ...]:
    """Frame lengths that the function code allows: a reply's, then an echoed request's."""
    function = rest[1]
    if function & 0x80:
        return (5,)
    if 1 <= function <= 4:
        return (5 + rest[2], 8) if rest[2] <= LONGEST_FRAME - 5 else (8,)
    return (8,) if function in (5, 6, 15, 16) else ()


def _refusal(asked: _Asked, frame: bytes) -> DriverFault:
    code = frame[2]
    if code == 2:
        return Refused(
            f"{asked}: register 0x{asked.address:04X} does not exist there; correct the configuration", frame
        )
    if code == 11:
        return DriverFault(
            f"{asked}: the gateway answered, the probe did not; check the probe's power and cable", frame
        )
    return DriverFault(
        f"{asked}: exception {code} (0x{code:02X}, {EXCEPTIONS.get(code, 'not in the standard')})", frame
    )
