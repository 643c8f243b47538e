"""What is known of the vehicle in hand, word by word with who said it: the lane's own defaults, a booth, a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from fusion.passage import BodyType, Context

LANE = "lane"  # nobody said it: the lane's file has it as usual here
UNKNOWN = "unknown"


@dataclass(slots=True)
class Sources:
    """Who said each word of one vehicle; the newest counts."""

    by_word: dict[str, str] = field(default_factory=dict)

    def said(self, words: Mapping[str, Any], source: str) -> None:
        """Somebody said something."""
        self.by_word.update(dict.fromkeys(words, source))

    def document(self, body_type: BodyType, context: Context) -> dict[str, Any]:
        """Word -> ``{"value", "source"}``; what nobody knows is left out."""
        values: dict[str, Any] = {"body_type": body_type.value}
        values |= {word.name: getattr(context, word.name) for word in fields(context)}
        return {
            word: {"value": value, "source": self.by_word.get(word, LANE)}
            for word, value in values.items()
            if value not in (UNKNOWN, None)
        }
