"""``co2.csv``: one row a gas sample, in any order."""

from __future__ import annotations

from drivers.reading import ClockQuality, GasSample, Point, Stamp
from fusion.bundle.table import Columns, Row, Table, read_table

OK = "ok"
NAMES = ("time_utc", "probe", "point", "co2_ppm", "temperature_c", "humidity_pct", "pressure_hpa", "status")
COLUMNS = Columns("co2.csv", NAMES, ("time_utc", "probe", "point", "co2_ppm", "status"), (OK,))
MOST_PPM = 1_000_000.0  # parts in a million


def read_co2(text: bytes, clock: ClockQuality) -> Table[GasSample]:
    """Gas samples; ``co2_ppm`` is None wherever the probe did not vouch for it.

    Raises:
        FileFault: see `read_table`.
    """
    return read_table(text, COLUMNS, lambda row: _sample(row, clock))


def _sample(row: Row, clock: ClockQuality) -> GasSample:
    time_utc_ns = row.time_utc_ns()
    try:
        point = Point(row.word("point"))
    except ValueError:
        raise row.fault("point", f"{row.word('point')[:40]!r} is none of {', '.join(Point)}") from None
    co2_ppm, status = _vouched(row.number("co2_ppm"), row.word("status"))
    return GasSample(
        device=row.word("probe"),
        stamp=Stamp(time_utc_ns, time_utc_ns, 0, clock),
        point=point,
        co2_ppm=co2_ppm,
        status=status,
        temperature_c=row.number("temperature_c"),
        humidity_pct=row.number("humidity_pct"),
        pressure_hpa=row.number("pressure_hpa"),
    )


def _vouched(co2_ppm: float | None, status: str) -> tuple[float | None, str]:
    """CO2 with status "ok", or None with the reason: a bad status beside a healthy number is still bad."""
    if status != OK:
        return None, status or "no status"
    if co2_ppm is None:
        return None, "no value"
    if not 0 <= co2_ppm <= MOST_PPM:
        return None, f"{co2_ppm:g} ppm is outside 0 to {MOST_PPM:g}"
    return co2_ppm, OK


def cells(sample: GasSample) -> tuple[object, ...]:
    """The row of a sample, in the order of `NAMES`; the time is left to the writer."""
    return (
        sample.device,
        sample.point.value,
        sample.co2_ppm,
        sample.temperature_c,
        sample.humidity_pct,
        sample.pressure_hpa,
        sample.status,
    )
