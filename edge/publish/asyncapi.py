"""The AsyncAPI document of a lane's two sockets, made from the models: ``python -m edge.publish.asyncapi``.

It is printed; ``docs/asyncapi.json`` holds it, and a test that it is current.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

from edge.publish.message import SCHEMA, Header, ReplayEnd, ReplayRequest
from edge.publish.status_body import StatusBody
from fusion.verdict import Verdict

MODELS: tuple[tuple[type[BaseModel], JsonSchemaMode], ...] = (
    (Header, "serialization"),
    (Verdict, "serialization"),
    (StatusBody, "serialization"),
    (ReplayRequest, "validation"),
    (ReplayEnd, "serialization"),
)
PLACES = {
    "site": {"description": "where the lane is, from [lane] site; no dot in it"},
    "lane": {"description": "which lane it is there, from [lane] name; no dot in it"},
}


def document() -> dict[str, Any]:
    """The whole document, AsyncAPI 3.0.0, as JSON types."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Lanepulse lane",
            "version": SCHEMA.partition("/")[2] + ".0.0",
            "description": "Verdicts and state of one lane over ZeroMQ (ZMTP 3.1, CURVE, allow-list). A message is "
            "three frames: topic (the channel's address), header and body, both JSON. How to subscribe without "
            "losing anything: docs/integrators.md.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "publish": _server(7501, "[publish] bind: connect a SUB socket"),
            "replay": _server(7502, "[publish] replay: connect a DEALER socket"),
        },
        "channels": {
            "verdicts": _channel("verdict.{site}.{lane}.", "publish", "verdict"),
            "states": _channel("status.{site}.{lane}.", "publish", "status"),
            "questions": _channel(None, "replay", "replayRequest"),
            "answers": _channel("verdict.{site}.{lane}.", "replay", "replayed"),
            "ends": _channel("end.{site}.{lane}.", "replay", "end"),
        },
        "operations": {
            "announceVerdict": _operation("send", "verdicts", "verdict"),
            "announceState": _operation("send", "states", "status"),
            "takeQuestion": _operation("receive", "questions", "replayRequest"),
            "replayVerdict": _operation("send", "answers", "replayed"),
            "endAnswer": _operation("send", "ends", "end"),
        },
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


def _server(port: int, description: str) -> dict[str, Any]:
    return {"host": f"{{host}}:{port}", "protocol": "zmq", "variables": {"host": {}}, "description": description}


def _channel(address: str | None, server: str, message: str) -> dict[str, Any]:
    return {
        "address": address,
        "servers": [{"$ref": f"#/servers/{server}"}],
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
    } | ({"parameters": PLACES} if address else {})


def _operation(action: str, channel: str, message: str) -> dict[str, Any]:
    messages = [{"$ref": f"#/channels/{channel}/messages/{message}"}]
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "messages": messages}


def _messages() -> dict[str, Any]:
    return {
        "verdict": _message(
            ("verdict", "last"),
            "Verdict",
            "A verdict that is in the journal. Kind `verdict` is new; `last` repeats the newest one for somebody who "
            "has just joined, and everybody hears it again.",
        ),
        "status": _message(("status",), "StatusBody", "The lane's state, each second and for who has just joined."),
        "replayed": _message(
            ("replayed",), "Verdict", "A verdict again, out of the journal, because it was asked for."
        ),
        "end": _message(("end",), "ReplayEnd", "Closes each answer of the replay socket."),
        "replayRequest": {
            "description": "One frame, the body alone.",
            "payload": {"$ref": "#/components/schemas/ReplayRequest"},
        },
    }


def _message(kinds: tuple[str, ...], body: str, description: str) -> dict[str, Any]:
    kind = {"type": "object", "properties": {"kind": {"enum": list(kinds)}}}
    headers = {"type": "object", "allOf": [{"$ref": "#/components/schemas/Header"}, kind]}
    return {"description": description, "headers": headers, "payload": {"$ref": f"#/components/schemas/{body}"}}


class _Described(GenerateJsonSchema):
    """Descriptions end with the first paragraph: the rest of a docstring is for those who read the code."""

    def generate_definitions(self, inputs: Any) -> Any:
        modes, definitions = super().generate_definitions(inputs)
        for schema in definitions.values():
            if "description" in schema:
                schema["description"] = " ".join(schema["description"].split("\n\n")[0].split())
        return modes, definitions


def _schemas() -> dict[str, Any]:
    _, schemas = models_json_schema(MODELS, ref_template="#/components/schemas/{model}", schema_generator=_Described)
    definitions: dict[str, Any] = schemas["$defs"]
    return definitions


def text() -> str:
    """The document as it is kept in ``docs/asyncapi.json``."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(text(), end="")
