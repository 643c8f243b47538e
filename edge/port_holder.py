"""Who holds a TCP port of this machine, as far as /proc lets us see."""

from __future__ import annotations

import contextlib
import errno
import socket
from pathlib import Path

LISTEN = "0A"  # linux/tcp_states.h
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def is_free(host: str, port: int) -> bool:
    """Whether one could listen there now; a host that is not of this machine counts as free: another error says so."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as ZeroMQ: connections that ended do not count
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True


def holder(port: int) -> str | None:
    """``"name (process 123)"`` of who listens on ``port``; None where nobody does, or it may not be known."""
    inodes = {f"socket:[{inode}]" for table in _TABLES for inode in _listening(table, port)}
    if not inodes:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile, or is another user's
            if any(str(file.readlink()) in inodes for file in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
    return None


def _listening(table: Path, port: int) -> list[str]:
    """Inodes of listening sockets on ``port``; fields of proc(5): 1 local address, 3 state, 9 inode."""
    try:
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return []
    return [row[9] for row in rows if row[3] == LISTEN and int(row[1].rpartition(":")[2], 16) == port]
