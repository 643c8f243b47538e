"""``weather.csv``: outdoor wind, one row a sample, in any order."""

from __future__ import annotations

from drivers.reading import ClockQuality, Stamp, WeatherSample
from fusion.bundle.table import Columns, Row, Table, read_table

NAMES = ("time_utc", "wind_m_s", "gust_m_s", "temperature_c", "pressure_hpa")
COLUMNS = Columns("weather.csv", NAMES, ("time_utc", "wind_m_s"))
MOST_WIND_M_S = 120.0  # assumed: above any gust ever measured at the ground but one


def read_weather(text: bytes, device: str, clock: ClockQuality) -> Table[WeatherSample]:
    """Weather samples of ``device``; the file has no column for it.

    Raises:
        FileFault: see `read_table`; also a wind below 0 or above `MOST_WIND_M_S`.
    """
    return read_table(text, COLUMNS, lambda row: _sample(row, device, clock))


def _sample(row: Row, device: str, clock: ClockQuality) -> WeatherSample:
    time_utc_ns = row.time_utc_ns()
    wind_m_s = _wind(row, "wind_m_s")
    return WeatherSample(
        device=device,
        stamp=Stamp(time_utc_ns, time_utc_ns, 0, clock),
        wind_m_s=wind_m_s,
        gust_m_s=_wind(row, "gust_m_s"),
        temperature_c=row.number("temperature_c"),
        pressure_hpa=row.number("pressure_hpa"),
        status="ok" if wind_m_s is not None else "no value",
    )


def _wind(row: Row, column: str) -> float | None:
    speed_m_s = row.number(column)
    if speed_m_s is not None and not 0 <= speed_m_s <= MOST_WIND_M_S:
        raise row.fault(column, f"{speed_m_s:g} m/s is outside 0 to {MOST_WIND_M_S:g}")
    return speed_m_s


def cells(sample: WeatherSample) -> tuple[object, ...]:
    """The row of a sample, in the order of `NAMES`; the time is left to the writer.

    A wind that the instrument does not vouch for is unknown: the file has no column that could say so.
    """
    good = sample.status == "ok"
    wind = (sample.wind_m_s, sample.gust_m_s) if good else (None, None)
    return (*wind, sample.temperature_c, sample.pressure_hpa)
