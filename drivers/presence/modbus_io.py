"""Lane I/O over Modbus TCP, by FC 02: presence (loop, light curtain), a closed detector's lamps, push-buttons."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException

from drivers.driver import DriverFault, Expected, Identity, Refused, Surroundings
from drivers.reading import Button, ButtonPress, ContactChange, ContactState, Modality, PresenceChange, Stamp

MODALITY = Modality.PRESENCE
T = TypeVar("T")
Change = PresenceChange | ContactChange | ButtonPress
GRAVITY = (ContactState.GREEN, ContactState.AMBER, ContactState.RED)
READ_DISCRETE_INPUTS = 2
BUTTON_S = 0.05  # assumed: a push-button bounces for some milliseconds, and is held for a tenth of a second
RECONNECT_S = 0.1  # first pause before a lost link is tried again
ILLEGAL_ADDRESS = 2  # MODBUS Application Protocol V1.1b3, 7


Input = Annotated[int, Field(ge=0, le=1999)]  # FC 02 reads at most 2000 (MODBUS Application Protocol V1.1b3, 6.2)


class Config(BaseModel):
    """The ``[devices.<name>]`` table of a remote I/O module."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    driver: Literal["presence.modbus_io"]
    address: str = Field(pattern=r"^\S+:\d{1,5}$", description="host:port")
    unit: int = Field(1, ge=0, le=255)
    presence_inputs: tuple[Input, ...] = Field((0, 1), min_length=1, max_length=2)
    contact_inputs: dict[ContactState, Input] = Field({}, description="Lamp of a closed detector -> input")
    button_inputs: dict[Button, Input] = Field({}, description="Push-button of the officers' box -> input")
    debounce_s: float = Field(0.2, ge=0, le=10)
    poll_s: float = Field(0.05, ge=0.01, le=5)
    silence_s: float = Field(2.0, gt=0, le=60)
    reconnect_max_s: float = Field(
        1.0, ge=0.1, le=60, description="Longest pause between attempts while a lost link is ridden out"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        points = self.points
        if len(set(points)) != len(points):
            raise ValueError(f"inputs {list(points)}: one input is named twice; each signal has its own")
        if not 0 < int(self.address.rpartition(":")[2]) <= 65535:
            raise ValueError(f"address {self.address!r}: the port is not between 1 and 65535")
        return self

    @property
    def points(self) -> tuple[int, ...]:
        """All inputs that are read."""
        return (*self.presence_inputs, *self.contact_inputs.values(), *self.button_inputs.values())


class Debounced(Generic[T]):
    """A value that counts only once it has held for ``hold_s`` seconds; the first one counts at once.

    Held in time, not in samples: a late poll must not count as a steady input.
    """

    def __init__(self, hold_s: float) -> None:
        self._hold_s = hold_s
        self._candidate: T | None = None
        self._since_s = 0.0
        self.value: T | None = None

    def see(self, value: T, now_s: float) -> bool:
        """True when the settled value has just changed."""
        if value != self._candidate:
            self._candidate, self._since_s = value, now_s
        if value == self.value or (self.value is not None and now_s - self._since_s < self._hold_s):
            return False
        self.value = value
        return True


def presence(inputs: tuple[int, ...], on: tuple[bool, ...]) -> tuple[bool, str]:
    """Present if any input says so, and "ok" or which inputs disagree: a vehicle unseen is worse than one too many."""
    if len(set(on)) == 1:
        return on[0], "ok"
    said = ", ".join(f"{point} {'on' if state else 'off'}" for point, state in zip(inputs, on, strict=True))
    return True, f"inputs disagree: {said}"


def lamp(lit: tuple[ContactState, ...], before: ContactState | None) -> tuple[ContactState | None, str]:
    """The detector's lamp: the gravest of those lit, or the one before where none is; None if there never was one."""
    if len(lit) == 1:
        return lit[0], "ok"
    if not lit:
        return before, "no lamp is lit"
    gravest = max(lit, key=GRAVITY.index)
    return gravest, f"several lamps are lit: {', '.join(sorted(lit, key=GRAVITY.index))}"


def pressed(before: frozenset[Button] | None, down: frozenset[Button]) -> Button | None:
    """The button that went down, alone; one that was down at the start is stuck, and two at once mean nothing."""
    if before is None or len(down) != 1 or before:
        return None
    return next(iter(down))


def expected(config: Config) -> tuple[Expected, ...]:
    """Inputs are polled; changes come when they come."""
    return (Expected("inputs", config.poll_s, config.silence_s),)


def _client(config: Config) -> AsyncModbusTcpClient:
    host, _, port = config.address.rpartition(":")
    return AsyncModbusTcpClient(
        host,
        port=int(port),
        timeout=config.silence_s / 2,  # so that one lost reply is not yet silence
        retries=0,
        reconnect_delay=0,  # we do it: its own task, ended while it connects, leaves a socket behind (pymodbus 3.16.1)
    )


async def _inputs(client: AsyncModbusTcpClient, name: str, config: Config) -> list[bool]:
    count = max(config.points) + 1
    where = f"{name}: {config.address}, unit {config.unit}"
    try:
        reply = await client.read_discrete_inputs(0, count=count, device_id=config.unit)
    except ConnectionException as error:
        raise ConnectionError(f"{where}: link lost; check the module's network and power") from error
    except ModbusException as error:
        raise TimeoutError(f"{where}: no reply; check the module's network and power") from error
    if reply.isError():
        code = getattr(reply, "exception_code", 0)
        kind = Refused if code == ILLEGAL_ADDRESS else DriverFault
        raise kind(f"{where}: inputs 0..{count - 1}: exception {code}; check unit and inputs")
    if reply.function_code != READ_DISCRETE_INPUTS or len(reply.bits) != -(-count // 8) * 8:
        raise DriverFault(f"{where}: asked for {count} inputs, got {len(reply.bits)} bits; is this the I/O module?")
    return list(reply.bits)


@asynccontextmanager
async def _connected(name: str, config: Config) -> AsyncIterator[AsyncModbusTcpClient]:
    client = _client(config)
    try:
        if not await client.connect():
            raise ConnectionError(f"{name}: nobody listens at {config.address}; check the module's address and power")
        yield client
    finally:
        client.close()


async def probe(name: str, config: Config, around: Surroundings) -> Identity:
    """Read the inputs once; such modules do not say who they are.

    Raises:
        ConnectionError, TimeoutError, DriverFault: as the network says.
    """
    async with _connected(name, config) as client:
        await _inputs(client, name, config)
    return Identity(model="Modbus TCP inputs")


class _Lane:
    """Settled state of all inputs; each poll gives the changes."""

    def __init__(self, name: str, config: Config) -> None:
        self._name, self._config = name, config
        self._presence = Debounced[tuple[bool, ...]](config.debounce_s)
        self._lit = Debounced[tuple[ContactState, ...]](config.debounce_s)
        self._lamp: ContactState | None = None
        self._buttons = Debounced[frozenset[Button]](min(config.debounce_s, BUTTON_S))
        self._down: frozenset[Button] | None = None

    def changes(self, bits: list[bool], now_s: float, stamp: Stamp) -> list[Change]:
        found: list[Change] = []
        on = tuple(bits[point] for point in self._config.presence_inputs)
        if self._presence.see(on, now_s):
            found.append(PresenceChange(self._name, stamp, *presence(self._config.presence_inputs, on)))
        lit = tuple(state for state, point in self._config.contact_inputs.items() if bits[point])
        if self._config.contact_inputs and self._lit.see(lit, now_s):
            self._lamp, status = lamp(lit, self._lamp)
            if self._lamp is not None:
                found.append(ContactChange(self._name, stamp, self._lamp, status))
        down = frozenset(button for button, point in self._config.button_inputs.items() if bits[point])
        if self._config.button_inputs and self._buttons.see(down, now_s):
            button, self._down = pressed(self._down, down), down
            if button is not None:
                found.append(ButtonPress(self._name, stamp, button))
        return found


Poll = tuple[int, int, tuple[bool, ...]]


async def polls(name: str, config: Config, around: Surroundings) -> AsyncGenerator[Poll, None]:
    """(monotonic ns, UTC ns, presence inputs) of each poll, for calibration; as `readings` where the link is lost."""
    loop = asyncio.get_running_loop()
    async with _connected(name, config) as client:
        heard_s = loop.time()
        while True:
            try:
                if not client.connected:
                    await client.connect()
                bits = await _inputs(client, name, config)
            except (ConnectionError, TimeoutError):
                if loop.time() - heard_s >= config.silence_s:
                    raise
            else:
                heard_s = loop.time()
                on = tuple(bits[point] for point in config.presence_inputs)
                yield around.monotonic_ns(), around.now_utc_ns(), on
            await asyncio.sleep(config.poll_s)


async def readings(name: str, config: Config, around: Surroundings) -> AsyncIterator[Change]:
    """Changes that held for ``debounce_s``, the first state at once; disagreeing inputs are said in ``status``.

    A lost reply or link is ridden out for ``silence_s``; the stamp is the poll that settled the change.

    Raises:
        ConnectionError: nobody listens, or the link stayed lost for ``silence_s``.
        TimeoutError: no reply for ``silence_s``.
        DriverFault: an exception, or a reply that is not one.
    """
    loop, lane = asyncio.get_running_loop(), _Lane(name, config)
    async with _connected(name, config) as client:
        heard_s, pause_s = loop.time(), RECONNECT_S
        while True:
            try:
                if not client.connected:
                    await client.connect()
                bits = await _inputs(client, name, config)
            except (ConnectionError, TimeoutError):
                if loop.time() - heard_s >= config.silence_s:
                    raise
                await asyncio.sleep(pause_s)
                pause_s = min(config.reconnect_max_s, 2 * pause_s)
            else:
                heard_s, now_ns, pause_s = loop.time(), around.now_utc_ns(), RECONNECT_S
                stamp = Stamp(now_ns, now_ns, around.monotonic_ns(), around.clock())
                for change in lane.changes(bits, heard_s, stamp):
                    yield change
            await asyncio.sleep(config.poll_s)
