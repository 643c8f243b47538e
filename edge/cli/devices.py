"""``lanepulse devices``: what is configured, and who answers there."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import click

from drivers.driver import DriverFault, Identity, Surroundings
from edge.cli.main import DONE, UNREACHABLE
from edge.cli.options import Settings, common
from edge.cli.output import say_json, say_table
from edge.cli.watch import command as watch
from edge.clock import Clock
from edge.config import Device

PROBE_S = 10.0  # assumed: five times what the slowest device of ours needs


@click.group("devices")
def command() -> None:
    """What is configured, and what answers."""


command.add_command(watch)


@command.command(
    "list", epilog="\b\nExamples:\n  lanepulse devices list --config lane.toml\n  lanepulse devices list --json"
)
@common
def list_devices(settings: Settings) -> int:
    """The configured devices and the rates that are expected of them. Touches none of them."""
    devices = [_described(device) for device in settings.load().devices.values()]
    if settings.json:
        say_json({"devices": devices})
        return DONE
    rows = []
    for device in devices:
        streams = ", ".join(f"{stream['stream']} each {stream['period_s']:g} s" for stream in device["streams"])
        rows.append((device["name"], device["modality"], device["driver"], device["where"], streams))
    say_table(("NAME", "MODALITY", "DRIVER", "WHERE", "STREAMS"), rows)
    return DONE


@command.command(
    "probe", epilog="\b\nExamples:\n  lanepulse devices probe --config lane.toml\n  lanepulse devices probe co2-rear"
)
@click.argument("names", nargs=-1)
@common
def probe(settings: Settings, names: tuple[str, ...]) -> int:
    """Ask the devices who they are; a serial line that the lane holds is told as held. Exit 3 if one is silent."""
    devices = settings.load().devices
    unknown = [name for name in names if name not in devices]
    if unknown:
        raise click.UsageError(f"{unknown[0]}: no such device; configured are {', '.join(devices) or 'none'}")
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # what it would say stands in the answer
    answers = asyncio.run(_probe_all([devices[name] for name in names or devices]))
    if settings.json:
        say_json({"devices": answers})
    else:
        keys = ("name", "answers", "vendor", "model", "serial", "firmware", "cause")
        rows = [
            tuple({True: "yes", False: "no", "": None}.get(answer[key], answer[key]) for key in keys)
            for answer in answers
        ]
        say_table(tuple(key.upper() for key in keys), rows)
    return DONE if all(answer["answers"] for answer in answers) else UNREACHABLE


def where(device: Device) -> str:
    """The wire's place of a device, as its table says it."""
    config = device.config
    place = next(
        (str(getattr(config, key)) for key in ("port", "address", "listen", "bind") if hasattr(config, key)), ""
    )
    unit = getattr(config, "unit", None)
    return place if unit is None else f"{place} unit {unit}"


def _described(device: Device) -> dict[str, Any]:
    expected = device.driver.expected(device.config)
    return {
        "name": device.name,
        "modality": str(device.driver.MODALITY),
        "driver": device.driver_name,
        "where": where(device),
        "response": None if device.response is None else str(device.response),
        "streams": [
            {"stream": stream.stream, "period_s": stream.period_s, "silence_s": stream.silence_s} for stream in expected
        ],
    }


async def _probe_all(devices: list[Device]) -> list[dict[str, Any]]:
    """All at once, but those on one line one after the other: a serial line has one owner."""
    locks: dict[str, asyncio.Lock] = {}
    clock = Clock()
    around = Surroundings(
        clock.now_utc_ns, clock.monotonic_ns, clock.quality, lambda *_: None, lambda _: None, lambda *_: None
    )
    async with asyncio.TaskGroup() as tasks:
        asked = [
            tasks.create_task(_probe(device, around, locks.setdefault(where(device).split(" ")[0], asyncio.Lock())))
            for device in devices
        ]
    return [task.result() for task in asked]


async def _probe(device: Device, around: Surroundings, line: asyncio.Lock) -> dict[str, Any]:
    identity, cause = Identity(), None
    async with line:
        try:
            async with asyncio.timeout(PROBE_S):
                identity = await device.driver.probe(device.name, device.config, around)
        except TimeoutError as error:
            cause = str(error) or f"no answer within {PROBE_S:g} s; check power, cable and address"
        except (DriverFault, OSError) as error:
            cause = str(error)
        except Exception as error:  # a driver of somebody else's must not hide the other devices' answers
            cause = f"defect in driver {device.driver_name}: {type(error).__name__}: {error}"
    return {
        "name": device.name,
        "answers": cause is None,
        "cause": cause,
        "vendor": identity.vendor,
        "model": identity.model,
        "serial": identity.serial,
        "firmware": identity.firmware,
    }
