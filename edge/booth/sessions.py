"""Signed-on officers, and how often somebody may try: both in memory, so that a restart signs everybody off."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from edge.booth.officers import Officer, Role

SHIFT_S = 10 * 3600.0  # assumed: a shift; nobody is signed on longer
IDLE_S = 2 * 3600.0  # assumed: a booth that nobody touched for two hours
MOST_SESSIONS = 200
TOKEN_BYTES = 32
FREE_TRIES = 5  # wrong PINs before waiting begins
FIRST_WAIT_S = 30.0  # assumed; doubled at each further wrong PIN
LONGEST_WAIT_S = 3600.0
MOST_COUNTED = 1_000


@dataclass(slots=True)
class Session:
    """One officer at one page."""

    officer: Officer
    began_s: float
    used_s: float

    @property
    def officer_id(self) -> str:
        return self.officer.id

    @property
    def role(self) -> Role:
        return self.officer.role


class Sessions:
    """Sessions by their secret token; ``now_s`` is monotonic."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._open: OrderedDict[str, Session] = OrderedDict()

    def begin(self, officer: Officer) -> str:
        """A new session's token."""
        now_s = self._now_s()
        while len(self._open) >= MOST_SESSIONS:
            self._open.popitem(last=False)
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._open[token] = Session(officer, now_s, now_s)
        return token

    def of(self, token: str | None, *, touch: bool) -> Session | None:
        """The session of a token, None where there is none or it has ended. ``touch``: a person did something."""
        session = self._open.get(token or "")
        if session is None:
            return None
        now_s = self._now_s()
        if now_s - session.began_s > SHIFT_S or now_s - session.used_s > IDLE_S:
            self.end(token)
            return None
        if touch:
            session.used_s = now_s
        return session

    def end(self, token: str | None) -> None:
        """Sign off."""
        self._open.pop(token or "", None)


class Tries:
    """Wrong PINs, counted by id and by address; each name that has failed too often has to wait."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._failed: OrderedDict[str, tuple[int, float]] = OrderedDict()  # name -> wrong tries, may try again at

    def wait_s(self, *names: str) -> float:
        """Seconds until the next try is taken; 0 now."""
        now_s = self._now_s()
        return max((self._failed.get(name, (0, 0.0))[1] - now_s for name in names), default=0.0)

    def failed(self, *names: str) -> None:
        """A wrong PIN."""
        for name in names:
            count = self._failed.pop(name, (0, 0.0))[0] + 1
            over = count - FREE_TRIES
            wait_s = 0.0 if over < 0 else min(FIRST_WAIT_S * 2.0 ** min(over, 20), LONGEST_WAIT_S)
            self._failed[name] = (count, self._now_s() + wait_s)
        while len(self._failed) > MOST_COUNTED:
            self._failed.popitem(last=False)

    def passed(self, *names: str) -> None:
        """The right PIN."""
        for name in names:
            self._failed.pop(name, None)
