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
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadInputRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

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
REPLY_S = 0.7  # a real device answered 707 of 1000 too late at 0.3 s, none at 0.6 s (stephane/libmodbus#776)
LONGEST_REPLY_S = 2.0  # assumed: a reply that has not come by then never comes
WRITE_SINGLE, WRITE_MULTIPLE = 6, 16


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request on the wire."""

    unit: int
    function: int
    address: int
    count: int
    frame: bytes

    @property
    def reply_bytes(self) -> int:
        """Length of the right reply, with unit and CRC."""
        return 8 if self.function in (WRITE_SINGLE, WRITE_MULTIPLE) else 5 + 2 * self.count

    def __str__(self) -> str:
        return f"unit {self.unit}, function {self.function}, registers 0x{self.address:04X}+{self.count}"


class RtuMaster:
    """The only one who speaks on this line. ``counts`` tells what was dropped, and why."""

    def __init__(self, port: SerialPort, reply_s: float = REPLY_S, longest_reply_s: float = LONGEST_REPLY_S) -> None:
        """``reply_s``: wait for a reply. ``longest_reply_s``: by then a late reply has come, and is drained."""
        self._port, self._reply_s, self._longest_reply_s = port, reply_s, longest_reply_s
        self._framer = FramerRTU(DecodePDU(is_server=False))
        self._unanswered_since_s: float | None = None
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
        reply = await self._ask(_Asked(unit, function, address, count, frame), within_s)
        return tuple(int.from_bytes(reply[i : i + 2], "big") for i in range(3, 3 + 2 * count, 2))

    async def write_registers(self, unit: int, address: int, words: tuple[int, ...], *, within_s: float = 1.0) -> None:
        """Write unsigned 16-bit words by function 16. Raises as `read_registers`."""
        request = WriteMultipleRegistersRequest(address=address, count=len(words), registers=list(words), dev_id=unit)
        frame = self._framer.buildFrame(request)
        await self._ask(_Asked(unit, WRITE_MULTIPLE, address, len(words), frame), within_s)

    async def write_register(self, unit: int, address: int, word: int, *, within_s: float = 1.0) -> None:
        """Write one unsigned 16-bit word by function 6. Raises as `read_registers`.

        The answer repeats the request, so on a line that echoes it proves nothing: read back what matters.
        """
        request = WriteSingleRegisterRequest(address=address, registers=[word], dev_id=unit)
        frame = self._framer.buildFrame(request)
        await self._ask(_Asked(unit, WRITE_SINGLE, address, 1, frame), within_s)
        self._dirty = True  # where the line echoes, what was taken for the answer was the echo, and the answer follows

    async def _ask(self, asked: _Asked, within_s: float) -> bytes:
        """The reply's frame; busy replies are asked again, other exceptions raised."""
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + within_s
        while True:
            await self._settle()
            reply = await self._transact(asked)
            if not reply[1] & 0x80:
                return reply
            if reply[2] not in BUSY or loop.time() + BUSY_PAUSE_S > give_up_s:
                raise _refusal(asked, reply)
            self.counts["busy"] += 1
            await asyncio.sleep(BUSY_PAUSE_S)

    async def _settle(self) -> None:
        """Let every reply that can still come, come, and throw it away: it must not answer the next request."""
        loop = asyncio.get_running_loop()
        until = loop.time()
        if self._unanswered_since_s is not None:
            until = self._unanswered_since_s + self._longest_reply_s
        if self._dirty:
            until = max(until, loop.time() + QUIET_S)
        while (left_s := until - loop.time()) > 0:
            try:
                self.counts["drained bytes"] += len(await self._port.read(left_s))
            except TimeoutError:
                break
        self.counts["drained bytes"] += self._port.discard()
        self._dirty, self._unanswered_since_s = False, None

    async def _transact(self, asked: _Asked) -> bytes:
        """One request and its reply, which may be an exception; what is no reply does not stop the timer."""
        loop = asyncio.get_running_loop()
        self._dirty, self._unanswered_since_s = True, loop.time()  # until a good reply says otherwise
        deadline_s = loop.time() + self._reply_s
        self._port.write(asked.frame)
        buffer, foreign = b"", Counter[int]()
        while (left_s := deadline_s - loop.time()) > 0:
            try:
                buffer += await self._port.read(min(left_s, QUIET_S))
            except TimeoutError:
                self._judge_rest(asked, buffer)
                continue
            while found := _first_frame(buffer):
                start, end = found
                frame, buffer = buffer[start:end], buffer[end:]
                self.counts["noise bytes"] += start
                if self._is_reply(asked, frame, foreign):
                    self.counts["bytes after the reply"] += len(buffer)
                    self._dirty, self._unanswered_since_s, self._previous = bool(buffer), None, frame
                    return frame
            buffer = buffer[-LONGEST_FRAME:]
        self._judge_rest(asked, buffer)
        raise self._no_reply(asked, foreign, buffer)

    def _is_reply(self, asked: _Asked, frame: bytes, foreign: Counter[int]) -> bool:
        if frame == asked.frame:
            self.counts["echo"] += asked.function != WRITE_SINGLE
            return asked.function == WRITE_SINGLE
        if frame[0] != asked.unit:
            foreign[frame[0]] += 1
            self.counts["foreign frames"] += 1
            return False
        if frame[1] & 0x7F != asked.function:
            raise DriverFault(f"{asked}: answered with function {frame[1]}; another master on the line?", frame)
        if frame[1] & 0x80:
            return True
        if asked.function == WRITE_SINGLE:
            raise DriverFault(f"{asked}: the answer names another register or value; read it back", frame)
        if asked.function == WRITE_MULTIPLE:
            if frame[2:6] != asked.frame[2:6]:
                raise DriverFault(f"{asked}: the echo names other registers; read back what was written", frame)
            return True
        if frame[2] != 2 * asked.count:
            if frame == self._previous:
                self.counts["repeated replies"] += 1
                return False
            raise DriverFault(f"{asked}: {frame[2] // 2} registers came, not a reading; check the register map", frame)
        return True

    def _judge_rest(self, asked: _Asked, buffer: bytes) -> None:
        """The line is quiet: what lies in the buffer will not become a frame any more."""
        for function, size in ((asked.function, asked.reply_bytes), (asked.function | 0x80, 5)):
            start = buffer.find(bytes((asked.unit, function)))
            if start < 0:
                continue
            rest = buffer[start:]
            self._unanswered_since_s = None  # it has answered, badly: draining what follows is enough
            if len(rest) < size:
                raise DriverFault(f"{asked}: reply cut after {len(rest)} of {size} bytes; check the cable", buffer)
            raise DriverFault(f"{asked}: CRC is wrong in {rest[:size].hex(' ')}; check the cable", buffer)

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
    if function in (15, 16):
        return (8, 9 + rest[6]) if len(rest) > 6 and rest[6] <= LONGEST_FRAME - 9 else (8,)
    return (8,) if function in (5, 6) else ()


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
