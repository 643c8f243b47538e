"""What the service manager is told: READY, STOPPING, WATCHDOG and a status line (sd_notify(3))."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


def notify(state: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Send one state line; False where there is no service manager to tell, or it does not listen."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    target = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.setblocking(False)  # a manager that does not read must not stop the lane
        try:
            sender.sendto(state.encode(), target)
        except OSError:
            return False
    return True


def watchdog_period_s(environment: Mapping[str, str] = os.environ) -> float | None:
    """Half the time that the manager allows between two WATCHDOG=1, or None where it does not watch us."""
    allowed_us = environment.get("WATCHDOG_USEC", "")
    return int(allowed_us) / 2e6 if allowed_us.isdigit() and int(allowed_us) > 0 else None
