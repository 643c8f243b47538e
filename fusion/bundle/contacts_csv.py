"""``contacts.csv``: lamps of closed detectors, one row a change."""

from __future__ import annotations

from drivers.reading import ClockQuality, ContactChange, ContactState, Stamp
from fusion.bundle.table import Columns, Row, Table, read_table

NAMES = ("time_utc", "device", "state")
COLUMNS = Columns("contacts.csv", NAMES, NAMES, tuple(ContactState))


def read_contacts(text: bytes, clock: ClockQuality) -> Table[ContactChange]:
    """Changes of lamps.

    Raises:
        FileFault: see `read_table`; also a state that is no lamp.
    """
    return read_table(text, COLUMNS, lambda row: _change(row, clock))


def _change(row: Row, clock: ClockQuality) -> ContactChange:
    time_utc_ns = row.time_utc_ns()
    try:
        state = ContactState(row.word("state"))
    except ValueError:
        raise row.fault("state", f"{row.word('state')[:40]!r} is none of {', '.join(ContactState)}") from None
    return ContactChange(row.word("device"), Stamp(time_utc_ns, time_utc_ns, 0, clock), state)


def cells(change: ContactChange) -> tuple[object, ...]:
    """The row of a change, in the order of `NAMES`; the time is left to the writer."""
    return (change.device, change.state.value)
