"""``lanepulse drill``: practice on passages whose outcome is known; scored, and apart from the record."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING, Any

import click

from edge.cli.main import DONE, NO, WRONG_USE
from edge.cli.options import Settings, common
from edge.cli.output import say, say_json, say_table, tell

if TYPE_CHECKING:
    from edge.drill.cases import Case
    from edge.drill.score import Answered
    from edge.drill.session import Session

KEYS = {"s": "search", "l": "let_go", "a": "again"}
MARK = "=== PRACTICE, not the lane === "
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
LINE_EVERY_S = 5.0  # of progress


@click.group("drill")
def command() -> None:
    """Practice on past or simulated passages whose outcome is known. Nothing of it enters the record."""


@command.command(
    "prepare",
    epilog="\b\nExamples:\n  lanepulse drill prepare --root lane/\n"
    "  lanepulse drill prepare dataset/ --project 0.5 --most 300 --fresh",
)
@click.argument("sources", nargs=-1, metavar="[DATASET]...", type=FOLDER)
@click.option("--project", "share", type=click.FloatRange(0, 1), default=0.0, show_default=True,
              help="Share of the empty passages that are used again with people projected into them.")  # fmt: skip
@click.option("--most", type=click.IntRange(1, 2000), default=300, show_default=True, help="Passages to take.")
@click.option("--fresh", is_flag=True, help="Take the cases that are there away first.")
@click.option("--model", type=click.Path(path_type=Path), help="Another model than the lane's; it need not be signed.")
@common
def prepare(settings: Settings, sources: tuple[Path, ...], share: float, most: int, fresh: bool,
            model: Path | None) -> int:  # fmt: skip
    """Make cases of the passages in each DATASET, or of this lane's own, where it is known what was in them."""
    from edge.cli.replay import weighing_of
    from edge.dataset import DatasetFault
    from edge.drill.cases import clear
    from edge.drill.prepare import prepare as made_of
    from edge.drill.score import Kind

    places = settings.places()
    own: list[tuple[Path, Kind | None]] = [(places.bundles, "recorded")]
    given: list[tuple[Path, Kind | None]] = [(source, None) for source in sources]
    cases = places.drills / "cases"
    taken_away = clear(cases) if fresh else 0
    try:
        done = made_of(
            given or own, cases, weighing_of(settings, model), project_share=share, most=most, random=SystemRandom(),
            progress=_progress(),
        )  # fmt: skip
    except DatasetFault as fault:
        tell(f"lanepulse drill: {fault}")
        return WRONG_USE
    if settings.json:
        say_json({"made": dict(done.made), "left_out": dict(done.left_out), "taken_away": taken_away})
    else:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(done.made.items()))
        say(f"{sum(done.made.values())} cases{f': {kinds}' if kinds else ''} in {cases}")
        for cause, count in sorted(done.left_out.items()):
            tell(f"left out: {count}: {cause}")
    return DONE if done.made else NO


@command.command(
    "run", epilog="\b\nExamples:\n  lanepulse drill run --officer o17\n  lanepulse drill run --cases 20 --occupied 0.2"
)
@click.option("--cases", "count", type=click.IntRange(1, 200), default=10, show_default=True, help="How many lorries.")
@click.option("--occupied", type=click.FloatRange(0, 1), default=0.3, show_default=True,
              help="Share of them with somebody aboard, far above the lane's own.")  # fmt: skip
@click.option("--officer", help="Who practises: an id, never a name.")
@common
def run(settings: Settings, count: int, occupied: float, officer: str | None) -> int:
    """Decide on each lorry as on the lane: s search, l let go, a measure again. The truth comes after each answer."""
    from edge.drill.cases import load, mixed
    from edge.drill.results import keep
    from edge.drill.session import Session
    from fusion.bundle.times import format_utc

    folder = settings.places().drills
    chosen = list(mixed(load(folder / "cases"), count, occupied, SystemRandom()))
    if not chosen:
        raise click.UsageError("no cases here; make some with: lanepulse drill prepare")
    session = Session(chosen, officer, time.monotonic)
    try:
        while not session.over:
            case = session.case()
            _show(session, case)
            _tell_truth(case, session.answer(case.case_id, _asked()))
    except (click.Abort, EOFError):
        tell("stopped; what was answered counts")
    if not session.answered:
        return NO
    result = keep(folder, session, format_utc(time.time_ns()), "terminal")
    if settings.json:
        say_json(result)
    else:
        _say_score(result["score"])
    return DONE


@command.command(
    "scores", epilog="\b\nExamples:\n  lanepulse drill scores\n  lanepulse drill scores --officer o17 --json"
)
@click.option("--officer", help="Of one officer only.")
@common
def scores(settings: Settings, officer: str | None) -> int:
    """All drills that were kept, oldest first."""
    from edge.drill.results import results

    found = [one for one in results(settings.places().drills) if officer in (None, one.get("officer"))]
    if settings.json:
        say_json({"drills": found})
        return DONE
    header = ("ENDED", "OFFICER", "CASES", "FOUND", "OVERLOOKED", "IN VAIN", "D'", "NOT MISLED")
    say_table(header, [_row(one) for one in found])
    return DONE


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    told = one["score"]
    misled = f"{told['not_misled']} of {told['misleading_prompts']}"
    counts = (told["hits"], told["overlooked"], told["in_vain"], told["d_prime"])
    return (one["ended_utc"], one["officer"], told["cases"], *counts, misled)


def _show(session: Session, case: Case) -> None:
    from edge.cli.prompt import lines

    tell(f"{MARK}{len(session.answered) + 1} of {session.total}")
    for line in lines(case.verdict):
        tell(line)


def _asked() -> str:
    while True:
        sys.stderr.write("s search, l let go, a measure again: ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        answer = KEYS.get(line.strip().casefold()[:1])
        if answer is not None:
            return answer


def _tell_truth(case: Case, done: Answered) -> None:
    held = f"{case.truth.people or 'somebody'} aboard" if case.truth.occupied else "nobody aboard"
    where = f", {case.truth.where}" if case.truth.where else ""
    projected = " (projected)" if case.truth.kind == "projected" else ""
    verdict = {True: "right", False: "wrong", None: "left open"}[done.right]
    tell(f"{verdict}: {held}{where}{projected}")


def _say_score(told: dict[str, Any]) -> None:
    say(f"{told['hits']} found, {told['overlooked']} overlooked, {told['in_vain']} searched in vain, "
        f"{told['let_go_rightly']} let go rightly, {told['again']} left open")  # fmt: skip
    if told["misleading_prompts"]:
        say(f"prompts that were wrong: {told['misleading_prompts']}; not misled by {told['not_misled']} of them")


def _progress() -> Any:
    told_s = [0.0]

    def told(done: int, total: int) -> None:
        if done == total or time.monotonic() - told_s[0] >= LINE_EVERY_S:
            told_s[0] = time.monotonic()
            tell(f"{done} of {total} passages")

    return told
