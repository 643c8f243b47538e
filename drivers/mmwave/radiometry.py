"""From an imager's counts to kelvin, and what a frame, or the frames before it, say against it.

Shared by the imager's wires: a frame is the same whether it came in packets or in a file.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

COLDEST_K, HOTTEST_K = 2.7, 1000.0  # cosmic background; assumed: an exhaust is below, the sun in the beam above
FROZEN_FRAMES = 3  # assumed: receiver noise (0.2 to 0.7 K) never repeats over thousands of pixels
MOST_BAD_SHARE = 0.5  # assumed: below that a frame still shows the shape of a person
MOST_NAMED = 8
LARGEST_SIDE = 4096  # assumed: millimetre-wave imagers have some hundred pixels a side


class Scale(BaseModel):
    """How counts become kelvin, and which pixels never do: the part of a configuration that both wires share."""

    rows: int = Field(ge=1, le=LARGEST_SIDE)
    columns: int = Field(ge=1, le=LARGEST_SIDE)
    side: Literal["left", "right", "top"] = Field(description="Side of the vehicle that the imager sees")
    gain_k_per_count: float = Field(0.01, gt=0, le=100, description="0.01 with offset_k 0 is centikelvin")
    offset_k: float = Field(0.0, ge=-10000, le=10000)
    saturated_counts: int | None = Field(
        None, ge=1, le=65535, description="Counts from here on are no measurement; the format's highest by default"
    )
    channels: Literal["rows", "columns"] = Field("rows", description="What one receiver paints")
    bad_pixels: tuple[tuple[int, int], ...] = Field((), max_length=100_000, description="(row, column), from 0")

    @model_validator(mode="after")
    def _pixels_are_inside(self) -> Self:
        for row, column in self.bad_pixels:
            if not (0 <= row < self.rows and 0 <= column < self.columns):
                raise ValueError(f"bad_pixels has ({row}, {column}), outside {self.rows} rows of {self.columns}")
        return self

    def known_bad(self) -> NDArray[np.bool_]:
        """(rows, columns), true where the configuration says bad."""
        mask = np.zeros((self.rows, self.columns), np.bool_)
        for row, column in self.bad_pixels:
            mask[row, column] = True
        return mask


def kelvin(counts: NDArray[np.uint16], scale: Scale, highest: int) -> NDArray[np.float32]:
    """Brightness temperature, (rows, columns) float32: ``gain * counts + offset``, NaN where there is none.

    0 counts and saturated ones are no measurement; ``highest`` is the format's largest count.
    """
    frame_k = (counts.astype(np.float64) * scale.gain_k_per_count + scale.offset_k).astype(np.float32)
    saturated = highest if scale.saturated_counts is None else scale.saturated_counts
    frame_k[(counts == 0) | (counts >= saturated)] = np.nan
    return plausible(frame_k)


def plausible(frame_k: NDArray[np.float32]) -> NDArray[np.float32]:
    """A copy, NaN where nothing in the world has that temperature."""
    frame_k = frame_k.astype(np.float32)
    with np.errstate(invalid="ignore"):
        frame_k[~((frame_k >= COLDEST_K) & (frame_k <= HOTTEST_K))] = np.nan
    return frame_k


class Watch:
    """What needs the frame as a whole, or those before it, to be seen."""

    def __init__(self, scale: Scale) -> None:
        self._channels = scale.channels
        self._known_bad = scale.known_bad()
        self._previous, self._same = b"", 0
        self._timestamp = 0

    def judge(
        self, values: NDArray[Any], frame_k: NDArray[np.float32], timestamp: int = 0
    ) -> tuple[NDArray[np.float32], str]:
        """The frame with its bad pixels taken out, and its status.

        Args:
            values: (rows, columns), as the imager sent them, counts or kelvin.
            frame_k: (rows, columns), the same in kelvin; NaN in all of it where it is not of this moment.
            timestamp: of the imager's own clock, in ticks; 0 where it has none.
        """
        raw, before = values.tobytes(), self._timestamp
        self._same = self._same + 1 if raw == self._previous else 1
        self._previous, self._timestamp = raw, timestamp or before
        nothing = np.full_like(frame_k, np.nan)
        if self._same >= FROZEN_FRAMES:
            return nothing, f"frozen: the same pixels in {self._same} frames"
        if values.size > 1 and ((values == values[:1]).all() or (values == values[:, :1]).all()):
            return nothing, "stalled scan: all lines are equal"
        frame_k = np.where(self._known_bad, np.float32(np.nan), frame_k)
        frame_k, status = self._without_dead_channels(values, frame_k)
        bad_share = float(np.mean(np.isnan(frame_k)))
        if status == "ok" and bad_share > MOST_BAD_SHARE:
            status = f"bad pixels: {bad_share:.0%} of the frame"
        if status == "ok" and 0 < timestamp < before:
            status = f"timestamp went back from {before} to {timestamp} ticks: did the imager restart?"
        return frame_k, status

    def _without_dead_channels(
        self, values: NDArray[Any], frame_k: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], str]:
        """A receiver whose whole line is one value has lost its noise, and the scene with it."""
        by_row = self._channels == "rows"
        lines, known = (values, self._known_bad) if by_row else (values.T, self._known_bad.T)
        if lines.shape[1] < 2:
            return frame_k, "ok"
        dead = (lines == lines[:, :1]).all(axis=1) & ~known.all(axis=1)
        if not dead.any():
            return frame_k, "ok"
        frame_k[(dead, slice(None)) if by_row else (slice(None), dead)] = np.nan
        named = np.flatnonzero(dead)
        more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
        return frame_k, f"dead channel: {self._channels} {', '.join(map(str, named[:MOST_NAMED]))}{more}"
