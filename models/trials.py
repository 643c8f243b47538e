"""``python -m models.trials NAME``: the questions of the model card that the general exam does not ask.

Each makes simulated passages of its own seed that nothing was learned from, changes one thing about them, and tells
what the released model says: shares with exact 95 % intervals, as one JSON object.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np
from numpy.typing import NDArray

from fusion.classifier import Classifier
from fusion.evaluation.exact_share import exact_share
from fusion.evidence.context import context_values
from fusion.judge import alarm_in, gas_until, gather, inside_temperature_c, life_alarm
from fusion.passage import Passage
from fusion.verdict import MODALITIES, State
from hil.world import real
from hil.world.beyond import draw_beyond
from hil.world.lorry import Lorry, Mode
from hil.world.passage import Truth, draw_truth, record
from models.exam import Exam, fused, open_exam, shares
from models.features import table
from models.manifest import read_manifest
from models.simulated import BEGAN_NS, NS, Case, passage_of, seen

RELEASED = Path("models/released/concealment-2.onnx")
LOOKS_S = (5.0, 10.0, 15.0, 30.0, 45.0)
LAST, THIRTY = 4, 3
PFA = 0.01  # the policy's default
HEAVY_KG = 40e3
PRIOR = -3.1  # it moves no contribution
AGAIN_S = 2.0  # as the lane asks again while the air stays high
FORCES_N = (0.0, 0.3, 1.0, 3.0, 10.0)
T = TypeVar("T")


def spread(work: Callable[[int], T], count: int, at_once: int = 25) -> list[T]:
    """``work`` of 0 to ``count`` - 1, in order, by all processors."""
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(work, range(count), chunksize=at_once))


def calm_and_whole(truth: Truth) -> Truth:
    """In a shed, nothing running on it, the driver out, and all of that declared; only the ground is heard."""
    around = replace(truth.scene.around, sheltered=True, reaches=0.05)
    told = replace(truth.declared, engine="off", refrigeration="off", driver="out", shelter="shed", cargo="general")
    scene = replace(truth.scene, around=around, machines=())
    return replace(truth, scene=scene, declared=told, driver_in=False, imager=False)


def as_heavy(lorry: Lorry, mass_kg: float) -> Lorry:
    """The same springs and tyres under another mass; 6 tyres carry up to 10 t, 12 more (SCIENCE 2.2)."""
    tyres = 6 if lorry.mass_kg < 10e3 else 12
    slower = float(np.sqrt(lorry.mass_kg / mass_kg * 12 / tyres))
    first, *others = lorry.modes
    modes: tuple[Mode, ...] = (replace(first, f0_hz=first.f0_hz * slower), *others)
    return replace(lorry, mass_kg=mass_kg, modes=modes)


def heavy(seed: int, floor: bool, index: int) -> Case:
    """40 t over ground at the high-noise model, wind of at most 2 m/s; every second one holds one person."""
    random = np.random.default_rng([seed, index])
    truth = calm_and_whole(draw_truth(random, index % 2, 0.0))
    wind = float(random.uniform(0.0, 2.0))
    around = replace(truth.scene.around, sheltered=False, reaches=1.0, wind_m_s=wind, ground_gain=1.0)
    people = truth.scene.people
    if floor:
        people = tuple(replace(person, force_n=3.0, coupling=1.0) for person in people)
    scene = replace(truth.scene, lorry=as_heavy(truth.scene.lorry, HEAVY_KG), around=around, people=people)
    told = replace(truth.declared, shelter="open", gross_mass_kg=HEAVY_KG)
    return seen(record(replace(truth, scene=scene, declared=told), 60.0, random), (*LOOKS_S[:LAST], 60.0))


def trial_heavy(exam: Callable[[list[Case]], Exam], cases: int, seed: int) -> dict[str, Any]:
    """One person in 40 t, vibration alone, 60 s."""
    found = {}
    for name, floor in (("3 N on the bare floor", True), ("people and loads as drawn", False)):
        one = exam(spread(partial(heavy, seed, floor), cases))
        _, over, _ = one.alarms(LAST, ("vibration",), PFA)
        found[name] = shares(one, over, one.cases.spoke[:, LAST, 0])
    return found


def lane_background(seed: int, lorries: int, heavy_kg: float | None, lane: int) -> list[float]:
    """Errors, dB, of the background that one lane predicts for its empties: its ground and sensors stay as they are."""
    base = calm_and_whole(draw_truth(np.random.default_rng([seed, lane]), 0, 0.0))
    around = base.scene.around if heavy_kg is None else replace(base.scene.around, ground_gain=1.0)
    errors = list[float]()
    for index in range(lorries):
        random = np.random.default_rng([seed, lane, index])
        truth = calm_and_whole(draw_truth(random, 0, 0.0))
        lorry = truth.scene.lorry if heavy_kg is None else as_heavy(truth.scene.lorry, heavy_kg)
        scene = replace(truth.scene, lorry=lorry, around=around, layout=base.scene.layout)
        recorded = record(replace(truth, scene=scene, geophones=base.geophones), 60.0, random)
        vibration = gather(passage_of(recorded), BEGAN_NS + 60 * NS)[0]
        if vibration.state is State.MEASURED:
            errors.append(20.0 * vibration.features["explained_log"])
    return errors


def trial_background(cases: int, seed: int) -> dict[str, Any]:
    """Within a lane, as its health figure has it (SCIENCE 2.5): half of 16 to 84 %."""
    found = {}
    for name, heavy_kg in (("40 t, ground at the high-noise model", HEAVY_KG), ("lorries and grounds as drawn", None)):
        work = partial(lane_background, seed, 40, heavy_kg)
        lanes = [errors for errors in spread(work, max(2, cases // 40), 1) if len(errors) >= 20]
        sigmas = [_half_width(np.array(errors)) for errors in lanes]
        pooled = np.concatenate([np.array(errors) - np.median(errors) for errors in lanes])
        middle, high = (float(np.quantile(sigmas, share)) for share in (0.5, 0.9))
        found[name] = {"lanes": len(lanes), "empties": len(pooled), "sigma_db": _half_width(pooled),
                       "lane_sigma_db": {"median": middle, "90 %": high}}  # fmt: skip
    return found


def _half_width(errors: NDArray[np.float64]) -> float:
    low, high = np.quantile(errors, (0.16, 0.84))
    return float(high - low) / 2


@lru_cache(maxsize=1)
def _recordings(folder: Path) -> real.Recordings:
    return real.load(folder, "test", 100.0)


def chest(folder: Path, seed: int, recorded: bool, force_n: float, index: int) -> Case:
    """One person of that strength on the floor of a lorry in a shed: heart and ground recorded, or both simulated."""
    random = np.random.default_rng([seed, round(10 * force_n), index])
    truth = calm_and_whole(draw_truth(random, int(force_n > 0), 0.0))
    people = tuple(replace(person, force_n=force_n, coupling=1.0) for person in truth.scene.people)
    truth = replace(truth, scene=replace(truth.scene, people=people))
    truth = replace(truth, probe=False, geophones=replace(truth.geophones, rate_hz=100.0))
    borrowed = _recordings(folder).borrowed(LOOKS_S[LAST] + 8.0, random) if recorded else None
    return seen(record(truth, LOOKS_S[LAST], random, borrowed), LOOKS_S)


def trial_chests(exam: Callable[[list[Case]], Exam], cases: int, seed: int, folder: Path) -> dict[str, Any]:
    """Alarms by strength: real chests over real ground beside simulated ones, vibration alone, 45 s."""
    found: dict[str, Any] = {}
    for name, recorded in (("recorded", True), ("simulated", False)):
        found[name] = {}
        for force_n in FORCES_N:
            one = exam(spread(partial(chest, folder, seed, recorded, force_n), cases))
            _, over, _ = one.alarms(LAST, ("vibration",), PFA)
            found[name][f"{force_n:g} N"] = _share(over[one.cases.spoke[:, LAST, 0]])
    return found


def beyond(seed: int, index: int) -> Case:
    """A passage of another world: every uniform range left by up to a fifth of its width."""
    random = np.random.default_rng([seed, index])
    truth = draw_beyond(random, None if index % 2 else 0, 0.0, 0.2)
    return seen(record(truth, LOOKS_S[LAST], random), LOOKS_S)


def trial_beyond(exam: Callable[[list[Case]], Exam], cases: int, seed: int) -> dict[str, Any]:
    """A world that lies outside of all that training drew."""
    one = exam(spread(partial(beyond, seed), cases))
    among = (one.cases.wind_m_s <= 3.0) & one.cases.spoke[:, THIRTY, :2].all(axis=1)
    return fused(one, THIRTY, ("vibration", "co2", "mmwave"), among)


def opened(model: Path, seed: int, index: int) -> str:
    """How an empty reefer of produce ends in 45 s: "low" air, "kept", "opened: why", or "no temperature"."""
    random = np.random.default_rng([seed, index])
    truth = draw_truth(random, 0, 0.0)
    litres = float(np.exp(random.uniform(np.log(0.5), np.log(10.0))))
    told = replace(truth.declared, body_type="refrigerated", cargo="produce")
    scene = replace(truth.scene, lorry=replace(truth.scene.lorry, body_type="refrigerated"))
    air = replace(truth.air, cargo="produce", cargo_l_min=litres, inside_c=float(random.uniform(0.0, 15.0)))
    whole = replace(truth, scene=scene, air=air, declared=told, probe=True, imager=False)
    passage = passage_of(record(whole, LOOKS_S[LAST], random))
    if inside_temperature_c(passage.gas) is None:
        return "no temperature"
    return _life(passage, _classifier(model))


@lru_cache(maxsize=1)
def _classifier(model: Path) -> Classifier:
    manifest = read_manifest(model.with_suffix(".json").read_bytes())
    return Classifier(model.read_bytes(), manifest.contract())


def _life(passage: Passage, classifier: Classifier) -> str:
    high = False
    for second in np.arange(0.5, LOOKS_S[LAST], AGAIN_S).tolist():
        until = BEGAN_NS + round(second * NS)
        if not alarm_in(gas_until(passage.gas, until), passage.context, passage.body_type):
            continue
        high = True
        evidence = gather(passage, until)
        look = max((i for i, at_s in enumerate(LOOKS_S) if at_s <= second), default=0)
        judged = classifier.judge(evidence, context_values(passage, until), look, PRIOR)
        alarm = life_alarm(passage, until, evidence, dict(zip(MODALITIES, judged.log10_lr, strict=True)))
        if alarm is not None:
            state = evidence[0].state
            heard = "" if state is State.MEASURED else f", vibration {state.value}"
            return f"opened: {alarm.code}{heard}"
    return "kept" if high else "low"


def trial_produce(cases: int, seed: int, model: Path) -> dict[str, Any]:
    """Empty, declared reefers of produce, 0.5 to 10 L/min, on a lane whose probe tells its temperature; 40,000 ppm are
    never silenced, and are no false alarm."""
    ends = spread(partial(opened, model, seed), cases)
    count = {end: ends.count(end) for end in sorted(set(ends))}
    loads = len(ends) - count.get("no temperature", 0)
    measured = {end: number for end, number in count.items() if ", vibration" not in end and end != "no temperature"}
    false = sum(number for end, number in measured.items() if end.startswith("opened") and "atmosphere" not in end)
    high = sum(number for end, number in measured.items() if end != "low")
    return {"ends": count, "loads": loads, "all measured, of loads": _interval(false, sum(measured.values())),
            "all measured, of loads with high air": _interval(false, high)}  # fmt: skip


def _share(over: NDArray[np.bool_]) -> dict[str, Any]:
    return _interval(int(over.sum()), len(over))


def _interval(count: int, of: int) -> dict[str, Any]:
    found = exact_share(count, of)
    return {"count": count, "of": of, "value": found.value, "low": found.low, "high": found.high}


@click.command()
@click.argument("name", type=click.Choice(["heavy", "background", "chests", "beyond", "produce"]))
@click.option(
    "--model", default=RELEASED, show_default=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--cases", default=2_000, show_default=True, type=click.IntRange(20, 1_000_000), help="Passages a cell.")
@click.option("--seed", default=7, show_default=True, type=click.IntRange(0))
@click.option("--recordings", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Folder with heartbeat/ and ground/, for chests.")  # fmt: skip
def main(name: str, model: Path, cases: int, seed: int, recordings: Path | None) -> None:
    """Ask one question of the released model; one JSON object. All is SIMULATED, but what chests borrow.

    Example: python -m models.trials heavy --cases 1400
    """

    def exam(found: list[Case]) -> Exam:
        return open_exam(model, table(found))

    if name == "chests":
        if recordings is None:
            raise click.UsageError("chests wants --recordings: a folder with heartbeat/ and ground/")
        told = trial_chests(exam, cases, seed, recordings)
    elif name == "produce":
        told = trial_produce(cases, seed, model)
    elif name == "background":
        told = trial_background(cases, seed)
    else:
        told = (trial_heavy if name == "heavy" else trial_beyond)(exam, cases, seed)
    click.echo(json.dumps({"trial": name, "seed": seed, "cases": cases} | told, indent=1))


if __name__ == "__main__":
    main()
