"""What things cost, as the site says: ``costs.toml``. Nothing is assumed: what is not said is not counted, and named.

CostsFault    all that is wrong with the file, a line each: line, field, what is allowed
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.records.outcome import By, Technique
from edge.toml_lines import scan

LONGEST_FILE = 65_536  # bytes
FILE = "costs.toml"
Money = Annotated[float, Field(ge=0, le=1e12)]


class CostsFault(ValueError):
    """One line each: what is wrong with the file."""


class Costs(BaseModel):
    """``costs.toml``. Every sum is in ``currency``."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    searcher_per_hour: dict[By, Money]  # one team, all of it, while it searches
    search_each: dict[Technique, Money] = {}  # beside the team: dog, scan, material
    modality_per_year: dict[Literal["vibration", "co2", "mmwave", "xray"], Money] = {}  # devices of one lane
    lane_per_year: Money | None = None  # one more lane, built, kept and staffed
    waiting_per_hour: Money | None = None  # of one vehicle

    def spent(self, technique: str, by: str, searches: int, minutes: float) -> float:
        """On searches of one kind: the team's time and what the technique took. What is not said costs nothing."""
        hourly, each = plain(self.searcher_per_hour), plain(self.search_each)
        return minutes / 60.0 * hourly.get(by, 0.0) + searches * each.get(technique, 0.0)


def plain(prices: Mapping[Any, float]) -> Mapping[str, float]:
    """Prices by a word that may be any."""
    return prices


def load(path: Path) -> Costs:
    """The file. Raises CostsFault."""
    try:
        with path.open("rb") as file:
            raw = file.read(LONGEST_FILE + 1)
        if len(raw) > LONGEST_FILE:
            raise CostsFault(f"{path}: over {LONGEST_FILE} bytes; a file of costs takes a hundredth of it")
        text = raw.decode("utf-8")
        return Costs.model_validate(tomllib.loads(text))
    except OSError as error:
        raise CostsFault(f"{path}: {error.strerror}; write it as docs/analyst.md shows") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CostsFault(f"{path}: {error}") from None
    except ValidationError as faults:
        lines = scan(text)
        told = []
        for fault in faults.errors():
            keys = tuple(key for key in fault["loc"] if key != "[key]")
            line = lines.nearest(keys)
            told.append(f"{path}:{line or 1}: {'.'.join(map(str, keys))}: {fault['msg']}")
        raise CostsFault("\n".join(told)) from None
