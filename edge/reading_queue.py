"""The lane's queue of readings, bounded in number and in bytes: images are a million times a CO2 reading."""

from __future__ import annotations

import asyncio

from drivers.reading import Radiograph, RadiometricFrame, Reading


class ReadingQueue(asyncio.Queue[Reading]):
    """Full at ``most`` readings or ``most_bytes`` of pixels; a device that finds it so waits on its own wire.

    One image is always let in, however large, so that none waits for ever.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        super().__init__(most)
        self._most_bytes, self._bytes = most_bytes, 0

    def full(self) -> bool:
        """Whether the next reading must wait."""
        return super().full() or self._bytes >= self._most_bytes

    def _put(self, item: Reading) -> None:
        self._bytes += _pixel_bytes(item)
        super()._put(item)

    def _get(self) -> Reading:
        item = super()._get()
        self._bytes -= _pixel_bytes(item)
        return item


def _pixel_bytes(reading: Reading) -> int:
    if isinstance(reading, RadiometricFrame):
        return int(reading.frame_k.nbytes)
    return int(reading.transmission.nbytes) if isinstance(reading, Radiograph) else 0
