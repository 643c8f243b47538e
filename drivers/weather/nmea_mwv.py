"""Any anemometer that says NMEA 0183 ``MWV`` on a serial line: speed as it comes, gust and direction by us.

Gust is the largest mean of 3 s in the last 10 min (WMO-No. 8, volume I, chapter 5), over arrival times, and None until
3 s without a break have been heard. Direction is the vector average of the same 10 min, so that north is no jump.
Relative and true wind may alternate on one line, and several talkers may share it: one of each is taken.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from math import atan2, cos, degrees, hypot, radians, sin
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from drivers.driver import Expected, Identity, Surroundings
from drivers.reading import Modality, Stamp, WeatherSample
from drivers.weather import mwv
from drivers.wire.nmea import Reject, Sentence, SentenceReader
from drivers.wire.serial_port import SerialPort

MODALITY = Modality.WEATHER
GUST_MEAN_S, WINDOW_S = 3.0, 600.0  # WMO-No. 8, volume I, chapter 5
BREAK_S = 2.0  # assumed: over this between two speeds, a mean of 3 s is one of something else
CALM_RESULTANT = 1e-9  # m/s; below, opposite winds have cancelled and there is no direction
TALKERS_KEPT = 8  # assumed: nobody has more on one line; further ones are not counted


class Config(BaseModel):
    """The ``[devices.<name>]`` table of an anemometer that speaks MWV."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    driver: Literal["weather.nmea_mwv"]
    port: str = Field(min_length=1, description="Serial line, by a name that survives replugging")
    baud_rate: Literal[2400, 4800, 9600, 19200, 38400] = 4800
    period_s: float = Field(1.0, ge=0.05, le=60, description="Between sentences, as the anemometer is set")
    silence_s: float = Field(5.0, gt=0, le=600)
    talker: str = Field("", pattern=r"^([A-Z]{2})?$", description="Two letters before MWV; empty takes the first heard")
    reference: Literal["R", "T"] = Field("R", description="R relative, as a fixed mast measures; T computed")
    iced_after_s: float = Field(600.0, ge=10, le=7200, description="Exactly 0.0 for this long is ice, not calm")


@dataclass(slots=True)
class _Second:
    """One second of the window: its largest 3 s mean, and the sum of its wind vectors."""

    number: int
    gust_m_s: float | None = None
    north: float = 0.0
    east: float = 0.0


class Window:
    """The last ten minutes; bounded by its seconds, whatever the rate."""

    def __init__(self) -> None:
        self._seconds: deque[_Second] = deque(maxlen=round(WINDOW_S) + 1)
        self._recent: deque[tuple[int, float]] = deque(maxlen=1024)  # (monotonic ns, m/s) of the last 3 s
        self._unbroken_since_ns = 0

    def see(self, speed_m_s: float, angle_deg: float | None, now_ns: int) -> None:
        """A speed, and where it came from in degrees, at ``now_ns`` monotonic."""
        if not self._recent or now_ns - self._recent[-1][0] > BREAK_S * 1e9:
            self.broken()
            self._unbroken_since_ns = now_ns
        self._recent.append((now_ns, speed_m_s))
        while now_ns - self._recent[0][0] >= GUST_MEAN_S * 1e9:
            self._recent.popleft()
        second = self._second(now_ns)
        if now_ns - self._unbroken_since_ns >= GUST_MEAN_S * 1e9:
            mean = sum(speed for _, speed in self._recent) / len(self._recent)
            second.gust_m_s = max(mean, second.gust_m_s or 0.0)
        if angle_deg is not None:
            second.north += speed_m_s * cos(radians(angle_deg))
            second.east += speed_m_s * sin(radians(angle_deg))

    def broken(self) -> None:
        """There was no speed: the next 3 s begin anew."""
        self._recent.clear()

    def gust_m_s(self, now_ns: int) -> float | None:
        """Largest 3 s mean of the window, or None where there was none."""
        return max((s.gust_m_s for s in self._kept(now_ns) if s.gust_m_s is not None), default=None)

    def direction_deg(self, now_ns: int) -> float | None:
        """Vector-average direction of the window, 0 to 360, weighted by speed; None in a calm."""
        north = sum(s.north for s in self._kept(now_ns))
        east = sum(s.east for s in self._kept(now_ns))
        return None if hypot(north, east) < CALM_RESULTANT else degrees(atan2(east, north)) % 360

    def _second(self, now_ns: int) -> _Second:
        number = now_ns // 10**9
        if not self._seconds or self._seconds[-1].number != number:
            self._seconds.append(_Second(number))
        return self._seconds[-1]

    def _kept(self, now_ns: int) -> list[_Second]:
        oldest = now_ns // 10**9 - WINDOW_S
        return [second for second in self._seconds if second.number > oldest]


@dataclass(frozen=True, slots=True)
class Heard:
    """What one sentence of our anemometer gave; ``wind_m_s`` is None exactly when ``status`` is not "ok"."""

    wind_m_s: float | None
    gust_m_s: float | None
    status: str


class Station:
    """Sans-IO: bytes in, winds and rejects out. ``passed_over`` counts what was heard and is not ours."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._reader = SentenceReader()
        self._window = Window()
        self._zero_since_ns: int | None = None
        self._last_direction_deg: float | None = None
        self.talker = config.talker
        self.unit = ""
        self.passed_over: Counter[str] = Counter()
        self.heard_bytes = 0

    def feed(self, chunk: bytes, now_ns: int) -> list[Heard | Reject]:
        """All that the chunk completes, in order; ``now_ns`` is monotonic."""
        self.heard_bytes += len(chunk)
        out: list[Heard | Reject] = []
        for item in self._reader.feed(chunk):
            if isinstance(item, Reject):
                out.append(item)
            elif item.formatter == "MWV":
                out.extend(self._wind(item, now_ns))
        return out

    def _wind(self, sentence: Sentence, now_ns: int) -> list[Heard | Reject]:
        raw = f"${sentence.talker}{sentence.formatter},{','.join(sentence.fields)}".encode("ascii")
        try:
            wind = mwv.decode(sentence)
        except ValueError:  # its words name the value, and causes are counted: the bytes tell the value
            return [Reject("MWV with a field that is not of its form", raw)]
        if not self._is_ours(sentence.talker, "R" if wind.relative else "T"):
            return []
        self.unit = sentence.fields[3].strip()
        heard = self._judge(wind, now_ns)
        return [Reject("MWV without a speed", raw), heard] if wind.status == "no speed" else [heard]

    def _is_ours(self, talker: str, reference: str) -> bool:
        if reference == self._config.reference and self.talker in ("", talker):
            self.talker = talker
            return True
        other = f"{talker}MWV with {reference}"
        if other in self.passed_over or len(self.passed_over) < TALKERS_KEPT:
            self.passed_over[other] += 1
        return False

    def _judge(self, wind: mwv.Wind, now_ns: int) -> Heard:
        if wind.speed_m_s is None:
            self._window.broken()
            return Heard(None, None, wind.status)
        self._window.see(wind.speed_m_s, wind.angle_deg, now_ns)
        if wind.speed_m_s > 0:
            self._zero_since_ns = None
            self._last_direction_deg = self._window.direction_deg(now_ns)
        elif self._zero_since_ns is None:
            self._zero_since_ns = now_ns
        if self._zero_since_ns is not None and now_ns - self._zero_since_ns >= self._config.iced_after_s * 1e9:
            return Heard(None, None, self._iced())
        return Heard(wind.speed_m_s, self._window.gust_m_s(now_ns), "ok")

    def _iced(self) -> str:
        last = self._last_direction_deg
        before = "" if last is None else f"; the last wind came from {last:.0f} degrees"
        return f"iced or stuck: exactly 0.0 for over {self._config.iced_after_s:g} s{before}; look at the anemometer"

    def silence(self) -> str:
        """Why there is no wind, from what was heard instead, and what to do."""
        if self.passed_over:
            others = ", ".join(f"{what} {times}x" for what, times in sorted(self.passed_over.items()))
            return f"not {self.talker or 'any'} with {self._config.reference}, but {others}; set talker and reference"
        if self.heard_bytes:
            return f"{self.heard_bytes} bytes came, no MWV; check baud_rate (4800 or 9600) and the output format"
        return "no bytes; check power and cable"


def expected(config: Config) -> tuple[Expected, ...]:
    """One stream, a sample a sentence."""
    return (Expected("wind", config.period_s, config.silence_s),)


async def _hear(
    name: str, config: Config, station: Station, line: SerialPort, around: Surroundings
) -> AsyncGenerator[Heard, None]:
    loop = asyncio.get_running_loop()
    until_s = loop.time() + config.silence_s
    while True:
        try:
            chunk = await line.read(max(0.0, until_s - loop.time()))
        except TimeoutError:
            raise TimeoutError(f"{name}: no wind for {config.silence_s:g} s: {station.silence()}") from None
        for item in station.feed(chunk, around.monotonic_ns()):
            if isinstance(item, Reject):
                around.reject(f"{name}: {item.cause}", item.raw)
            else:
                until_s = loop.time() + config.silence_s
                yield item


async def probe(name: str, config: Config, around: Surroundings) -> Identity:
    """Talker and unit of the first MWV sentence; the wire tells neither maker nor serial number.

    Raises:
        TimeoutError: no sentence in ``silence_s``; says what came instead.
        ConnectionError: the line is lost.
    """
    station = Station(config)
    async with (
        SerialPort(config.port, config.baud_rate) as line,
        aclosing(_hear(name, config, station, line, around)) as winds,
    ):
        await anext(winds)
    return Identity(model=f"NMEA 0183 talker {station.talker}, MWV {config.reference} in {station.unit}")


async def readings(name: str, config: Config, around: Surroundings) -> AsyncIterator[WeatherSample]:
    """A sample a sentence, with a wind or the reason why not; what is no sentence goes to ``around.reject``.

    Raises:
        TimeoutError: no sentence of ours for ``silence_s``; says what came instead.
        ConnectionError: the line is lost.
    """
    async with (
        SerialPort(config.port, config.baud_rate) as line,
        aclosing(_hear(name, config, Station(config), line, around)) as winds,
    ):
        async for heard in winds:
            now_ns = around.now_utc_ns()
            stamp = Stamp(now_ns, now_ns, around.monotonic_ns(), around.clock())
            yield WeatherSample(name, stamp, heard.wind_m_s, heard.gust_m_s, status=heard.status)
