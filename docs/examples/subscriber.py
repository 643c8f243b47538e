#!/usr/bin/env python3
"""Follows one lane and loses no verdict. Plain pyzmq, none of Lanepulse's code: copy it and change ``deal``.

    subscriber.py --publish tcp://lane3:7501 --replay tcp://lane3:7502 --site calais --lane 3 \\
        --server-key lane3.pub --key mine.key --after last-number

Prints one JSON object a line. ``--after`` names the file that holds the number of the last verdict dealt with; when
it is missing the newest verdict is the first. Key files are ZeroMQ certificates, as ``lanepulse keys`` makes them.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import zmq
import zmq.auth

SILENCE_MS = 5000  # the lane says something each second


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("publish", "replay", "site", "lane", "server-key", "key", "after"):
        parser.add_argument(f"--{name}", required=True)
    return parser.parse_args()


def connected(context: zmq.Context, kind: int, endpoint: str, given: argparse.Namespace) -> zmq.Socket:
    socket = context.socket(kind)
    socket.curve_publickey, socket.curve_secretkey = zmq.auth.load_certificate(given.key)
    socket.curve_serverkey, _ = zmq.auth.load_certificate(given.server_key)
    socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)  # without these two a client
    socket.setsockopt(zmq.HANDSHAKE_IVL, 3000)  # may wait for ever on a cable that was pulled
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3000)
    socket.rcvhwm = 0  # heartbeats and a full queue do not go together in libzmq
    socket.linger = 0
    socket.rcvtimeo = SILENCE_MS
    if kind == zmq.SUB:
        socket.subscribe(f"verdict.{given.site}.{given.lane}.")  # with the closing dot, or lane 3 hears lane 30
        socket.subscribe(f"status.{given.site}.{given.lane}.")
    socket.connect(endpoint)
    return socket


def replayed(context: zmq.Context, given: argparse.Namespace, first: int) -> Iterator[tuple[dict, dict]]:
    """Header and body of each verdict from number ``first`` to the newest. Raises zmq.Again when none answers."""
    with connected(context, zmq.DEALER, given.replay, given) as socket:
        while True:
            socket.send_json({"from": first, "limit": 200})
            while True:
                header, body = (json.loads(frame) for frame in socket.recv_multipart()[1:])
                if header["kind"] == "end":
                    break
                yield header, body
            if body["error"]:
                sys.exit(f"{given.replay}: {body['error']}")
            if body["complete"]:
                return
            first = body["next"]


def deal(header: dict, verdict: dict, after: Path) -> int:
    """Here is the place for what you do with a verdict; only then is its number kept."""
    print(json.dumps({"sequence": header["sequence"], "kind": header["kind"], "verdict": verdict}), flush=True)
    beside = after.with_suffix(".new")
    beside.write_text(str(header["sequence"]))
    beside.replace(after)
    return int(header["sequence"])


def main() -> None:
    given = options()
    after = Path(given.after)
    last = int(after.read_text()) if after.exists() else None
    context = zmq.Context()
    live = connected(context, zmq.SUB, given.publish, given)
    older = 0
    while True:
        try:
            header, body = (json.loads(frame) for frame in live.recv_multipart()[1:])
            is_verdict, number = header["kind"] != "status", header["sequence"]
            last = max(number - 1, 0) if last is None else last
            if number > last + is_verdict:  # verdicts may be missing, or only rows that are none: ask
                for past_header, past_body in replayed(context, given, last + 1):
                    last = deal(past_header, past_body, after)
            elif is_verdict and number > last:
                last = deal(header, body, after)
            older = older + 1 if number < last else 0
            if older == 10:
                print(f"the lane's newest verdict is {number}, ours {last}: was its journal replaced?", file=sys.stderr)
        except zmq.Again:
            print(
                f"silence from {given.publish} or {given.replay}: check lane and network", file=sys.stderr, flush=True
            )


if __name__ == "__main__":
    main()
