"""``lanepulse status``: the lane now, as the daemon tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from edge.cli.main import DONE
from edge.cli.options import Settings, common
from edge.cli.output import say, say_json, say_table
from edge.control import ControlFault, ask


@click.command("status", epilog="\b\nExamples:\n  lanepulse status --root lane/\n  lanepulse status --json")
@common
def command(settings: Settings) -> int:
    """The lane now: vehicle, model, clock, record and every device with its cause. Exit 3 if no lane is running."""
    state = ask(settings.places().control_socket, {"do": "status"})
    if settings.json:
        say_json(state)
        return DONE
    if not isinstance(state, dict) or state.get("schema") != "lanepulse.status/1":
        raise ControlFault("the lane's status is not lanepulse.status/1; is it of another version? try --json")
    _say(state)
    return DONE


def _say(state: Mapping[str, Any]) -> None:
    passage, clock, journal = state["passage"], state["clock"], state["journal"]
    say(f"{state['site']}/{state['lane']}: {state['state']}, up {state['up_s']:g} s, version {state['version']}")
    if passage is not None:
        verdict = passage["level"] or "no verdict yet"
        measured = f"measured {passage['measured_s']:g} of {passage['allowed_s']:g} s"
        say(f"vehicle  {passage['passage_id']}: {measured}, {verdict}")
    error = "" if clock["max_error_ns"] is None else f", within {clock['max_error_ns'] / 1e6:g} ms"
    say(f"clock    {'synchronised' if clock['synchronised'] else 'not synchronised'}{error}")
    say(f"record   {'written' if journal['recorded'] else 'NOT WRITTEN'}, row {journal['sequence']}")
    say(f"model    {state['model']}")
    shadow = state.get("shadow") or {}
    if shadow.get("model") or shadow.get("fault"):
        say(f"shadow   {shadow.get('model') or 'none: ' + str(shadow.get('fault'))}")
    if state.get("drift"):
        say(f"drift    {_drift(state['drift'])}")
    cases = state.get("cases") or {}
    if cases.get("alarms"):
        say(f"cases    {_cases(cases)}")
    kept = (state.get("radiographs") or {}).get("kept", 0)
    if kept:
        say(f"X-ray    {kept} radiographs are of no passage that we know: lanepulse radiographs")
    for name, endpoint in state["endpoints"].items():
        say(f"{name:8} {endpoint}")
    rows = []
    for device in state["devices"]:
        answers = ("yes" if device[key] else "no" for key in ("there", "on_time", "believes_itself"))
        quarantined = sum(device["quarantined"].values())
        rows.append((device["name"], device["modality"], *answers, device["restarts"], quarantined, device["cause"]))
    say_table(("DEVICE", "MODALITY", "THERE", "ON TIME", "SURE", "RESTARTS", "QUARANTINED", "CAUSE"), rows)


def _cases(cases: Mapping[str, Any]) -> str:
    """Which wait too long, in a line."""
    stages = ", ".join(f"{count} {stage.replace('_', ' ')}" for stage, count in cases["by_stage"].items())
    return (
        f"{cases['alarms']} WAIT TOO LONG: {stages}; the longest for {cases['longest_days']:g} days: "
        "lanepulse referral list --alarms"
    )


def _drift(drift: Mapping[str, Any]) -> str:
    """Whether the world still fits the model, in a line."""
    background, parts = drift["background"], []
    if background["bias_db"] is None:
        parts.append(f"background: {background['seen']} vehicles are too few")
    else:
        spread = f"{background['bias_db']:+.1f} dB, sigma {background['sigma_db']:.1f} dB"
        moved = "" if background["state"] != "moved" else f", MOVED by {background['moved_db']:+.1f} dB"
        parts.append(f"background {spread}{moved}")
    for name in ("prompts", "finds"):
        rate = drift[name]
        told = f"{rate['happened']} of {rate['seen']}, {rate['expected']:g} expected"
        moved = "" if rate["state"] != "moved" else f", MOVED: odds {rate['times']:g} times the stated ones fit better"
        parts.append(f"{name} {told}{moved}")
    return "; ".join(parts)
