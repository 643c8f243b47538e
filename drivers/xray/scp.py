"""A DICOM Storage SCP that survives its peers: pynetdicom's protocol, with our own limits around its transport.

pynetdicom reads any PDU as long as it claims to be, does TLS handshakes in its accept loop, keeps objects in memory and
counts only idle time. Here a PDU's claim is checked before it is read, handshakes have a thread and a deadline of their
own, objects go to disk as they come, and each has a deadline. A peer that breaks a rule is cut off; the next is served.

It only ever answers: there is no SCU in this package, and a test holds it to that.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, cast

import pydicom.config
from pynetdicom import _config, evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import register_uid
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from drivers.wire.dicom import ACCEPTED, part10_header
from drivers.xray.spool import Part, Spool, Stored

DICOS = "1.2.840.10008.5.1.4.1.1.501"
VERIFICATION = "1.2.840.10008.1.1"
CLASSES = (  # what a scanner may send: DICOS DX (a toolkit proposes the sub-classes too), its threat report, medical DX
    *(f"{DICOS}.2.{kind}{sub}" for kind in (1, 2) for sub in ("", ".1", ".2", ".3")),
    f"{DICOS}.3",
    "1.2.840.10008.5.1.4.1.1.1",
    "1.2.840.10008.5.1.4.1.1.1.1",
    "1.2.840.10008.5.1.4.1.1.1.1.1",
)
MAX_PDU = 131_072  # DCMTK's own maximum; measured twice as fast as 16 384
PDU_SLACK = 1024  # senders that count their headers otherwise
MAX_REQUEST_PDU = 256 * 1024  # assumed: 128 presentation contexts with all their syntaxes
P_DATA_TF, ASSOCIATE_RQ = 0x04, 0x01  # PS3.8 9.3
ABORT = struct.pack(">BBIBBBB", 0x07, 0, 4, 0, 0, 2, 0)  # A-ABORT by the service provider (PS3.8 9.3.8)
CONNECTIONS_BEYOND = 8  # assumed: peers in a handshake, beside the associations
SUCCESS, OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000  # PS3.4 B.2.3
REJECTED_PERMANENT, REJECTED_TRANSIENT = 1, 2  # PS3.8 9.3.4

pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE  # a toolkit's UIDs are wrong, by the dozen
_config.LOG_HANDLER_LEVEL = "none"  # its handlers print whole PDUs: no plate at any level
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # peers decide how often it complains


@dataclass(frozen=True, slots=True)
class Sender:
    """Who may send: title and address together, and where given the SHA-256 of the client certificate (DER, hex)."""

    ae_title: str
    address: str
    certificate_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """Limits of the receiver, all times in seconds."""

    ae_title: str
    senders: tuple[Sender, ...]
    max_object_bytes: int
    max_associations: int
    object_s: float
    network_s: float
    handshake_s: float


class _Refusal(ConnectionAbortedError):
    """The peer broke a rule; the connection is closed."""


class _Wire(AssociationSocket):
    """The transport of one association: every read is bounded in size and time."""

    def __init__(self, assoc: Association, sock: socket.socket, terms: Terms, say: Callable[[str], None]) -> None:
        super().__init__(assoc, client_socket=sock)
        self._raw, self._terms, self._say = sock, terms, say
        self._opened_s = time.monotonic()
        self._body: int | None = None  # length of the PDU whose header was read
        self._is_data = False
        self._object_bytes, self._object_since_s = 0, 0.0
        self.serving = self.refused = False
        sock.settimeout(terms.network_s)

    @property
    def in_object(self) -> bool:
        """Whether bytes of a message have come that is not answered yet."""
        return self._object_bytes > 0

    def object_ended(self) -> None:
        """The object, or the echo, was answered: the next one has all its bytes and time again."""
        self._object_bytes = 0

    def recv(self, nr_bytes: int) -> bytearray:
        """Exactly ``nr_bytes``, or fewer where the peer ended; called for a header, then for its body.

        Raises:
            ConnectionAbortedError: a limit was passed; the connection is closed.
            OSError: the network.
        """
        if self._body is None or nr_bytes != self._body:
            header = self._read(6, self._deadline_s())
            if len(header) == 6:
                self._check(*struct.unpack(">BxI", header))
            return header
        self._body = None
        if self._is_data:
            self._account(nr_bytes)
        return self._read(nr_bytes, self._deadline_s())

    def _check(self, kind: int, length: int) -> None:
        """A PDU by its header, before its body is read."""
        limit = MAX_PDU + PDU_SLACK if kind == P_DATA_TF else MAX_REQUEST_PDU if kind == ASSOCIATE_RQ else 1024
        if length > limit:
            self.refuse("a PDU longer than was agreed")
        self._body = length if 1 <= kind <= 7 else None
        self._is_data = kind == P_DATA_TF
        if self._is_data and (self.serving or not self.assoc.dimse.msg_queue.empty()):
            self.refuse("a further message before the answer to the last")  # PS3.7 D.3.3.3: none was negotiated

    def _account(self, length: int) -> None:
        if not self._object_bytes:
            self._object_since_s = time.monotonic()
        self._object_bytes += length
        if self._object_bytes > self._terms.max_object_bytes + MAX_PDU:  # room for the command and the PDU headers
            self.refuse(f"an object above {self._terms.max_object_bytes} bytes")

    def _deadline_s(self) -> float:
        now_s = time.monotonic()
        if not self.assoc.is_established and not self._object_bytes:
            return min(now_s + self._terms.network_s, max(now_s, self._opened_s + self._terms.handshake_s))
        if self._object_bytes:
            return min(now_s + self._terms.network_s, self._object_since_s + self._terms.object_s)
        return now_s + self._terms.network_s

    def _read(self, count: int, deadline_s: float) -> bytearray:
        buffer, have = bytearray(count), 0
        while have < count:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                self.refuse("a sender that is too slow")
            self._raw.settimeout(left_s)
            try:
                got = self._raw.recv_into(memoryview(buffer)[have:])
            except TimeoutError:
                self.refuse("a sender that is too slow")
            if not got:
                return buffer[:have]
            have += got
        self._raw.settimeout(self._terms.network_s)  # for what we send
        return buffer

    def refuse(self, cause: str) -> None:
        """Tell the peer, close, and say so; raises, so that the engine sees a closed connection."""
        self.refused = True
        self._say(f"cut off: {cause}")
        with contextlib.suppress(OSError):
            self._raw.settimeout(0.2)
            self._raw.send(ABORT)
        self.cut()
        raise _Refusal(cause)

    def cut(self) -> None:
        """Close, from any thread."""
        with contextlib.suppress(OSError):
            self._raw.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._raw.close()


class _ToDisk(BytesIO):
    """The buffer that pynetdicom wants of a data set: always empty, the bytes go to a file as they come."""

    def __init__(self, assoc: Association, spool: Spool, max_bytes: int) -> None:
        super().__init__()
        self._assoc, self._spool, self._max_bytes = assoc, spool, max_bytes
        self.message: DIMSEMessage | None = None
        self.part: Part | None = None

    def write(self, data: Any) -> int:
        if self.part is None:
            self.part = Part(self._spool, self._max_bytes)
            self.part.write(self._header(), digested=False)
        self.part.write(bytes(data))
        return len(data)

    def _header(self) -> bytes:
        """File meta of what is about to come; the sender's own does not travel over the network."""
        assert self.message is not None
        command = self.message.command_set
        accepted = {cx.context_id: cx for cx in self._assoc.accepted_contexts}
        syntaxes = accepted[self.message.context_id].transfer_syntax if self.message.context_id in accepted else []
        return part10_header(
            str(syntaxes[0]) if syntaxes else "",
            str(command.get("AffectedSOPClassUID", "")),
            str(command.get("AffectedSOPInstanceUID", "")),
            str(self._assoc.requestor.ae_title),
        )


class _Dimse(DIMSEServiceProvider):
    """pynetdicom's message reader, with the disk in place of its memory."""

    def __init__(self, assoc: Association, spool: Spool, max_bytes: int) -> None:
        super().__init__(assoc)
        self._spool, self._max_bytes = spool, max_bytes
        self._current: _ToDisk | None = None

    def receive_primitive(self, primitive: P_DATA) -> None:
        if self.message is None:
            self.discard()
            self.message = DIMSEMessage()
            self._current = _ToDisk(self.assoc, self._spool, self._max_bytes)
            self._current.message = self.message
            self.message.data_set = self._current
        super().receive_primitive(primitive)

    def discard(self) -> bool:
        """What was not kept goes; whether there was something."""
        return self._current is not None and self._current.part is not None and self._current.part.discard()


class _Handler(RequestHandler):
    """Makes an association whose transport and message reader are ours."""

    def _create_association(self) -> Association:
        server = cast("Server", self.server)
        assoc = super()._create_association()
        assoc.dimse = _Dimse(assoc, server.spool, server.terms.max_object_bytes)
        assoc.dul.socket = _Wire(assoc, cast(socket.socket, self.request), server.terms, server.say)
        assoc.dul.event_queue.get()  # two transports said "connected"; one of them is ours
        assoc.dul.daemon = True
        return assoc


class Server(ThreadedAssociationServer):
    """Accepts, hands shakes aside, and gives every complete object to ``arrived`` from a thread of its own."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def __init__(self, *arguments: Any, terms: Terms, spool: Spool, say: Callable[[str], None], **options: Any) -> None:
        self.terms, self.spool, self.say = terms, spool, say
        self._addresses = {sender.address for sender in terms.senders}
        self._shaking: set[Any] = set()  # sockets before their association
        self._lock = threading.Lock()
        self._closed = False
        super().__init__(*arguments, **options)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept, and no handshake yet: a silent peer must not hold up the next."""
        try:
            client, address = cast(socket.socket, self.socket).accept()
        except OSError:
            time.sleep(0.05)  # out of descriptors: the listener stays readable, and must not spin
            raise
        client.settimeout(self.terms.handshake_s)
        return client, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """By address and number, before a byte is read."""
        if client_address[0] not in self._addresses:
            self.say("refused: a connection from an address that is not on the allow-list")
            return False
        with self._lock:
            if len(self._shaking) + len(self.active_associations) >= self.terms.max_associations + CONNECTIONS_BEYOND:
                self.say("refused: too many connections")
                return False
            self._shaking.add(request)
        return True

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's own thread: the handshake, then the association."""
        try:
            if self.ssl_context is not None:
                plain = request
                request = self.ssl_context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
                with self._lock:
                    self._shaking ^= {plain, request}
                request.do_handshake()
            super().finish_request(request, client_address)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            what = error.reason if isinstance(error, ssl.SSLError) else type(error).__name__
            self.say(f"refused: no TLS handshake ({what})" if self.ssl_context else "refused: the connection broke")
            self.shutdown_request(request)
        finally:
            with self._lock:
                self._shaking.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Said in words, where the base class prints a trace of what a peer has done."""
        self.say("refused: the connection broke")

    def close(self) -> None:
        """Stop, cut every peer, wait for their threads; what comes after this is not ours."""
        if self._closed:
            return
        self._closed = True
        self.shutdown()
        with self._lock:
            for request in self._shaking:
                self.shutdown_request(request)
        for assoc in self.active_associations:
            if isinstance(assoc.dul.socket, _Wire):
                assoc.dul.socket.cut()
            assoc.dul.to_user_queue.put(cast(Any, None))  # wakes one that waits for its association request
            assoc.kill()
            assoc.join(timeout=5)


def serve(
    address: tuple[str, int],
    tls: ssl.SSLContext | None,
    terms: Terms,
    spool: Spool,
    *,
    arrived: Callable[[Stored, bool], None],
    say: Callable[[str], None],
) -> Server:
    """A server that listens, in a thread; end it with ``close``.

    Args:
        address: host and port; 0 takes a free one.
        tls: None is plain DICOM, for loopback only.
        terms: limits and allow-list.
        spool: where objects go.
        arrived: called from other threads for each kept object: stored, and whether it is new.
        say: called from other threads with what was refused, in few words that hold nothing of the peer's.

    Raises:
        OSError: the address is taken or not ours.
    """
    for number, uid in enumerate(CLASSES):
        if uid.startswith(DICOS):  # else accepted, received, and aborted: pynetdicom has no service for them
            register_uid(uid, f"LaneDicos{number}", StorageServiceClass)
    entity = ApplicationEntity(terms.ae_title)
    entity.maximum_pdu_size = MAX_PDU
    entity.require_called_aet = True
    entity.maximum_associations = 1000  # ours counts those that are established, see _requested
    entity.acse_timeout, entity.network_timeout, entity.dimse_timeout = (
        terms.handshake_s,
        terms.network_s,
        terms.network_s,
    )
    entity.add_supported_context(VERIFICATION)
    for uid in CLASSES:
        entity.add_supported_context(uid, list(ACCEPTED))
    handlers = [
        (evt.EVT_REQUESTED, _requested, [terms, say]),
        (evt.EVT_C_STORE, _stored, [arrived, say]),
        (evt.EVT_C_ECHO, _echoed),
        (evt.EVT_ACCEPTED, _accepted, [say]),
        (evt.EVT_CONN_CLOSE, _closed, [say]),
    ]
    server = cast(
        Server,
        entity.make_server(
            address,
            ssl_context=tls,
            evt_handlers=cast(Any, handlers),
            server_class=cast(Any, Server),
            request_handler=_Handler,
            terms=terms,
            spool=spool,
            say=say,
        ),
    )
    entity._servers.append(server)
    threading.Thread(target=server.serve_forever, args=(0.05,), name="dicom-accept", daemon=True).start()
    return server


def _requested(event: evt.Event, terms: Terms, say: Callable[[str], None]) -> None:
    """The allow-list: title, address and certificate belong together; then the number of associations."""
    assoc = event.assoc
    title, address = str(cast(Any, assoc.requestor.primitive).calling_ae_title).strip(), assoc.requestor.address
    wire = cast(_Wire, assoc.dul.socket)
    certificate = _certificate(wire.socket)
    known = any(
        sender.ae_title == title and sender.address == address and sender.certificate_sha256 in (None, certificate)
        for sender in terms.senders
    )
    established = sum(one.is_established for one in cast(Server, assoc._server).active_associations)
    if str(cast(Any, assoc.requestor.primitive).called_ae_title).strip() != terms.ae_title:
        say("refused: a called AE title that is not ours")  # the engine rejects it
    elif not known:
        say("refused: calling AE, address and certificate are not together on the allow-list")
        _reject(assoc, REJECTED_PERMANENT, 1, 3)  # calling AE title not recognised
    elif established >= terms.max_associations:
        say(f"refused: more than {terms.max_associations} associations at once")
        _reject(assoc, REJECTED_TRANSIENT, 3, 2)  # local limit exceeded


def _reject(assoc: Association, *reason: int) -> None:
    assoc.acse.send_reject(*reason)
    assoc.is_rejected = True
    assoc.kill()


def _certificate(sock: socket.socket | None) -> str | None:
    der = sock.getpeercert(binary_form=True) if isinstance(sock, ssl.SSLSocket) else None
    return hashlib.sha256(der).hexdigest() if der else None


def _stored(event: evt.Event, arrived: Callable[[Stored, bool], None], say: Callable[[str], None]) -> int:
    """Success only when the object is on disk under its own name."""
    wire = cast(_Wire, event.assoc.dul.socket)
    wire.serving = True
    try:
        request = cast(Any, event.request)
        buffer = request.DataSet
        if not isinstance(buffer, _ToDisk) or buffer.part is None:
            say("refused: a C-STORE without a data set")
            return CANNOT_UNDERSTAND
        stored, new = buffer.part.keep(str(request.AffectedSOPInstanceUID))
        arrived(stored, new)
        return SUCCESS
    except OSError as error:
        say(f"not stored: {type(error).__name__}: {error.strerror or error}")
        return OUT_OF_RESOURCES
    finally:
        wire.object_ended()
        wire.serving = False


def _echoed(event: evt.Event) -> int:
    cast(_Wire, event.assoc.dul.socket).object_ended()
    return SUCCESS


def _accepted(event: evt.Event, say: Callable[[str], None]) -> None:
    """An association that may send nothing is useless to its sender, who is told by the engine."""
    if not event.assoc.accepted_contexts:
        say("refused: a class or transfer syntax that is not taken")


def _closed(event: evt.Event, say: Callable[[str], None]) -> None:
    wire = event.assoc.dul.socket
    discarded = isinstance(event.assoc.dimse, _Dimse) and event.assoc.dimse.discard()
    if isinstance(wire, _Wire) and not wire.refused and (discarded or wire.in_object):
        say("cut off: a sender that broke off in mid object")
