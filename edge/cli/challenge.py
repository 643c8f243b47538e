"""``lanepulse challenge``: a known source presented, and the device judged by its record. The lane's daily test."""

from __future__ import annotations

from typing import Any

import click

from edge.calibrate import catalogue
from edge.cli.calibrate import configured, measured, measuring_options
from edge.cli.options import Settings, common


@click.command(
    "challenge",
    epilog="\b\nExamples:\n  lanepulse challenge co2-rear --references gas.toml\n"
    "  lanepulse challenge chassis --references coil.toml --yes --json",
)
@click.argument("device")
@measuring_options
@common
def command(settings: Settings, device: str, **told: Any) -> int:
    """Present a known source to DEVICE and judge it by the record in force. It is journalled as a test.

    Exit 1: it is not what its record says. Nothing is corrected by a challenge.
    """
    one = configured(settings, device)
    found = catalogue.for_modality(str(one.driver.MODALITY)).get("challenge")
    if found is None:
        raise click.UsageError(f"{device}: there is no challenge for a {one.driver.MODALITY}")
    return measured(settings, one, found, **told)
