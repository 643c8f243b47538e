"""Many datagrams by one call (Linux' recvmmsg): what a stream of small packets costs is calls, not bytes.

Everything is allocated once. Sender, length and content of what came stand in numpy arrays over that memory.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 64  # datagrams of one call: what they fill stays in the processor's cache until it is copied
LINE_BYTES = 64  # of the processor's cache
MSG_DONTWAIT, MSG_TRUNC = 0x40, 0x20  # Linux


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Header(ctypes.Structure):
    """struct mmsghdr: the length comes after the message's own padding."""

    _fields_ = (("message", _Message), ("received", ctypes.c_uint32))


class Datagrams:
    """Room for `AT_ONCE` datagrams of at most ``longest`` bytes; `receive` fills it.

    ``content`` is (AT_ONCE, longest) uint8, ``lengths`` and ``senders`` (AT_ONCE,), a sender being its IPv4 address as
    a native integer of the bytes in their order on the wire.
    """

    def __init__(self, longest: int) -> None:
        aligned = -(-longest // LINE_BYTES) * LINE_BYTES
        self.content: NDArray[np.uint8] = np.zeros((AT_ONCE, aligned), np.uint8)[:, :longest]
        self._names = np.zeros((AT_ONCE, 16), np.uint8)  # struct sockaddr_in
        self._vectors = (_Vector * AT_ONCE)()
        self._headers = (_Header * AT_ONCE)()
        for index in range(AT_ONCE):
            self._vectors[index] = _Vector(self.content[index].ctypes.data, longest)
            vector = ctypes.addressof(self._vectors[index])
            name = self._names[index].ctypes.data
            self._headers[index] = _Header(_Message(name, 16, vector, 1, None, 0, 0), 0)
        self.lengths = self._column(_Header.received.offset)
        self._name_lengths = self._column(_Message.name_length.offset)  # the message stands first
        self.senders: NDArray[np.uint32] = np.ndarray((AT_ONCE,), np.uint32, self._names, 4, (16,))
        self._call = ctypes.CDLL(None, use_errno=True).recvmmsg

    def _column(self, offset: int) -> NDArray[np.uint32]:
        """One field of all headers."""
        return np.ndarray((AT_ONCE,), np.uint32, memoryview(self._headers), offset, (ctypes.sizeof(_Header),))

    def receive(self, stream: socket.socket) -> int:
        """How many came; 0 where none waits. One that is longer than the room counts as its whole length.

        Raises:
            OSError: the socket's own.
        """
        self._name_lengths[:] = 16
        count = int(self._call(stream.fileno(), self._headers, AT_ONCE, MSG_DONTWAIT | MSG_TRUNC, None))
        if count >= 0:
            return count
        number = ctypes.get_errno()
        if number in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR):
            return 0
        raise OSError(number, os.strerror(number))

    def datagram(self, index: int) -> memoryview:
        """One of what came, as far as there was room for it."""
        return memoryview(self.content[index, : min(int(self.lengths[index]), self.content.shape[1])])  # type: ignore[arg-type]


def sender_of(address: str) -> int:
    """An IPv4 address as `Datagrams.senders` has it."""
    return int(struct.unpack("=I", socket.inet_aton(address))[0])
