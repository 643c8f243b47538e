"""A remote I/O module: Modbus TCP written by hand, ``python -m hil.devices.modbus_io --listen 127.0.0.1:0``.

Prints ``listening PORT``; takes ``{"inputs": {"0": true}}`` a line on stdin, or
``{"schedule": [[0.5, 0, true], [1.5, 0, false]]}``: seconds from now, input, state. Functions 01, 02, 05, 15.
``unplug`` hangs up and listens no more, ``plug`` listens again at the same port.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import struct
import sys
import time

POINTS = 64  # inputs, and as many coils


class Module:
    """Inputs and coils, and the answers about them."""

    def __init__(self) -> None:
        self.inputs, self.coils = [False] * POINTS, [False] * POINTS
        self.schedule: list[tuple[float, int, bool]] = []
        self.masters: set[asyncio.StreamWriter] = set()

    def answer(self, pdu: bytes) -> bytes:
        """Reply PDU to a request PDU."""
        if len(pdu) < 5 or pdu[0] not in (1, 2, 5, 15):
            return bytes((pdu[0] | 0x80, 1))
        function, address, value = struct.unpack(">BHH", pdu[:5])
        count = 1 if function == 5 else value
        if not 1 <= count <= POINTS or address + count > POINTS:
            return bytes((function | 0x80, 2))
        if function == 5:
            self.coils[address] = value == 0xFF00
            return pdu[:5]
        if function == 15:
            if len(pdu) < 6 + (count + 7) // 8:
                return bytes((function | 0x80, 3))
            for i in range(count):
                self.coils[address + i] = bool(pdu[6 + i // 8] >> i % 8 & 1)
            return pdu[:5]
        self.keep_schedule()
        points = (self.coils if function == 1 else self.inputs)[address : address + count]
        packed = sum(1 << i for i, on in enumerate(points) if on).to_bytes((count + 7) // 8, "little")
        return bytes((function, len(packed))) + packed

    def keep_schedule(self) -> None:
        """Inputs whose time has come: true at the moment of the question, however late it is asked."""
        now_s = time.monotonic()
        while self.schedule and self.schedule[0][0] <= now_s:
            _, point, on = self.schedule.pop(0)
            self.inputs[point] = on

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One master, until it hangs up or speaks something else."""
        self.masters.add(writer)
        try:
            while True:
                transaction, protocol, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
                if protocol != 0 or not 2 <= length <= 254:
                    return
                reply = self.answer(await reader.readexactly(length - 1))
                writer.write(struct.pack(">HHHB", transaction, 0, len(reply) + 1, unit) + reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self.masters.discard(writer)
            writer.close()


async def run(listen: str) -> None:
    """Serve until stdin ends."""
    host, _, chosen = listen.rpartition(":")
    module = Module()
    server = await asyncio.start_server(module.serve, host, int(chosen))
    port = server.sockets[0].getsockname()[1]
    print("listening", port, flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        for point, on in order.get("inputs", {}).items():
            module.inputs[int(point)] = bool(on)
        if "schedule" in order:
            now_s = time.monotonic()
            module.schedule = sorted((now_s + float(at), int(point), bool(on)) for at, point, on in order["schedule"])
        match order.get("do"):
            case "unplug":
                server.close()
                for master in tuple(module.masters):
                    master.transport.abort()
            case "plug" if not server.is_serving():
                server = await asyncio.start_server(module.serve, host, port)
        print("done", flush=True)
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:0")
    asyncio.run(run(parser.parse_args().listen))
