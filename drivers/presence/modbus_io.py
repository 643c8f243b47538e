"""Lane I/O over Modbus TCP: presence inputs (loop, light curtain) and a closed detector's lamp contacts, by FC 02."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from drivers.driver import DriverFault, Expected, Identity, Refused, Surroundings
from drivers.reading import ContactChange, ContactState, Modality, PresenceChange, Stamp

MODALITY = Modality.PRESENCE
ILLEGAL_ADDRESS = 2  # MODBUS Application Protocol V1.1b3, 7


class Config(BaseModel):
    """The ``[devices.<name>]`` table of a remote I/O module."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    driver: Literal["presence.modbus_io"]
    address: str = Field(pattern=r"^\S+:\d{1,5}$", description="host:port")
    unit: int = Field(1, ge=0, le=255)
    presence_inputs: tuple[int, ...] = Field((0, 1), min_length=1, max_length=2)
    contact_inputs: dict[ContactState, int] = {}
    debounce_s: float = Field(0.2, ge=0, le=10)
    poll_s: float = Field(0.05, ge=0.01, le=5)
    silence_s: float = Field(2.0, gt=0, le=60)
    reconnect_max_s: float = Field(2.0, gt=0, le=60)


class Debounced:
    """A value that counts only once it has held for ``hold_s`` seconds; the first one counts at once."""

    def __init__(self, hold_s: float) -> None:
        self._hold_s, self._candidate, self._since_s = hold_s, None, 0.0  # type: float, object, float
        self.value: object = None

    def see(self, value: object, now_s: float) -> bool:
        """True when the settled value has just changed."""
        if value != self._candidate:
            self._candidate, self._since_s = value, now_s
        if value == self.value or (self.value is not None and now_s - self._since_s < self._hold_s):
            return False
        self.value = value
        return True


def expected(config: Config) -> tuple[Expected, ...]:
    """Inputs are polled; changes come when they come."""
    return (Expected("inputs", config.poll_s, config.silence_s),)


def _client(config: Config) -> AsyncModbusTcpClient:
    host, _, port = config.address.rpartition(":")
    return AsyncModbusTcpClient(
        host, port=int(port), timeout=config.silence_s / 2, retries=0, reconnect_delay_max=config.reconnect_max_s
    )


async def _inputs(client: AsyncModbusTcpClient, name: str, config: Config) -> list[bool]:
    count = max((*config.presence_inputs, *config.contact_inputs.values())) + 1
    try:
        reply = await client.read_discrete_inputs(0, count=count, device_id=config.unit)
    except ModbusException as error:
        raise TimeoutError(f"{name}: {config.address}: {error}; check the module's network and power") from error
    if reply.isError():
        code = getattr(reply, "exception_code", 0)
        kind = Refused if code == ILLEGAL_ADDRESS else DriverFault
        raise kind(f"{name}: {config.address}: inputs 0..{count - 1}: exception {code}; check unit and inputs")
    if reply.function_code != 2 or len(reply.bits) < count:
        raise DriverFault(f"{name}: {config.address}: asked {count} inputs, got {len(reply.bits)}; check the module")
    return list(reply.bits)


async def _connect(client: AsyncModbusTcpClient, name: str, config: Config) -> None:
    if not await client.connect():
        raise ConnectionError(f"{name}: nobody listens at {config.address}; check the module's address and power")


async def probe(name: str, config: Config, around: Surroundings) -> Identity:
    """Read the inputs once; such modules do not say who they are.

    Raises:
        ConnectionError, TimeoutError, DriverFault: as the network says.
    """
    client = _client(config)
    try:
        await _connect(client, name, config)
        await _inputs(client, name, config)
    finally:
        client.close()
    return Identity(model="Modbus TCP inputs")


async def readings(name: str, config: Config, around: Surroundings) -> AsyncIterator[PresenceChange | ContactChange]:
    """Changes that held for ``debounce_s``, the first state at once; disagreeing inputs are said in ``status``.

    Raises:
        ConnectionError, TimeoutError, DriverFault: as the network says.
    """
    loop, client = asyncio.get_running_loop(), _client(config)
    pair, lamps = Debounced(config.debounce_s), {lamp: Debounced(config.debounce_s) for lamp in config.contact_inputs}
    try:
        await _connect(client, name, config)
        while True:
            bits, now_s, now_ns = await _inputs(client, name, config), loop.time(), around.now_utc_ns()
            stamp = Stamp(now_ns, now_ns, around.monotonic_ns(), around.clock())
            if pair.see(seen := tuple(bits[i] for i in config.presence_inputs), now_s):
                status = (
                    "ok"
                    if len(set(seen)) == 1
                    else f"inputs disagree: {dict(zip(config.presence_inputs, seen, strict=False))}"
                )
                yield PresenceChange(name, stamp, any(seen), status)
            for lamp, contact in lamps.items():
                if contact.see(bits[config.contact_inputs[lamp]], now_s) and contact.value:
                    yield ContactChange(name, stamp, lamp)
            await asyncio.sleep(config.poll_s)
    finally:
        client.close()
