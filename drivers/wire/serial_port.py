"""A serial line as an asyncio byte stream: opened by name, owned alone, and honest about being unplugged.

pyserial's ``Serial`` with timeout 0 sets the line up; ``loop.add_reader`` tells when bytes are there.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import select
import struct
import termios
from types import TracebackType
from typing import Self

import serial

BUFFER_BYTES = 4096  # assumed: 15 of the longest Modbus frames; older bytes go first
TIOCGSERIAL, TIOCSSERIAL = 0x541E, 0x541F  # linux/asm-generic/ioctls.h
ASYNC_LOW_LATENCY = 1 << 13  # linux/tty_flags.h
SERIAL_STRUCT_BYTES, FLAGS_OFFSET = 72, 16  # linux/serial.h, struct serial_struct on 64 bit


class SerialPort:
    """One open line. Lost lines raise `ConnectionError`; open a new object by the same name to come back."""

    def __init__(self, name: str, baud_rate: int, parity: str = "N", stop_bits: float = 1) -> None:
        self.name = name
        self._line = serial.Serial(timeout=0, write_timeout=0, exclusive=True)
        self._line.baudrate, self._line.parity, self._line.stopbits = baud_rate, parity, stop_bits
        self._line.dtr = self._line.rts = True  # before open: a later change resets some boards
        self._received = bytearray()
        self._arrived = asyncio.Event()
        self._lost: str | None = None
        self.overflow_bytes = 0

    async def __aenter__(self) -> Self:
        """Open the line.

        Raises:
            ConnectionError: it is not there, is taken, or may not be opened; the message says which.
        """
        try:
            self._line.port = self.name
            self._line.open()  # flock: keeps out those who ask
            fcntl.ioctl(self._line.fileno(), termios.TIOCEXCL)  # keeps out the others, but never root
        except (OSError, ValueError, termios.error) as error:  # termios.error is no OSError
            self._line.close()
            raise ConnectionError(
                f"{self.name}: cannot open: {error}; check the adapter, its name and who holds it"
            ) from error
        _ask_low_latency(self._line.fileno())
        asyncio.get_running_loop().add_reader(self._line.fileno(), self._on_readable)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._line.is_open:
            asyncio.get_running_loop().remove_reader(self._line.fileno())
            with contextlib.suppress(OSError):  # pulled meanwhile
                fcntl.ioctl(self._line.fileno(), termios.TIOCNXCL)  # the mark outlives us while anybody has it open
            self._line.close()

    def _on_readable(self) -> None:
        try:
            piece = os.read(self._line.fileno(), BUFFER_BYTES)
            self._lost = None if piece else "the line hung up (unplugged, or a second program reads it)"
        except BlockingIOError:
            return
        except OSError as error:
            piece, self._lost = b"", f"{error.strerror} (unplugged?)"
        if self._lost:
            asyncio.get_running_loop().remove_reader(self._line.fileno())
        self._received += piece
        if (excess := len(self._received) - BUFFER_BYTES) > 0:
            self.overflow_bytes += excess
            del self._received[:excess]
        self._arrived.set()

    def _check(self) -> None:
        if self._lost:
            raise ConnectionError(f"{self.name}: {self._lost}; put the adapter back, the port is reopened by name")

    async def read(self, timeout_s: float) -> bytes:
        """Whatever has come, at least one byte.

        Raises:
            TimeoutError: nothing came in ``timeout_s`` seconds.
            ConnectionError: the line is lost.
        """
        if not self._received:
            self._check()
            self._arrived.clear()
            async with asyncio.timeout(timeout_s):
                await self._arrived.wait()
            if not self._received:
                self._check()
        piece = bytes(self._received)
        self._received.clear()
        return piece

    def discard(self) -> int:
        """Throw away what has come, read or not, without waiting; how many bytes that was.

        Raises:
            ConnectionError: the line is lost.
        """
        while self._lost is None and select.select([self._line.fileno()], [], [], 0)[0]:
            self._on_readable()
            if len(self._received) == BUFFER_BYTES:
                break  # a line that never stops must not stop us
        self._check()
        thrown = len(self._received)
        self._received.clear()
        return thrown

    def write(self, frame: bytes) -> None:
        """Send a short frame at once.

        Raises:
            ConnectionError: the line is lost, or takes no bytes.
        """
        self._check()
        try:
            sent = os.write(self._line.fileno(), frame)
        except OSError as error:
            raise ConnectionError(f"{self.name}: cannot send: {error.strerror}; unplugged?") from error
        if sent != len(frame):
            raise ConnectionError(f"{self.name}: took {sent} of {len(frame)} bytes; the adapter is stuck, replug it")


def _ask_low_latency(descriptor: int) -> None:
    """FTDI adapters hold bytes up to 16 ms otherwise; ptys and some adapters cannot, which is no fault."""
    state = bytearray(SERIAL_STRUCT_BYTES)
    try:
        fcntl.ioctl(descriptor, TIOCGSERIAL, state)
        (flags,) = struct.unpack_from("i", state, FLAGS_OFFSET)
        struct.pack_into("i", state, FLAGS_OFFSET, flags | ASYNC_LOW_LATENCY)
        fcntl.ioctl(descriptor, TIOCSSERIAL, state)
    except OSError:
        return
