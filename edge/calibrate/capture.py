"""A device's raw signals for one calibration: one stream, open from the first step to the last, taken step by step.

Between steps what comes is thrown away, so that a person may take an hour over a gas cylinder. A device that is lost
ends the calibration with its cause; nothing has been written by then.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from calibration.procedures.procedure import BadSetup, Step
from drivers.co2 import maintenance
from drivers.driver import Surroundings
from drivers.presence import modbus_io
from drivers.reading import GasSample, Modality, Radiograph, RadiometricFrame, VibrationBlock
from edge.config import Device

PATIENCE_S = 900.0  # assumed: a regulator, a long line and five times T90
LEAST_SETTLED = 16  # readings in a window before it can be called settled
LATE_S = 3.0  # seconds of data by which another sensor may be behind
MOST_RADIOGRAPHS_BYTES = 96 * 1024 * 1024  # of a step
MOST_FRAMES_BYTES = 64 * 1024 * 1024  # of a step; three steps are below what raw data may hold
Arrays = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Live:
    """What a person sees while it is measured."""

    text: str
    share: float  # of the step's time, 0..1
    settled: bool | None  # None where nothing has to settle


@dataclass(frozen=True, slots=True)
class Item:
    """Something that a device gave, and when it came (monotonic ns)."""

    at_ns: int
    what: Any


Show = Callable[[Live], None]


class Feed:
    """What a device gives, while somebody collects."""

    def __init__(self, items: AsyncIterator[Item], silence_s: float) -> None:
        self._items, self._silence_s = items, silence_s
        self._queue: asyncio.Queue[Item] = asyncio.Queue(10_000)
        self._wanted = False
        self._lost: BaseException | None = None
        self.began = asyncio.Event()  # the stream is open: the first item came

    async def pump(self) -> None:
        """Until the device is lost."""
        try:
            async for item in self._items:
                self.began.set()
                if self._wanted:
                    await self._queue.put(item)
            self._lost = ConnectionError("the device ended its stream")
        except Exception as error:
            self._lost = error
        self.began.set()

    async def collect(self) -> AsyncGenerator[Item, None]:
        """Items from now on. Raises what the device was lost by."""
        self._queue = asyncio.Queue(10_000)
        self._wanted = True
        try:
            while True:
                if self._lost is not None and self._queue.empty():
                    raise self._lost
                try:
                    async with asyncio.timeout(0.25):
                        item = await self._queue.get()
                except TimeoutError:
                    continue
                yield item
        finally:
            self._wanted = False


@asynccontextmanager
async def open_feed(device: Device, around: Surroundings) -> AsyncIterator[Feed]:
    """The device's stream, open while the body runs; it is closed as its driver closes it: the device is as it was."""
    feed = Feed(_items(device, around), 0.0)
    pumping = asyncio.create_task(feed.pump())
    try:
        yield feed
    finally:
        pumping.cancel()
        await asyncio.gather(pumping, return_exceptions=True)


async def _items(device: Device, around: Surroundings) -> AsyncIterator[Item]:
    if isinstance(device.config, maintenance.Config):
        async with aclosing(maintenance.shown(device.name, device.config, around)) as numbers:
            async for at_ns, ppm in numbers:
                yield Item(at_ns, ppm)
        return
    if isinstance(device.config, modbus_io.Config):
        async with aclosing(modbus_io.polls(device.name, device.config, around)) as switches:
            async for at_ns, utc_ns, on in switches:
                yield Item(at_ns, (utc_ns, on))
        return
    stream = device.driver.readings(device.name, device.config, around)
    try:
        async for reading in stream:
            yield Item(around.monotonic_ns(), reading)
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()


@dataclass(slots=True)
class Captured:
    """One step's arrays, and what the device said beside them."""

    arrays: Arrays
    rates_hz: dict[str, float] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)  # sensor -> channel code
    told: dict[str, Any] = field(default_factory=dict)  # what the device said of what it gave


async def capture(
    feed: Feed, device: Device, step: Step, about: Mapping[str, Any], show: Show, now_ns: Callable[[], int]
) -> Captured:
    """Measure one step.

    Raises:
        BadSetup: it does not settle, or nothing comes.
        DriverFault, TimeoutError, OSError: the device is lost.
    """
    patience_s = float(about.get("patience_s", PATIENCE_S))
    try:
        async with asyncio.timeout(patience_s + step.seconds):
            if device.driver.MODALITY is Modality.VIBRATION:
                return await _vibration(feed, step, about, show)
            if device.driver.MODALITY is Modality.CO2:
                return await _gas(feed, step, show, now_ns)
            if device.driver.MODALITY is Modality.MMWAVE:
                return await _frames(feed, step, about, show)
            if device.driver.MODALITY is Modality.XRAY:
                return await _radiographs(feed, step, about, show)
            if device.driver.MODALITY is Modality.PRESENCE:
                return await _switches(feed, step, about, show)
    except TimeoutError as error:
        if str(error):
            raise
        wanted = "nothing came" if step.settle is None else f"not settled to {step.settle:g}"
        raise BadSetup(f"{step.key}: {wanted} within {patience_s:g} s; check the device and the reference") from None
    raise BadSetup(f"{device.name}: nothing can be captured of a {device.driver.MODALITY}")


async def _vibration(feed: Feed, step: Step, about: Mapping[str, Any], show: Show) -> Captured:
    """Counts of each sensor on one time axis, NaN where nothing came."""
    blocks: dict[str, list[VibrationBlock]] = {}
    ends_ns: dict[str, int] = {}
    start_ns = 0
    names = about.get("channel_map", {})
    async with aclosing(feed.collect()) as items:
        async for item in items:
            block = item.what
            if not isinstance(block, VibrationBlock):
                continue
            sensor = names.get(block.sensor, block.sensor)
            start_ns = start_ns or block.stamp.time_utc_ns
            blocks.setdefault(sensor, []).append(block)
            ends_ns[sensor] = max(block.end_utc_ns, ends_ns.get(sensor, 0))
            first_s = (min(ends_ns.values()) - start_ns) / 1e9
            last_s = (max(ends_ns.values()) - start_ns) / 1e9
            peak = float(np.max(np.abs(block.samples - np.median(block.samples)))) if len(block.samples) else 0.0
            show(Live(f"{sensor} peak {peak:.0f} counts", min(1.0, first_s / step.seconds), None))
            if first_s >= step.seconds or last_s >= step.seconds + LATE_S:
                break
    begins_ns = [found[0].stamp.time_utc_ns for found in blocks.values()]
    prompt_ns = [begin for begin in begins_ns if begin <= start_ns + round(LATE_S * 1e9)]
    common_ns = max(prompt_ns)  # one axis for all: a huddle compares sample with sample
    seconds = min(step.seconds, (max(min(ends_ns.values()), max(ends_ns.values()) - LATE_S * 1e9) - common_ns) / 1e9)
    arrays = {f"{step.key}/{sensor}": _laid(found, common_ns, seconds) for sensor, found in blocks.items()}
    rates = {sensor: found[0].rate_hz for sensor, found in blocks.items()}
    return Captured(arrays, rates, {sensor: found[0].channel for sensor, found in blocks.items()})


def _laid(blocks: list[VibrationBlock], start_ns: int, seconds: float) -> Any:
    rate_hz = blocks[0].rate_hz
    counts = np.full(round(seconds * rate_hz), np.nan)
    for block in blocks:
        at = round((block.stamp.time_utc_ns - start_ns) * rate_hz / 1e9)
        first, last = max(at, 0), min(at + len(block.samples), len(counts))
        if last > first:
            counts[first:last] = block.samples[first - at : last - at]
    return counts


async def _gas(feed: Feed, step: Step, show: Show, now_ns: Callable[[], int]) -> Captured:
    began_ns = now_ns()
    t: list[float] = []
    ppm: list[float] = []
    async with aclosing(feed.collect()) as items:
        async for item in items:
            value = item.what
            if isinstance(value, GasSample):
                value = math.nan if value.co2_ppm is None else value.co2_ppm
            t.append((item.at_ns - began_ns) / 1e9)
            ppm.append(float(value))
            if _gas_done(t, ppm, step, show):
                break
    first = 0 if step.settle is None else next(i for i, at in enumerate(t) if at >= t[-1] - step.seconds)
    return Captured({f"{step.key}/t_s": np.array(t[first:]), f"{step.key}/ppm": np.array(ppm[first:])})


def _gas_done(t: list[float], ppm: list[float], step: Step, show: Show) -> bool:
    said = f"{ppm[-1]:.1f} ppm" if math.isfinite(ppm[-1]) else "no number"
    if step.settle is None:
        show(Live(said, min(1.0, t[-1] / step.seconds), None))
        return t[-1] >= step.seconds
    window = [(at, value) for at, value in zip(t, ppm, strict=True) if at >= t[-1] - step.seconds]
    there = np.array([pair for pair in window if math.isfinite(pair[1])])
    covered = t[-1] - t[0] >= step.seconds
    settled = False
    if covered and len(there) >= LEAST_SETTLED:
        drift = abs(float(np.polyfit(there[:, 0], there[:, 1], 1)[0])) * step.seconds
        settled = drift <= max(step.settle, 0.005 * abs(float(there[:, 1].mean())))
        said += f", drift {drift:.1f} ppm"
    show(Live(said, min(1.0, (t[-1] - t[0]) / step.seconds), settled))
    return settled


async def _frames(feed: Feed, step: Step, about: Mapping[str, Any], show: Show) -> Captured:
    """Pictures of the last ``seconds``, ``frames`` of them at the least, once their level has settled."""
    frames: deque[RadiometricFrame] = deque()
    began_ns, least = 0, int(about["frames"])
    async with aclosing(feed.collect()) as items:
        async for item in items:
            frame = item.what
            if not isinstance(frame, RadiometricFrame):
                continue
            if frame.status.startswith(("frozen", "stalled")):
                raise BadSetup(f"{step.key}: {frame.status}: look at the imager first")
            if least * frame.frame_k.nbytes > MOST_FRAMES_BYTES:
                raise BadSetup(f"frames={least}: more than {MOST_FRAMES_BYTES >> 20} MB; give --set frames=16 or more")
            frames.append(frame)
            began_ns = began_ns or item.at_ns
            spent_s = (item.at_ns - began_ns) / 1e9
            if len(frames) > max(least, 16) and _window_s(frames) > step.seconds:
                frames.popleft()
            if _frames_done(frames, least, spent_s, step, show):
                break
    stack = np.stack([frame.frame_k for frame in frames])
    return Captured({f"{step.key}/frames": stack})


def _window_s(frames: deque[RadiometricFrame]) -> float:
    return (frames[-1].stamp.arrival_monotonic_ns - frames[0].stamp.arrival_monotonic_ns) / 1e9


def _frames_done(frames: deque[RadiometricFrame], least: int, spent_s: float, step: Step, show: Show) -> bool:
    level = np.array([np.nanmedian(frame.frame_k) for frame in (frames[0], frames[len(frames) // 2], frames[-1])])
    said = f"{level[-1]:.2f} K, {len(frames)} pictures"
    enough = len(frames) >= least and spent_s >= step.seconds
    share = min(1.0, len(frames) / least, spent_s / step.seconds if step.seconds > 0 else 1.0)
    if step.settle is None:
        show(Live(said, share, None))
        return enough
    settled = enough and bool(np.ptp(level) <= step.settle)
    show(Live(f"{said}, drift {np.ptp(level):.2f} K", share, settled))
    return settled


async def _radiographs(feed: Feed, step: Step, about: Mapping[str, Any], show: Show) -> Captured:
    """The next ``images`` radiographs that arrive; those of before are of lorries."""
    wanted, found = int(about["images"]), list[Radiograph]()
    began_ns = time.time_ns()
    show(Live(f"waiting for {wanted} scans", 0.0, None))
    async with aclosing(feed.collect()) as items:
        async for item in items:
            one = item.what
            if not isinstance(one, Radiograph) or one.stamp.arrival_utc_ns < began_ns:
                continue
            if one.transmission.size == 0:
                raise BadSetup(f"{step.key}: the object that came is no picture: {one.status[:200]}")
            found.append(one)
            if wanted * one.transmission.nbytes > MOST_RADIOGRAPHS_BYTES:
                raise BadSetup(f"{step.key}: pictures of {one.transmission.nbytes >> 20} MB; scan less long")
            show(Live(f"{len(found)} of {wanted} arrived: {one.status[:80]}", len(found) / wanted, None))
            if len(found) == wanted:
                break
    arrays = {f"{step.key}/image-{n}": one.transmission for n, one in enumerate(found)}
    last = found[-1]
    known = last.row_spacing_m is not None and last.column_spacing_m is not None
    return Captured(arrays, told={"spacing_m": [last.row_spacing_m, last.column_spacing_m]} if known else {})


async def _switches(feed: Feed, step: Step, about: Mapping[str, Any], show: Show) -> Captured:
    """Polls of the inputs: for ``seconds``, or until what came on has been off for ``clear_s``."""
    clear_s = about.get("clear_s")
    t, utc, states = list[float](), list[float](), list[tuple[bool, ...]]()
    began_ns, last_on_s = 0, math.nan
    async with aclosing(feed.collect()) as items:
        async for item in items:
            utc_ns, on = item.what
            began_ns = began_ns or item.at_ns
            at_s = (item.at_ns - began_ns) / 1e9
            t.append(at_s)
            utc.append(utc_ns / 1e9)
            states.append(on)
            last_on_s = at_s if any(on) else last_on_s
            show(Live("inputs " + " ".join("on" if one else "off" for one in on), min(1.0, at_s / step.seconds), None))
            if at_s >= step.seconds or (clear_s is not None and at_s - last_on_s >= float(clear_s)):
                break
    arrays = {"t_s": np.array(t), "utc_s": np.array(utc), "on": np.array(states, np.float64)}
    return Captured({f"{step.key}/{name}": array for name, array in arrays.items()})
