"""What goes over the wire: three frames, topic, header and body; the last two are JSON.

Anything that speaks ZeroMQ 3.1 with CURVE can read them; see ``tests/edge/publish`` for a client without our code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge import json_text

SCHEMA: Literal["lanepulse.message/1"] = "lanepulse.message/1"
LONGEST_TOPIC = 256  # bytes
MOST_REPLAYED = 200  # assumed: verdicts in one answer; a few hundred kB, and some hundredths of a second of the lane
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

Kind = Literal["verdict", "status", "last", "replayed", "end"]


class MessageFault(ValueError):
    """One line: these frames are not a message of ours, and why."""


class Header(BaseModel):
    """Second frame. ``sequence`` is the verdict's row in the journal; in a status or an end mark, the newest verdict's.

    Rows of other kinds stand between verdicts, so their numbers rise but skip: only the replay socket can tell a skip
    from a loss.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")  # a later minor version may say more

    schema_: Literal["lanepulse.message/1"] = Field(SCHEMA, alias="schema")
    kind: Kind
    boot_id: str = Field(max_length=64)
    sequence: int = Field(ge=0)
    sent_utc: str = Field(max_length=40)


class ReplayRequest(BaseModel):
    """What the replay socket is asked: verdicts numbered ``from`` and up, at most ``limit`` of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    from_: int = Field(alias="from", ge=0, le=json_text.LARGEST_EXACT)
    limit: int = Field(MOST_REPLAYED, ge=1, le=json_text.LARGEST_EXACT, description="more than 200 is taken as 200")


class ReplayEnd(BaseModel):
    """Body of the end mark that closes every answer of the replay socket.

    ``next`` is where to ask from to go on; ``complete`` says that nothing is there yet. With an ``error`` (one line)
    the answer stopped short, and what came before it still counts.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_: Literal["lanepulse.replay-end/1"] = Field("lanepulse.replay-end/1", alias="schema")
    next_: int = Field(alias="next", ge=0, le=json_text.LARGEST_EXACT)
    complete: bool
    error: str | None = Field(max_length=1000)


@dataclass(frozen=True, slots=True)
class Message:
    """One message; ``body`` is the parsed third frame, always an object."""

    topic: str
    header: Header
    body: Mapping[str, Any]


def topic(stream: Literal["verdict", "status", "end"], site: str, lane: str) -> bytes:
    """``<stream>.<site>.<lane>.``: the closing dot keeps lane 3 from hearing lane 30.

    Raises:
        ValueError: a name that would blur topics.
    """
    for what, name in (("site", site), ("lane", lane)):
        if not _NAME.fullmatch(name):
            raise ValueError(f"{what} {name!r}: give 1 to 64 letters, digits, - or _")
    return f"{stream}.{site}.{lane}.".encode()


def frames(topic: bytes, kind: Kind, boot_id: str, sequence: int, sent_utc_ns: int, body: str) -> list[bytes]:
    """The three frames; ``body`` is JSON text already."""
    header = {"schema": SCHEMA, "kind": kind, "boot_id": boot_id, "sequence": sequence, "sent_utc": utc(sent_utc_ns)}
    return [topic, json_text.write(header).encode(), body.encode()]


def parse(parts: Sequence[bytes]) -> Message:
    """The message in these frames.

    Raises:
        MessageFault: wrong count, size, JSON, schema or kind.
    """
    if len(parts) != 3 or len(parts[0]) > LONGEST_TOPIC:
        raise MessageFault(f"{len(parts)} frames, topic of {len(parts[0]) if parts else 0} bytes: not a lane's message")
    try:
        header, body = Header.model_validate(json_text.read(parts[1])), json_text.read(parts[2])
        name = parts[0].decode("ascii")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise MessageFault(f"header: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (json_text.JsonRefused, UnicodeDecodeError) as error:
        raise MessageFault(f"message of topic {parts[0][:40]!r}: {error}") from None
    if not isinstance(body, dict):
        raise MessageFault(f"message of topic {name}: the body is not an object")
    return Message(name, header, body)


def utc(time_utc_ns: int) -> str:
    """RFC 3339 text to the nanosecond."""
    seconds, nanoseconds = divmod(time_utc_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"
