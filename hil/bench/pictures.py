"""Evidence of the two imaging devices, beside one resize and one convolution of the same picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from drivers.reading import ClockQuality, Radiograph, RadiometricFrame, Stamp
from fusion.evidence.mmwave import mmwave_evidence
from fusion.evidence.xray import xray_evidence
from fusion.passage import BodyType, Passage
from hil.bench.measure import Row, paired_ms
from hil.world import radiography, radiometry

FRAMES, FRAME_ROWS, FRAME_COLUMNS = 64, 128, 160
ROWS, COLUMNS = 1024, 2048
BODY_M = 0.3  # half of a sitting person: what a filter must be as large as
GRID_M, GRID_ROWS = 0.03, 64  # the grids on which a body is looked for
RUNS = 9
STAMP = Stamp(0, 0, 0, ClockQuality(True, 1))
Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def rows() -> list[Row]:
    """Two rows: a frame of a passage's 64, and a radiograph."""
    return [_frames(), _radiograph()]


def _frames() -> Row:
    random = np.random.default_rng(3)
    side = radiometry.draw_side(random, "soft_sided", 1)
    view = radiometry.draw_view(random, FRAME_ROWS, FRAME_COLUMNS)
    at_s = [0.2 * n for n in range(FRAMES)]
    shown = radiometry.film(side, view, radiometry.Drive(1.2, 5.0, 1), at_s, random).frames
    frames = tuple(
        RadiometricFrame("imager", Stamp(round(at * 1e9), round(at * 1e9), 0, STAMP.clock), frame, n, "left")
        for n, (at, frame) in enumerate(zip(at_s, shown, strict=True))
    )
    passage = Passage("0" * 26, "s", "l", 0, None, body_type=BodyType.SOFT_SIDED, frames=frames)
    until_ns = round(at_s[-1] * 1e9)
    found = mmwave_evidence(passage, until_ns)
    if found.state.value != "measured":
        raise RuntimeError(f"bench: the frames gave {found.state.value}: {found.cause}")
    step = FRAME_ROWS // GRID_ROWS
    sigma = BODY_M / (view.height_m / GRID_ROWS)
    measured, floor = paired_ms(
        lambda: mmwave_evidence(passage, until_ns), lambda: [_floor(frame, step, sigma) for frame in shown], RUNS
    )
    what = f"imager's evidence, a frame of {FRAME_ROWS} x {FRAME_COLUMNS}"
    return Row(what, measured / FRAMES, floor / FRAMES, "ms", "one resize and one convolution (goal: at most 3 x)")


def _radiograph() -> Row:
    random = np.random.default_rng(5)
    load, beam = radiography.draw_load(random, 1), radiography.draw_beam(random, 0.008)
    drawn = radiography.radiograph(load, beam, random).astype(np.float32)
    image = np.full((ROWS, COLUMNS), np.float32(drawn.max()))
    part = drawn[-ROWS:, :COLUMNS]
    image[ROWS - part.shape[0] :, : part.shape[1]] = part
    image[:, -COLUMNS // 16 :] = image[:, :16].mean()
    image = np.asarray(np.clip(image + random.normal(0, 0.003, image.shape), 0, 1), np.float32)
    scan = Radiograph("scanner", STAMP, image, 0.008, 0.008, 0, None, None, None, Path("scan.dcs"), "1.2.3")
    passage = Passage("0" * 26, "s", "l", 0, None, radiographs=(scan,))
    found = xray_evidence(passage)
    if found.state.value != "measured":
        raise RuntimeError(f"bench: the radiograph gave {found.state.value}: {found.cause}")
    step = round(GRID_M / 0.008)
    sigma = BODY_M / (step * 0.008)
    measured, floor = paired_ms(lambda: xray_evidence(passage), lambda: _floor(image, step, sigma), RUNS)
    return Row(
        f"radiograph's evidence, {ROWS} x {COLUMNS}", measured, floor, "ms", "one resize and one convolution (3 x)"
    )


def _floor(picture: Floats, step: int, sigma: float) -> Floats:
    """The mean of each ``step`` x ``step`` pixels, and a Gaussian as large as a body over it."""
    high, wide = picture.shape[0] // step, picture.shape[1] // step
    small = picture[: high * step, : wide * step].reshape(high, step, wide, step).mean(axis=(1, 3), dtype=np.float32)
    return np.asarray(gaussian_filter(small, sigma, mode="constant", truncate=2.5), np.float32)
