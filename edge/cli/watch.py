"""``lanepulse devices watch``: live readings in SI, taken from the lane for as long as somebody looks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from drivers.reading import Reading
from edge.cli.main import DONE, UNREACHABLE
from edge.cli.options import Settings, common
from edge.cli.output import clean, say, say_json, say_screen, tell
from edge.clock import Clock
from edge.config import Device
from edge.lease import leased
from edge.quarantine import Quarantine
from edge.supervisor import Supervised
from edge.watching import Panel, Responses, velocity
from fusion.bundle.read import responses_of

QUEUE_READINGS = 1_000  # a screen that is slower than its devices makes them wait, and loses nothing
REDRAW_S = 0.25  # assumed: what an eye follows
SMALLEST = (40, 10)  # columns and rows of a terminal that says it has fewer


@click.command(
    "watch",
    epilog="\b\nExamples:\n  lanepulse devices watch chassis\n  lanepulse devices watch co2-rear --seconds 60 --json",
)
@click.argument("names", nargs=-1)
@click.option("--seconds", type=click.FloatRange(0.1, 86_400), help="End after that long. Default: until Ctrl-C.")
@common
def command(settings: Settings, names: tuple[str, ...], seconds: float | None) -> int:
    """Live readings with a plot. The lane is without these devices until it ends: they are `in maintenance`.

    Without a NAME all devices are watched. In a pipe there is one line a reading. Exit 3 if none gave any.
    """
    config = settings.load()
    places = settings.places(config)
    unknown = [name for name in names if name not in config.devices]
    if unknown:
        raise click.UsageError(f"{unknown[0]}: no such device; configured are {', '.join(config.devices) or 'none'}")
    devices = [config.devices[name] for name in dict.fromkeys(names) or config.devices]
    with contextlib.ExitStack() as leases, tempfile.TemporaryDirectory(prefix="lanepulse-watch-") as scratch:
        for device in devices:
            leases.enter_context(leased(places, device.name))
        tell(f"in maintenance until this ends: {', '.join(device.name for device in devices)}")
        heard = asyncio.run(_watch(devices, _view(settings, devices), Path(scratch), seconds))
    return DONE if heard else UNREACHABLE


class _View:
    """A line a reading, as text; the forms of it are below."""

    def __init__(self, devices: Sequence[Device]) -> None:
        self.panels = {device.name: Panel(device.name, _responses(device)) for device in devices}

    def see(self, reading: Reading) -> None:
        say(_line(self.panels[reading.device].see(reading)))

    def draw(self, states: Mapping[str, str]) -> None:
        """Called from time to time."""


class _Json(_View):
    def see(self, reading: Reading) -> None:
        say_json(self.panels[reading.device].see(reading))


class _Screen(_View):
    def __init__(self, devices: Sequence[Device]) -> None:
        super().__init__(devices)
        self._ascii_only = (sys.stdout.encoding or "").casefold().replace("-", "") != "utf8"

    def see(self, reading: Reading) -> None:
        self.panels[reading.device].see(reading)

    def draw(self, states: Mapping[str, str]) -> None:
        size = shutil.get_terminal_size()
        width, height = max(size.columns, SMALLEST[0]), max(size.lines, SMALLEST[1])
        rows = [
            row
            for name, panel in self.panels.items()
            for row in panel.rows(width - 1, states[name], ascii_only=self._ascii_only)
        ]
        say_screen([clean(row) for row in rows[: height - 1]])


def _view(settings: Settings, devices: Sequence[Device]) -> _View:
    if settings.json:
        return _Json(devices)
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        logging.getLogger("lanepulse").setLevel(logging.CRITICAL)  # what it would say stands on the screen
        return _Screen(devices)
    return _View(devices)


def _responses(device: Device) -> Responses:
    text = None if device.response is None else device.response.read_bytes()
    found, _, notes = responses_of(text, time.time_ns())
    for note in notes:
        tell(f"{device.name}: {note}")
    return found


async def _watch(devices: Sequence[Device], view: _View, scratch: Path, seconds: float | None) -> bool:
    """Whether any reading came."""
    queue: asyncio.Queue[Reading] = asyncio.Queue(QUEUE_READINGS)
    clock = Clock()
    supervised = [_supervised(device, queue, scratch, clock) for device in devices]
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    heard = False
    loop = asyncio.get_running_loop()
    until_s = None if seconds is None else loop.time() + seconds
    with _tasks([device.run() for device in supervised]):
        drawn_s = 0.0
        while until_s is None or loop.time() < until_s:
            reading = await _next(queue, REDRAW_S if until_s is None else min(REDRAW_S, until_s - loop.time()))
            if reading is not None:
                heard = True
                view.see(reading)
            if loop.time() - drawn_s >= REDRAW_S:
                drawn_s = loop.time()
                view.draw({device.name: device.health().state for device in supervised})
    for device in supervised if not heard else ():
        tell(f"{device.name}: {device.health().state}")
    return heard


def _supervised(device: Device, queue: asyncio.Queue[Reading], scratch: Path, clock: Clock) -> Supervised:
    return Supervised(
        device.name,
        device.driver,
        device.config,
        queue,
        Quarantine(scratch),
        now_utc_ns=clock.now_utc_ns,
        monotonic_ns=clock.monotonic_ns,
        clock=clock.quality,
        notes={},
    )


async def _next(queue: asyncio.Queue[Reading], wait_s: float) -> Reading | None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(wait_s, 0.0)):
            return await queue.get()
    return None


@contextlib.contextmanager
def _tasks(coroutines: Sequence[Coroutine[Any, Any, None]]) -> Iterator[None]:
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


def _line(shown: Mapping[str, object]) -> str:
    """One reading as text; what is usual is left out."""
    words = [str(shown["time_utc"]), str(shown["device"])]
    if shown["kind"] == "vibration":
        known = "rms_m_s" in shown
        rms = shown.get("rms_m_s" if known else "rms_counts")
        moved = "no samples" if not isinstance(rms, float) else f"rms {velocity(rms, 'm/s' if known else 'counts')}"
        words += [str(shown["sensor"]), f"{shown['rate_hz']:g} Hz", moved]
    else:
        usual = ("device", "time_utc", "arrival_utc", "status", "kind")
        told = {name: value for name, value in shown.items() if name not in usual and value is not None}
        words += [f"{name} {_short(value)}" for name, value in told.items()]
    if shown["status"] != "ok":
        words.append(str(shown["status"]))
    return "  ".join(words)


def _short(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
