"""The GMP25x driver: what is a value, and what is only a number."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from drivers.co2 import vaisala_gmp25x as gmp
from drivers.driver import Surroundings
from drivers.reading import ClockQuality, GasSample

FINE = gmp.Status(0, 0, 0)


def surroundings() -> Surroundings:
    return Surroundings(
        lambda: 1, lambda: 1, lambda: ClockQuality(True, 1), lambda *_: None, lambda _: None, lambda *_: None
    )


def test_the_manuals_golden_words_are_465_66_ppm() -> None:
    ppm, status = gmp.judge((0xD47A, 0x43E8), FINE, "little")
    assert ppm == pytest.approx(465.66, abs=0.005)
    assert status == "ok"


def test_nan_infinity_and_absurd_numbers_are_faulty_with_the_raw_words(cases: Path) -> None:
    words = json.loads((cases / "09-co2-float-word-order" / "words.json").read_text())
    for name in ("nan", "inf", "off_by_one"):
        high, low = (int(word, 16) for word in words[name]["words"])
        ppm, status = gmp.judge((high, low), FINE, "big")
        assert ppm is None
        assert f"0x{high:04X} 0x{low:04X}" in status


def test_start_up_and_over_range_bits_speak_before_a_plausible_number() -> None:
    assert gmp.judge((0xD47A, 0x43E8), gmp.Status(0, 2, 0), "little") == (None, "warming up")
    assert gmp.judge((0xD47A, 0x43E8), gmp.Status(0, 256, 0), "little") == (None, "warming up")
    assert gmp.judge((0xD47A, 0x43E8), gmp.Status(2, 0, 0x1000), "little") == (None, "over range")


def test_the_other_word_order_is_offered_but_not_taken(cases: Path, tmp_path: Path) -> None:
    async def run() -> list[GasSample]:
        case, link = cases / "09-co2-float-word-order", tmp_path / "line"
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(case / "fault_device.py"),
            str(case / "plan.json"),
            str(link),
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            await process.stdout.readline()
            config = gmp.Config(driver="co2.vaisala_gmp25x", port=str(link), unit=1, poll_s=0.2)
            samples = []
            async for sample in gmp.readings("co2-1", config, surroundings()):
                samples.append(sample)
                if len(samples) == 2:
                    break
            return samples
        finally:
            process.kill()
            await process.communicate()

    for sample in asyncio.run(run()):
        assert sample.co2_ppm is None
        assert 'word_order = "big" would give 451.5' in sample.status
