from __future__ import annotations

import socket
from pathlib import Path

from edge.service_notify import notify, watchdog_period_s


def test_the_service_manager_hears_ready(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        assert notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert manager.recv(100) == b"READY=1"


def test_without_a_service_manager_nothing_is_sent() -> None:
    assert not notify("READY=1", {})
    assert not notify("READY=1", {"NOTIFY_SOCKET": "/nonexistent/notify"})


def test_the_watchdog_is_fed_twice_in_its_time() -> None:
    assert watchdog_period_s({"WATCHDOG_USEC": "10000000"}) == 5.0
    assert watchdog_period_s({"WATCHDOG_USEC": "no"}) is None
