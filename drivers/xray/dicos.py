"""A cargo scanner that sends DICOS (or medical DX) radiographs by DICOM C-STORE; we are the SCP, and nothing else.

TLS with client certificates is how it is deployed; plain DICOM is for loopback, behind a proxy or in a laboratory.
Every object is on disk in ``spool`` before its sender hears success; readings are made from there, after a restart too.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from drivers.driver import DriverFault, Expected, Identity, Surroundings
from drivers.reading import Modality, Radiograph, Stamp
from drivers.xray.judging import Judge, Rules
from drivers.xray.scp import Sender, Server, Terms, serve
from drivers.xray.spool import Spool, Stored

MODALITY = Modality.XRAY
READ = "xray.read"  # resume note: name of the last object that became a reading
AE_TITLE = r"^[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?$"  # PS3.5 6.2, AE: printable, no backslash, no outer spaces


class Peer(BaseModel):
    """A scanner that may send."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    ae_title: str = Field(pattern=AE_TITLE, description="Its calling AE title")
    address: str = Field(description="Its IP address")
    certificate_sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$", description="Of its certificate, DER")

    @model_validator(mode="after")
    def _check(self) -> Self:
        ipaddress.ip_address(self.address)
        return self


class Tls(BaseModel):
    """Our certificate and key, and the authority whose client certificates we take."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    certificate: Path
    key: Path
    client_ca: Path


class Config(Rules):
    """The ``[devices.<name>]`` table of a scanner that sends by C-STORE."""

    driver: Literal["xray.dicos"]
    listen: str = Field("127.0.0.1:11112", pattern=r"^\S+:\d{1,5}$", description="IP address:port to listen on")
    ae_title: str = Field("LANEPULSE", pattern=AE_TITLE, description="Our AE title; others are turned away")
    senders: tuple[Peer, ...] = Field(min_length=1, max_length=32)
    tls: Tls | None = Field(None, description="Needed where we listen beyond loopback")
    spool: Path = Field(description="Folder of the received objects, this device's alone")
    spool_max_bytes: int = Field(20 * 2**30, ge=2**20, description="Beyond, senders hear A700, out of resources")
    max_associations: int = Field(4, ge=1, le=32)
    object_s: float = Field(120, gt=0, le=3600, description="Longest time for one object, first byte to last")
    network_s: float = Field(10, gt=0, le=600, description="Longest silence within an association")
    handshake_s: float = Field(5, gt=0, le=60, description="Longest time to TLS and to an association")

    @model_validator(mode="after")
    def _check_listen(self) -> Self:
        host, port = self.address
        if port > 65535:
            raise ValueError(f"listen {self.listen!r}: the port is above 65535")
        if self.tls is None and not ipaddress.ip_address(host).is_loopback:
            raise ValueError(f"listen {self.listen!r} is beyond loopback: give tls (certificate, key, client_ca)")
        return self

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


def expected(config: Config) -> tuple[Expected, ...]:
    """Scans come when vehicles do: no rate, and only a very long silence is a fault."""
    return (Expected("objects", config.silence_s, config.silence_s),)


async def probe(name: str, config: Config, around: Surroundings) -> Identity:
    """A scanner cannot be asked, it calls; this only checks that we could answer.

    Raises:
        DriverFault: the certificates are not usable.
    """
    _tls(name, config)
    return Identity(model="DICOM C-STORE receiver")


def from_now(now_utc_ns: int) -> dict[str, str]:
    """Resume notes of a device that was lent: what came in the meantime was not a lorry's."""
    return {READ: f"{now_utc_ns:020d}"}


async def readings(name: str, config: Config, around: Surroundings) -> AsyncIterator[Radiograph]:
    """A reading for each new object, also those that came while nobody read; ``status`` says what is wrong with one.

    Raises:
        DriverFault: the certificates or the spool are not usable.
        OSError: the address is taken.
    """
    last = around.recall(READ) or ""
    judge = Judge(name, config)
    async with _receiving(name, config, around, last) as inbox:
        while True:
            for stored in await asyncio.to_thread(inbox.spool.after, last):
                last = stored.path.name
                reading = await asyncio.to_thread(inbox.read, judge, stored)
                if reading is not None:
                    yield reading
                around.remember(READ, last)
            await inbox.more()


class _Inbox:
    """Between the server's threads and the loop."""

    def __init__(self, spool: Spool, around: Surroundings) -> None:
        self.spool = spool
        self._around, self._loop = around, asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._monotonic_ns: dict[str, int] = {}  # name -> when it came; those of before a restart came long ago

    def arrived(self, stored: Stored, new: bool) -> None:
        """From a server thread."""
        if not new:
            self.say("the same object again: kept once")
            return
        self._monotonic_ns[stored.path.name] = self._around.monotonic_ns()
        with contextlib.suppress(RuntimeError):  # the loop has ended: the next start reads what is in the spool
            self._loop.call_soon_threadsafe(self._news.set)

    def say(self, cause: str) -> None:
        """From a server thread: counted by the supervisor."""
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody counts any more
            self._loop.call_soon_threadsafe(self._around.reject, cause, b"")

    async def more(self) -> None:
        await self._news.wait()
        self._news.clear()

    def read(self, judge: Judge, stored: Stored) -> Radiograph | None:
        """In a worker thread; None for what is meant to be none."""
        came_ns = self._monotonic_ns.pop(stored.path.name, None)
        now_ns = self._around.monotonic_ns() if came_ns is None else came_ns
        arrived = Stamp(stored.arrived_utc_ns, stored.arrived_utc_ns, now_ns, self._around.clock())
        return judge.read(stored.path, arrived, self.spool.flags(stored))


@contextlib.asynccontextmanager
async def _receiving(name: str, config: Config, around: Surroundings, last: str) -> AsyncIterator[_Inbox]:
    tls = _tls(name, config)
    try:
        spool = Spool(config.spool, config.spool_max_bytes, around.now_utc_ns, last)
    except OSError as error:
        raise DriverFault(
            f"{name}: spool {config.spool}: {error.strerror or error}; give it a folder of its own"
        ) from error
    server: Server | None = None
    try:
        inbox = _Inbox(spool, around)
        server = serve(config.address, tls, _terms(config), spool, arrived=inbox.arrived, say=inbox.say)
        yield inbox
    finally:
        if server is not None:
            await asyncio.to_thread(server.close)
        spool.close()


def _terms(config: Config) -> Terms:
    senders = tuple(Sender(peer.ae_title, peer.address, peer.certificate_sha256) for peer in config.senders)
    return Terms(
        config.ae_title,
        senders,
        config.max_object_bytes,
        config.max_associations,
        config.object_s,
        config.network_s,
        config.handshake_s,
    )


def _tls(name: str, config: Config) -> ssl.SSLContext | None:
    """TLS 1.2 or later, and no peer without a certificate of the site's authority."""
    if config.tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        what = "certificate or key"
        context.load_cert_chain(config.tls.certificate, config.tls.key)
        what = "client_ca"
        context.load_verify_locations(config.tls.client_ca)
    except OSError as error:  # ssl.SSLError among them
        raise DriverFault(f"{name}: tls: {what}: {error.strerror or error}; check path, form and rights") from error
    return context
