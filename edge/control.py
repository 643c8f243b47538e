"""How the command line talks to the daemon: one JSON object a line, asked and answered, over a local socket.

Who may write to the socket (mode 0660, the lane's group) may ask; the kernel tells who it is, so that what is asked
can be recorded with its asker. ``{"do": "status"}`` is answered by ``{"ok": true, "answer": …}``, or by
``{"ok": false, "error": "one line"}``.

    ControlFault        the daemon answered with a refusal
    └── Unreachable     nobody answers at the socket
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge import json_text

LONGEST_REQUEST = 64 * 1024  # bytes; assumed: an outcome or a context is a thousandth of it
LONGEST_ANSWER = json_text.LONGEST_BYTES
MOST_PEERS = 16  # assumed: a booth, a few adapters and some terminals
IDLE_S = 60.0  # a peer that holds a connection and asks nothing
ANSWER_S = 10.0  # assumed: what a person waits for before thinking that it hangs
PARTING_S = 2.0
SOCKET_MODE = 0o660
_LONGEST_NAME = 100  # sun_path holds 107 bytes; the name while binding is a little longer
log = logging.getLogger("lanepulse.control")


class ControlFault(Exception):
    """One line from the daemon: why it will not."""


class Unreachable(ControlFault):
    """Nobody answers at the socket."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who asks, by the kernel's word."""

    process_id: int
    user_id: int
    group_id: int


Handler = Callable[[Mapping[str, Any], Peer], Awaitable[Any]]


@contextlib.asynccontextmanager
async def serve(path: Path, handlers: Mapping[str, Handler]) -> AsyncIterator[None]:
    """Answer at ``path`` while the body runs. A handler refuses by raising ControlFault or ValueError.

    Raises:
        ControlFault: another daemon answers there, or the socket cannot be made.
    """
    peers: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(peers) >= MOST_PEERS:  # the newcomer goes: those who are here may be half way through
            writer.close()
            return
        peers[task] = writer
        try:
            await _converse(reader, writer, handlers)
        except (OSError, TimeoutError):
            pass  # the peer went away or to sleep
        finally:
            peers.pop(task)
            writer.close()

    listening = _bind(path)
    server = await asyncio.start_unix_server(meet, sock=listening, limit=LONGEST_REQUEST)
    try:
        yield
    finally:
        server.close()
        await _part(peers)
        _remove(path)


def ask(path: Path, request: Mapping[str, Any], timeout_s: float = ANSWER_S) -> Any:
    """The daemon's answer.

    Raises:
        Unreachable: nobody is there, or no answer within ``timeout_s``.
        ControlFault: the daemon refuses.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection, _short(path) as name:
            connection.settimeout(timeout_s)
            connection.connect(name)
            connection.sendall(json_text.write(request).encode() + b"\n")
            line = _line(connection)
        answer = json_text.read(line)
    except (FileNotFoundError, ConnectionRefusedError):
        raise Unreachable(f"{path}: no lane is running here; start it (lanepulse run) or give its --root") from None
    except PermissionError:
        raise Unreachable(f"{path}: may not be used by you; join the group lanepulse") from None
    except TimeoutError:
        raise Unreachable(f"{path}: no answer within {timeout_s:g} s; see the lane's log") from None
    except OSError as error:
        raise Unreachable(f"{path}: {error.strerror or error}; see the lane's log") from None
    except json_text.JsonRefused as error:
        raise Unreachable(f"{path}: answer is no JSON ({error}); is that a lane's socket?") from None
    if not isinstance(answer, dict) or not answer.get("ok"):
        refusal = answer.get("error") if isinstance(answer, dict) else None
        raise ControlFault(str(refusal or f"{path}: an answer without ok"))
    return answer.get("answer")


async def _part(peers: Mapping[asyncio.Task[Any], asyncio.StreamWriter]) -> None:
    """Hang up on all; who is being answered is given the time to end, and no more."""
    for writer in peers.values():
        writer.transport.abort()
    if peers:
        _, late = await asyncio.wait(peers, timeout=PARTING_S)
        for task in late:
            task.cancel()


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handlers: Mapping[str, Handler]
) -> None:
    credentials = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    peer = Peer(*struct.unpack("3i", credentials))
    while True:
        try:
            async with asyncio.timeout(IDLE_S):
                line = await reader.readline()
        except ValueError:  # longer than the limit: what follows cannot be told apart from it
            writer.write(_refusal(f"request is longer than {LONGEST_REQUEST} bytes"))
            await writer.drain()
            return
        if not line.endswith(b"\n"):
            return
        writer.write(await _answer(line, peer, handlers))
        async with asyncio.timeout(IDLE_S):
            await writer.drain()


async def _answer(line: bytes, peer: Peer, handlers: Mapping[str, Handler]) -> bytes:
    try:
        request = json_text.read(line)
        handler = (
            handlers.get(request["do"]) if isinstance(request, dict) and isinstance(request.get("do"), str) else None
        )
        if handler is None:
            return _refusal(f"unknown request; this lane knows: {', '.join(sorted(handlers))}")
        answer = json_text.write({"ok": True, "answer": await handler(request, peer)})
    except (ControlFault, ValueError) as error:
        return _refusal(str(error))
    except Exception as error:
        log.exception("defect while answering")
        return _refusal(f"defect in the lane: {type(error).__name__}; see its log")
    return answer.encode() + b"\n"


def _refusal(cause: str) -> bytes:
    printable = " ".join(cause.encode("utf-8", "replace").decode()[:1000].split())
    return json_text.write({"ok": False, "error": printable}).encode() + b"\n"


def _bind(path: Path) -> socket.socket:
    """A bound socket with its mode; it gets its name only once it has that."""
    listening = socket.socket(socket.AF_UNIX)
    fresh = path.with_name(f"{path.name}.new")
    try:
        if path.exists() and _answers(path):
            raise ControlFault(f"{path}: another lane answers here; stop it, or give this one a --root of its own")
        fresh.unlink(missing_ok=True)
        with _short(fresh) as name:
            listening.bind(name)
        fresh.chmod(SOCKET_MODE)
        listening.listen(MOST_PEERS)
        fresh.replace(path)
    except OSError as error:
        listening.close()
        raise ControlFault(f"{path}: {error.strerror or error}; make its folder writable for the lane") from None
    except BaseException:
        listening.close()
        raise
    listening.setblocking(False)
    return listening


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe, _short(path) as name:
        probe.settimeout(1.0)
        try:
            probe.connect(name)
        except ConnectionRefusedError:
            return False  # left behind by a lane that was killed
        return True


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """A name for ``path`` that fits into a socket's address, however deep the folder is."""
    if len(os.fsencode(path)) <= _LONGEST_NAME:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _line(connection: socket.socket) -> bytes:
    received = bytearray()
    while not received.endswith(b"\n"):
        piece = connection.recv(65536)
        if not piece or len(received) > LONGEST_ANSWER + 1024:
            raise ConnectionResetError("the answer is cut short or too long")
        received += piece
    return bytes(received)
