"""How a client's socket is set up, so that a cut cable is noticed and a mended one is used again within seconds.

The integrators' page (``docs/integrators.md``) says the same to clients that do not use our code.
"""

from __future__ import annotations

import zmq
import zmq.asyncio

from edge.json_text import LONGEST_BYTES
from edge.keys import CurveKeys

QUEUE_MESSAGES = 0  # no limit: libzmq 4.3.5 aborts where heartbeats meet a full queue (zeromq/libzmq#4767), and the
# lane says so little (a state a second) that a reader which sleeps for an hour costs some MB
HEARTBEAT_MS, HEARTBEAT_LOST_MS = 1000, 3000  # as the publisher's
HANDSHAKE_MS = 3000  # assumed: one that began while the cable was out never ends; libzmq would wait for 30 s
CONNECT_MS = 3000  # assumed: the kernel would go on for two minutes, at ever longer intervals
RECONNECT_MS, RECONNECT_MOST_MS = 100, 2000  # assumed: back within seconds of the cable's return


def set_up(socket: zmq.asyncio.Socket, endpoint: str, server_key: bytes, own: CurveKeys) -> None:
    """Keys and limits; connect it afterwards. Raises ValueError where a key is malformed."""
    try:
        socket.curve_serverkey = server_key
        socket.curve_publickey, socket.curve_secretkey = own.public, own.secret
    except zmq.ZMQError as error:
        raise ValueError(f"{endpoint}: {error}; give the lane's public key, 40 letters") from None
    socket.linger = 0
    socket.rcvhwm, socket.maxmsgsize = QUEUE_MESSAGES, LONGEST_BYTES
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_LOST_MS)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    socket.setsockopt(zmq.CONNECT_TIMEOUT, CONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MOST_MS)


def connect(socket: zmq.asyncio.Socket, endpoint: str) -> None:
    """Begin to connect. Raises ValueError where the endpoint is malformed."""
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        raise ValueError(f"{endpoint}: {error}; give tcp://HOST:PORT") from None
