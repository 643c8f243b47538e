"""``lanepulse replay``: recorded passages weighed again, by the very code of the lane."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.cli.main import DONE, NO, WRONG_USE
from edge.cli.options import Settings, common
from edge.cli.output import say, say_json, tell

if TYPE_CHECKING:
    from edge.replay import Comparison


@click.command(
    "replay",
    epilog="\b\nExamples:\n  lanepulse replay passage.zip --json\n  lanepulse replay --compare lane/state/bundles/*",
)
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--compare", "against", is_flag=True, help="Check digests, then every field of every verdict that was published."
)
@click.option("--model", type=click.Path(path_type=Path), help="Another model than the configured or released one.")
@common
def command(settings: Settings, bundles: tuple[Path, ...], against: bool, model: Path | None) -> int:
    """Weigh each of BUNDLES again and print its last verdict.

    With --compare exit 1 where anything differs. A verdict that was made on another processor or another release of the
    libraries is compared to the published rounding, and the answer says so.
    """
    from edge.replay import compare, replayed
    from fusion.bundle.fault import BundleFault
    from fusion.classifier import ModelRefused

    code = DONE
    try:
        lane = weighing_of(settings, model)
    except ModelRefused as refusal:
        tell(f"lanepulse replay: {refusal}")
        return WRONG_USE
    for path in bundles:
        try:
            again = replayed(path, lane)
            comparison = compare(again) if against else None
        except BundleFault as fault:
            tell(f"lanepulse replay: {path}: {fault}")
            code = WRONG_USE
            continue
        _print(settings, path, again.verdicts[-1].document(), again.notes, comparison)
        if comparison is not None and comparison.differences and code == DONE:
            code = NO
    return code


def weighing_of(settings: Settings, model: Path | None) -> Any:
    """What bundles are weighed with: ``--model``, else the lane's own. Raises ModelRefused, ConfigErrors."""
    from edge.active_model import load
    from edge.replay import Weighing
    from fusion.policy import Policy

    config = settings.load() if settings.config is not None or settings.config_path.exists() else None
    policy = Policy() if config is None else config.policy.policy()
    if model is not None:
        return Weighing(load(model), policy)  # a candidate is weighed unsigned: nothing is decided by it
    return Weighing(load(None) if config is None else load(config.model, settings.places(config)), policy)


def _print(
    settings: Settings,
    path: Path,
    verdict: Mapping[str, Any],
    notes: Sequence[str],
    comparison: Comparison | None,
) -> None:
    for note in notes:
        tell(f"{path.name}: {note}")
    if settings.json:
        say_json(verdict)
    else:
        weights = ", ".join(_weights(verdict))
        say(f"{verdict['passage_id']}  {verdict['level']:9}  score {verdict['score']:.6f}  {weights}")
    if comparison is None:
        return
    for difference in comparison.differences:
        tell(f"{path.name}: differs: {difference}")
    if comparison.differences:
        return
    if comparison.within is None:
        tell(f"{path.name}: equal to what was published")
    else:
        tell(
            f"{path.name}: made on another processor or libraries: same to within {comparison.within:g}, decision equal"
        )


def _weights(verdict: Mapping[str, Any]) -> Iterator[str]:
    for part in verdict["evidence"]:
        said = f"{part['log10_lr']:+.3f}" if part["state"] == "measured" else part["state"]
        yield f"{part['modality']} {said}"
