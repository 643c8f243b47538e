"""``make demo``: lorries roll over an emulated lane, and the real daemon judges them. Simulated, and said so.

Emulators, daemon and the reader of its verdicts are processes of their own on real sockets and pseudo-terminals, driven
as a user would drive them. Each lorry leaves when its final verdict is there. ``SPEED`` shortens the gaps between
lorries; the clock always runs as it does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from hil.rig import Emulator, RigFault, emulators
from hil.scenario import (
    FRAMES_HZ,
    SCAN_PIXEL_M,
    SENSITIVITY_COUNTS_PER_M_S,
    Scenario,
    Signals,
    play,
    radiograph,
    read,
    side_view,
)
from hil.world.lorry import SENSORS, geophone_poles
from hil.world.radiometry import View

RATE_HZ = 250.0
CHUNK_S = 0.4  # 100 samples: a digitizer's record
LONGEST_S = 70.0  # of a lorry's signals; the last look is at 45 s
LAST_LOOK_S = 45.0
GAP_S = 3.0  # between lorries at SPEED=1; all of them take some eight minutes
START_S = 30.0
GUSTINESS = 0.2  # SCIENCE 2.4: turbulence of an open yard (assumed)
IMAGER_ADDRESS = "127.0.0.2"  # one of its own, as a camera has; every address of 127/8 is this machine
VIEW = View(rows=48, columns=64, height_m=3.4, netd_k=0.4, channels_k=0.2, baseline_k=0.2, drift_k_per_s=0.0)
SCANNED_AFTER_S = 2.0  # of a scanner in the lane, after the vehicle came
POLICY = "[policy]\nred_contact_searches = true\n\n"  # what this site makes of a closed detector's red lamp
SCENARIOS = Path(__file__).parent / "scenarios"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the lane said of one scenario."""

    scenario: Scenario
    passage_id: str
    verdict: dict[str, Any] | None
    took_s: float


def main() -> int:
    """Exit 0 where every lorry got a final verdict and every bundle weighs the same again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", type=Path, help="scenario files (default: those of the demo)")
    parser.add_argument("--speed", type=float, default=float(os.environ.get("SPEED") or 1.0))
    parser.add_argument("--root", type=Path, help="keep the lane's folders here (default: a temporary folder)")
    arguments = parser.parse_args()
    files = arguments.scenarios or sorted(SCENARIOS.glob("[0-9]*.toml"))
    with tempfile.TemporaryDirectory(prefix="lanepulse-demo-") as scratch:
        root = arguments.root or Path(scratch)
        root.mkdir(parents=True, exist_ok=True)
        try:
            return asyncio.run(_demo([read(file) for file in files], root, max(arguments.speed, 0.1)))
        except RigFault as fault:
            print(f"demo: {fault}", file=sys.stderr)
            return 3


async def _demo(scenarios: list[Scenario], root: Path, speed: float) -> int:
    print("Lanepulse demo: SIMULATED lorries on emulated devices; the daemon is the real one.\n", flush=True)
    async with lane(root, POLICY) as devices:
        verdicts = asyncio.Queue[dict[str, Any]]()
        async with _following(root, verdicts.put_nowait):
            outcomes = [await _lorry(scenario, devices, verdicts, root, GAP_S / speed) for scenario in scenarios]
    return _table(outcomes) | _weigh_again(root)


def lane_emulators(root: Path) -> contextlib.AbstractAsyncContextManager[dict[str, Emulator]]:
    """All devices of the demo's lane."""
    return emulators(
        digitizer=(
            "seedlink_server", "--listen", "127.0.0.1:0", "--station", "XX_L3",
            "--sensors", ",".join(SENSORS), "--rate-hz", f"{RATE_HZ:g}",
        ),
        probe=("gmp25x", "--link", str(root / "co2-inside")),
        outside=("gmp25x", "--link", str(root / "co2-outside"), "--unit", "241"),
        gate=("modbus_io", "--listen", "127.0.0.1:0"),
        mast=("wind", "--link", str(root / "wind")),
        imager=(
            "gigevision", "--listen", IMAGER_ADDRESS, "--port", "0", "--rows", str(VIEW.rows),
            "--columns", str(VIEW.columns), "--rate-hz", f"{FRAMES_HZ:g}",
        ),
        scanner=("xray_scanner", "--to", f"127.0.0.1:{free_port()}"),
    )  # fmt: skip


@contextlib.asynccontextmanager
async def lane(root: Path, policy: str = "") -> AsyncIterator[dict[str, Emulator]]:
    """Emulators, keys, configuration and the daemon, all ended on leaving; the daemon is asked first."""
    async with lane_emulators(root) as devices:
        configure(root, devices, policy)
        command(root, "keys", "new")
        daemon = await start_daemon(root)
        try:
            yield devices
        finally:
            await stop_daemon(daemon)


def configure(root: Path, devices: dict[str, Emulator], policy: str = "") -> None:
    """Write ``lane.toml`` and the geophones' StationXML; ``policy`` is the text of a ``[policy]`` table."""
    (root / "vibration.xml").write_text(station_xml(), encoding="utf-8")
    streams = ", ".join(f'"XX_L3:{sensor}"' for sensor in SENSORS)
    (root / "lane.toml").write_text(
        f"""[lane]
site = "demo"
name = "3"

[lane.context]
shelter = "shed"
driver = "out"
engine = "off"
refrigeration = "off"

{policy}[publish]
bind = "tcp://127.0.0.1:{free_port()}"
replay = "tcp://127.0.0.1:{free_port()}"

[devices.chassis]
driver = "vibration.seedlink"
address = "127.0.0.1:{devices["digitizer"].place}"
streams = [{streams}]
response = "vibration.xml"

[devices.probe]
driver = "co2.vaisala_gmp25x"
port = "{devices["probe"].place}"
point = "inside"

[devices.outside]
driver = "co2.vaisala_gmp25x"
port = "{devices["outside"].place}"
unit = 241
point = "ambient"

[devices.gate]
driver = "presence.modbus_io"
address = "127.0.0.1:{devices["gate"].place}"
presence_inputs = [0, 1]
contact_inputs = {{ green = 4, amber = 5, red = 6 }}

[devices.mast]
driver = "weather.nmea_mwv"
port = "{devices["mast"].place}"

[devices.imager]
driver = "mmwave.gigevision"
address = "{IMAGER_ADDRESS}"
port = {devices["imager"].place}
rows = {VIEW.rows}
columns = {VIEW.columns}
side = "left"
period_s = {1 / FRAMES_HZ:g}

[devices.scanner]
driver = "xray.dicos"
listen = "{devices["scanner"].place}"
senders = [{{ ae_title = "SCANNER", address = "127.0.0.1" }}]
spool = "{root.resolve() / "radiographs"}"
""",
        encoding="utf-8",
    )


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def command(root: Path, *arguments: str) -> str:
    """Run one ``lanepulse`` command on this lane; the answer is what it printed. Raises RigFault."""
    line = [sys.executable, "-m", "edge.cli.main", *arguments, "--root", str(root)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise RigFault(f"lanepulse {' '.join(arguments)}: exit {done.returncode}: {done.stderr.strip()[-400:]}")
    return done.stdout


async def start_daemon(root: Path) -> asyncio.subprocess.Process:
    """``lanepulse run``, and wait until it answers. Raises RigFault."""
    with (root / "daemon.log").open("ab") as log:
        daemon = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "edge.cli.main", "run", "--root", str(root), stdout=log, stderr=log
        )
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s:
        if daemon.returncode is not None:
            break
        with contextlib.suppress(RigFault):
            await asyncio.to_thread(command, root, "status", "--json")
            return daemon
    tail = (root / "daemon.log").read_text(errors="replace")[-800:]
    await stop_daemon(daemon)
    raise RigFault(f"the daemon did not open the lane: {tail}")


async def stop_daemon(daemon: asyncio.subprocess.Process) -> None:
    """SIGTERM, as the service manager does it."""
    if daemon.returncode is None:
        daemon.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(START_S):
                await daemon.wait()
        except TimeoutError:
            daemon.kill()
            await daemon.wait()


@contextlib.asynccontextmanager
async def _following(root: Path, take: Callable[[dict[str, Any]], None]) -> AsyncIterator[None]:
    """``lanepulse verdicts --follow --json`` for as long as the body runs."""
    reader = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edge.cli.main", "verdicts", "--follow", "--json", "--root", str(root),
        stdout=asyncio.subprocess.PIPE, limit=2**20,
    )  # fmt: skip
    assert reader.stdout is not None

    async def listen() -> None:
        assert reader.stdout is not None
        while line := await reader.stdout.readline():
            take(json.loads(line))

    listening = asyncio.create_task(listen())
    try:
        yield
    finally:
        listening.cancel()
        with contextlib.suppress(ProcessLookupError):
            reader.terminate()
        await reader.wait()


async def _lorry(
    scenario: Scenario,
    devices: dict[str, Emulator],
    verdicts: asyncio.Queue[dict[str, Any]],
    root: Path,
    gap_s: float,
) -> Outcome:
    _say(f"--- {scenario.title} ({scenario.body_type.replace('_', '-')}, {scenario.mass_kg / 1000:g} t)")
    signals = await asyncio.to_thread(play, scenario, LONGEST_S, RATE_HZ)
    film = root / "film.npy"
    np.save(film, await asyncio.to_thread(side_view, scenario, LONGEST_S, VIEW))
    began_s = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        playing = tasks.create_task(stream(scenario, signals, devices, gap_s))
        await asyncio.sleep(gap_s)  # the lane is empty, its sensors are not
        await devices["imager"].tell({"frames": [str(film)]})
        await devices["gate"].tell({"inputs": {"0": True, "1": True}})
        passage_id = await _declare(scenario, root)
        if scenario.radiograph == "here":
            await asyncio.sleep(SCANNED_AFTER_S)
            await _scan(scenario, devices["scanner"], passage_id, root)
        verdict = await _final(verdicts, passage_id)
        took_s = time.monotonic() - began_s - gap_s
        await devices["gate"].tell({"inputs": {"0": False, "1": False, "4": True, "6": False}})
        await devices["imager"].tell({"scene": {"place": None}})
        await _empty(root)
        if scenario.radiograph == "down the road":
            await _scan(scenario, devices["scanner"], scenario.plate or passage_id, root)
            verdict = await _final(verdicts, passage_id)
        playing.cancel()
    for sensor in SENSORS:
        await devices["digitizer"].tell({"do": "plug", "sensor": sensor})
    return Outcome(scenario, passage_id, verdict, took_s)


async def _scan(scenario: Scenario, scanner: Emulator, vehicle: str, root: Path) -> None:
    """Others scan the lorry, and their scanner sends what it made; it names the vehicle as it was told."""
    picture = root / "scan.npy"
    np.save(picture, await asyncio.to_thread(radiograph, scenario))
    now = datetime.now(UTC)
    spacing_mm = f"{SCAN_PIXEL_M * 1000:g}"
    scan = {
        "image": str(picture),
        "vehicle": vehicle,
        "spacing_mm": f"{spacing_mm}\\{spacing_mm}",
        "date": f"{now:%Y%m%d}",
        "time": f"{now:%H%M%S.%f}",
        "sop_uid": f"2.25.{uuid.uuid4().int}",
        "extra": {"00408302:DS": "0.0001"},
    }
    await scanner.tell({"do": "store", "scan": scan})


def _say(text: str) -> None:
    print(text, flush=True)


async def _declare(scenario: Scenario, root: Path) -> str:
    """Say what is known of the lorry; the answer is its passage. Raises RigFault where the lane did not see it."""
    words = {"body_type": scenario.body_type, "sealed_for_s": f"{scenario.sealed_for_s:g}", "cargo": scenario.cargo}
    words |= scenario.context | ({"plate": scenario.plate} if scenario.plate else {})
    options = [part for word, value in words.items() for part in (f"--{word.replace('_', '-')}", value)]
    for _ in range(50):  # the vehicle must first have been seen
        with contextlib.suppress(RigFault):
            said = await asyncio.to_thread(command, root, "context", "current", *options, "--json")
            return str(json.loads(said)["passage_id"])
    raise RigFault("the lorry came and the lane did not see it")


async def _empty(root: Path) -> None:
    """Until the lane has seen the lorry leave."""
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s:
        if json.loads(await asyncio.to_thread(command, root, "status", "--json"))["passage"] is None:
            return
    raise RigFault("the lorry left and the lane did not see it")


async def stream(scenario: Scenario, signals: Signals, devices: dict[str, Emulator], gap_s: float) -> None:
    """Signals onto the wires, at the pace of the clock."""
    chunk = round(CHUNK_S * signals.rate_hz)
    random = np.random.default_rng(scenario.seed)
    events = sorted(scenario.events, key=lambda event: event.at_s)
    await devices["mast"].tell({"speed_m_s": signals.wind_m_s, "noise_m_s": GUSTINESS * signals.wind_m_s})
    began_s, began_ns = time.monotonic(), time.time_ns()
    for index in range(len(signals.counts["B1"]) // chunk):
        at_s = index * CHUNK_S
        await asyncio.sleep(max(0.0, began_s + at_s + CHUNK_S - time.monotonic()))
        for sensor in SENSORS:
            counts = signals.counts[sensor][index * chunk : (index + 1) * chunk]
            start_ns = began_ns + round(at_s * 1e9)
            await devices["digitizer"].tell(
                {"sensor": sensor, "start_utc_ns": str(start_ns), "rate_hz": signals.rate_hz, "counts": counts.tolist()}
            )
        inside = signals.inside_ppm[min(int(max(0.0, at_s - gap_s)), len(signals.inside_ppm) - 1)]
        await devices["probe"].tell({"co2_ppm": float(inside + random.normal(0, 0.5))})
        await devices["outside"].tell({"co2_ppm": float(signals.outside_ppm + random.normal(0, 1.0))})
        while events and at_s - gap_s >= events[0].at_s:
            event = events.pop(0)
            await devices[event.device].tell(event.command)


async def _final(verdicts: asyncio.Queue[dict[str, Any]], passage_id: str) -> dict[str, Any] | None:
    """Print each verdict as it comes; the final one ends it. None where none came in the time allowed and then some."""
    try:
        async with asyncio.timeout(LAST_LOOK_S + 15.0):
            while True:
                verdict = await verdicts.get()
                if verdict["passage_id"] != passage_id:
                    continue
                first = verdict["reasons"][0]["text"] if verdict["reasons"] else ""
                mark = "final" if verdict["final"] else f"revision {verdict['revision']}"
                _say(f"    {verdict['level'].upper().replace('_', ' '):10} {mark:11} {verdict['score']:.5f}  {first}")
                for place in _places(verdict):
                    _say(f"{'':38}where: {place}")
                if verdict["final"]:
                    return verdict
    except TimeoutError:
        return None


def _places(verdict: dict[str, Any]) -> list[str]:
    """Where to look, by what speaks for somebody."""
    if verdict["level"] == "no_search" or not verdict["final"]:
        return []
    return [
        f"{part['where']} ({part['modality']})"
        for part in verdict["evidence"]
        if part["where"] and part["log10_lr"] > 0
    ]


def _table(outcomes: list[Outcome]) -> int:
    print(f"\n{'lorry (simulated)':56} {'verdict':10} {'expected':21} {'log10 LR':>8} {'seconds':>7}")
    for outcome in outcomes:
        verdict, scenario = outcome.verdict, outcome.scenario
        level = "none" if verdict is None else verdict["level"]
        weight = 0.0 if verdict is None else sum(part["log10_lr"] for part in verdict["evidence"])
        expected = " or ".join(scenario.expected)
        differs = "" if not expected or level in scenario.expected else "  NOT AS EXPECTED"
        print(f"{scenario.title[:56]:56} {level:10} {expected:21} {weight:8.2f} {outcome.took_s:7.1f}{differs}")
    print()
    for scenario in (outcome.scenario for outcome in outcomes):
        if scenario.why:
            print(f"{scenario.title}: {scenario.why}")
    return int(any(outcome.verdict is None for outcome in outcomes))


def _weigh_again(root: Path) -> int:
    """Every recorded bundle by ``replay --compare``, and the journal's chain."""
    bundles = [str(path) for path in sorted((root / "state" / "bundles").iterdir()) if path.is_dir()]
    try:
        command(root, "replay", "--compare", *bundles)
        command(root, "journal", "verify")
    except RigFault as fault:
        print(f"demo: {fault}", file=sys.stderr)
        return 1
    print(f"\n{len(bundles)} bundles replayed: the same verdicts, bit for bit. The journal's chain is whole.")
    return 0


def station_xml() -> str:
    kind = "<PzTransferFunctionType>LAPLACE (RADIANS/SECOND)</PzTransferFunctionType>"
    poles = "".join(
        f'<Pole number="{n}"><Real>{p.real:.9g}</Real><Imaginary>{p.imag:.9g}</Imaginary></Pole>'
        for n, p in enumerate(geophone_poles())
    )
    zeros = "".join(f'<Zero number="{n}"><Real>0</Real><Imaginary>0</Imaginary></Zero>' for n in range(2))
    units = "<InputUnits><Name>M/S</Name></InputUnits><OutputUnits><Name>COUNT</Name></OutputUnits>"
    place = "<Latitude>0</Latitude><Longitude>0</Longitude><Elevation>0</Elevation>"
    gain = f"<Value>{SENSITIVITY_COUNTS_PER_M_S:.9g}</Value><Frequency>20</Frequency>"
    channels = "".join(
        f'<Channel code="DHZ" locationCode="{sensor}" startDate="2020-01-01T00:00:00Z">{place}<Depth>0</Depth>'
        f"<Azimuth>0</Azimuth><Dip>-90</Dip><SampleRate>{RATE_HZ:g}</SampleRate><Response>"
        f"<InstrumentSensitivity>{gain}{units}</InstrumentSensitivity>"
        f'<Stage number="1"><PolesZeros>{units}{kind}'
        f"<NormalizationFactor>1</NormalizationFactor><NormalizationFrequency>20</NormalizationFrequency>{zeros}{poles}"
        f"</PolesZeros><StageGain>{gain}</StageGain></Stage></Response></Channel>"
        for sensor in SENSORS
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<FDSNStationXML xmlns="http://www.fdsn.org/xml/station/1" '
        'schemaVersion="1.2"><Source>rig</Source><Created>2026-01-01T00:00:00Z</Created><Network code="XX">'
        f'<Station code="L3" startDate="2020-01-01T00:00:00Z">{place}<Site><Name>rig</Name></Site>{channels}'
        "</Station></Network></FDSNStationXML>\n"
    )


if __name__ == "__main__":
    sys.exit(main())
