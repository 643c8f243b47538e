"""The receiver against peers that we did not write, and against scanners that break every rule."""

from __future__ import annotations

import hashlib
import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from drivers.wire.dicom import parse
from drivers.wire.dicom_image import decode
from drivers.xray.scp import Sender
from hil.devices.dicos_object import Scan, data_set, part10

if TYPE_CHECKING:
    from tests.drivers.xray.conftest import Receiver, Scanner

    Receive = Callable[..., Receiver]
    Scan_ = Callable[..., Scanner]
    Dcmtk = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).resolve().parents[3]
OK = {"status": 0}


def test_no_storage_client_lives_under_the_drivers() -> None:
    """Radiation is never asked for: nothing there opens an association to anybody."""
    for file in (ROOT / "drivers" / "xray").rglob("*.py"):
        source = file.read_text(encoding="utf-8")
        assert not re.search(r"\.associate\(|AE\.associate|send_c_|send_n_|create_connection|\.connect\(", source), file


def test_the_emulators_dicos_class_is_taken_to_its_end(receiver: Receive, scanner: Scan_) -> None:
    lane = receiver()
    probe = scanner(lane.port)
    assert probe.does("echo") == OK
    assert probe.does("store", scan={"rows": 512, "columns": 1024}) == OK
    ((stored, new),) = lane.kept
    assert new
    raw = stored.path.read_bytes()
    assert raw.endswith(data_set(Scan(rows=512, columns=1024)))  # the data set as it was sent, to the bit
    assert parse(raw).transfer_syntax == "1.2.840.10008.1.2.1"


def test_a_retry_is_confirmed_and_kept_once_and_another_picture_is_kept_beside(
    receiver: Receive, scanner: Scan_
) -> None:
    lane = receiver()
    probe = scanner(lane.port)
    assert probe.does("store", times=3) == OK
    assert probe.does("store", scan={"seed": 2}) == OK
    assert [new for _, new in lane.kept] == [True, False, False, True]
    assert len(lane.objects()) == 2
    first, last = lane.kept[0][0], lane.kept[-1][0]
    assert lane.spool.others_before(last) == [first]
    assert lane.spool.others_before(first) == []


def test_a_uid_that_is_none_is_kept_as_text_and_never_becomes_a_path(receiver: Receive, scanner: Scan_) -> None:
    lane = receiver()
    probe = scanner(lane.port)
    for uid in ("1.2.0740038811.40194", "../../../../tmp/evil", "1.2.840..1"):
        assert probe.does("store", scan={"sop_uid": uid}) == OK
        digest = hashlib.sha256(uid.encode()).hexdigest()[:32]
        assert re.fullmatch(rf"\d{{20}}-{digest}-[0-9a-f]{{32}}\.dcs", lane.kept[-1][0].path.name)
    assert len(lane.objects()) == 3


@pytest.mark.parametrize("fault", ["abort", "cut"])
def test_a_sender_that_breaks_off_leaves_nothing_behind(receiver: Receive, scanner: Scan_, fault: str) -> None:
    lane = receiver()
    probe = scanner(lane.port)
    probe.does(fault, scan={"rows": 512, "columns": 1024})
    assert probe.does("store") == OK
    lane.server.close()  # waits for the broken association's end
    assert len(lane.objects()) == 1


def test_a_pdu_that_claims_four_gigabytes_is_not_read(receiver: Receive, scanner: Scan_) -> None:
    lane = receiver()
    probe = scanner(lane.port)
    assert "cut_after" in probe.does("claim")
    assert lane.hears("a PDU longer than was agreed")
    assert probe.does("store") == OK


def test_a_data_set_without_end_is_cut_off_at_the_size_limit(receiver: Receive, scanner: Scan_) -> None:
    lane = receiver(max_object_bytes=1 << 20)
    probe = scanner(lane.port)
    assert probe.does("flood")["cut_after"] < 64 << 20
    assert lane.hears("an object above 1048576 bytes")
    assert probe.does("store") == OK
    assert len(lane.objects()) == 1


def test_a_sender_that_drips_is_cut_off_at_the_objects_deadline(receiver: Receive, scanner: Scan_) -> None:
    lane = receiver(object_s=0.5)
    probe = scanner(lane.port)
    assert 0.4 < probe.does("drip", bytes=100, wait_s=0.02)["cut_after_s"] < 3
    assert probe.does("store") == OK


def test_objects_sent_without_waiting_for_answers_are_refused(receiver: Receive, scanner: Scan_) -> None:
    lane = receiver()
    probe = scanner(lane.port)
    probe.does("pipeline", times=200)
    assert lane.hears("a further message before the answer to the last")
    assert probe.does("store") == OK


def test_a_fifth_association_is_told_so_and_the_next_is_served(receiver: Receive, scanner: Scan_) -> None:
    lane = receiver()
    probe = scanner(lane.port)
    probe.does("hold", times=4)
    assert probe.does("store") == {"rejected": [2, 3, 2]}
    probe.does("let_go")
    assert _soon(lambda: probe.does("store") == OK)


def _soon(happens: Callable[[], bool]) -> bool:
    """Tries for ten seconds: the other side's threads end when they notice."""
    until_s = time.monotonic() + 10
    while not happens():
        if time.monotonic() > until_s:
            return False
    return True


def test_silent_connections_hold_nobody_up(receiver: Receive, scanner: Scan_) -> None:
    lane = receiver()
    probe = scanner(lane.port)
    probe.does("idle", times=6)
    began_s = time.monotonic()
    assert probe.does("store") == OK
    assert time.monotonic() - began_s < 2


def test_title_and_address_are_on_the_allow_list_together(receiver: Receive, scanner: Scan_) -> None:
    lane = receiver(senders=(Sender("SCANNER", "127.0.0.1"), Sender("OTHER", "192.0.2.1")))
    assert scanner(lane.port, "--calling", "OTHER").does("echo") == {"rejected": [1, 1, 3]}
    assert scanner(lane.port, "--calling", "STRANGER").does("echo") == {"rejected": [1, 1, 3]}
    assert scanner(lane.port, "--called", "ELSEWHERE").does("echo") == {"rejected": [1, 1, 7]}
    assert scanner(lane.port).does("echo") == OK
    away = receiver(senders=(Sender("SCANNER", "192.0.2.1"),))
    assert scanner(away.port).does("echo") == {"aborted": True}
    assert away.hears("not on the allow-list")


def test_a_class_that_we_do_not_take_is_refused_before_its_data(receiver: Receive, scanner: Scan_) -> None:
    lane = receiver()
    ct = {"sop_class": "1.2.840.10008.5.1.4.1.1.501.1"}
    assert scanner(lane.port).does("store", scan=ct).get("status") != 0
    lane.server.close()  # waits for the refused association's end
    assert lane.objects() == []


def test_a_full_spool_is_said_and_nothing_is_half_kept(receiver: Receive, scanner: Scan_) -> None:
    lane = receiver(spool_max_bytes=50_000)
    probe = scanner(lane.port)
    statuses = [probe.does("store", scan={"seed": seed})["status"] for seed in range(4)]
    assert statuses == [0, 0, 0xA700, 0xA700]
    assert len(lane.objects()) == 2


def test_a_disk_that_fails_is_out_of_resources(
    receiver: Receive, scanner: Scan_, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = receiver()
    probe = scanner(lane.port)
    with monkeypatch.context() as broken:
        broken.setattr("drivers.xray.spool.os.fsync", _no_space)
        assert probe.does("store") == {"status": 0xA700}
    assert lane.hears("No space left on device")
    assert lane.objects() == []
    assert probe.does("store") == OK


def _no_space(_: int) -> None:
    raise OSError(28, os.strerror(28))


def context(folder: Path) -> ssl.SSLContext:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_cert_chain(folder / "lane.pem", folder / "lane.key")
    tls.load_verify_locations(folder / "ca.pem")
    return tls


def options(folder: Path, name: str) -> tuple[str, ...]:
    return "--tls", str(folder / f"{name}.pem"), str(folder / f"{name}.key"), str(folder / "ca.pem")


def test_tls_takes_the_sites_certificates_and_no_others(receiver: Receive, scanner: Scan_, certificates: Path) -> None:
    lane = receiver(context(certificates))
    assert scanner(lane.port, *options(certificates, "scanner")).does("store") == OK
    assert scanner(lane.port, *options(certificates, "stranger")).does("store") == {"aborted": True}
    assert scanner(lane.port).does("store") == {"aborted": True}
    assert lane.hears("no TLS handshake")
    assert len(lane.objects()) == 1


def test_a_senders_certificate_may_be_pinned(receiver: Receive, scanner: Scan_, certificates: Path) -> None:
    der = ssl.PEM_cert_to_DER_cert((certificates / "scanner.pem").read_text())
    for digest, answer in ((hashlib.sha256(der).hexdigest(), OK), ("0" * 64, {"rejected": [1, 1, 3]})):
        lane = receiver(context(certificates), senders=(Sender("SCANNER", "127.0.0.1", digest),))
        assert scanner(lane.port, *options(certificates, "scanner")).does("echo") == answer


def test_peers_that_never_shake_hands_hold_nobody_up(receiver: Receive, scanner: Scan_, certificates: Path) -> None:
    lane = receiver(context(certificates))
    probe = scanner(lane.port, *options(certificates, "scanner"))
    probe.does("idle", times=6)
    began_s = time.monotonic()
    assert probe.does("store") == OK
    assert time.monotonic() - began_s < 2


def send(dcmtk: Dcmtk, port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return dcmtk("storescu", "-R", "-aet", "SCANNER", "-aec", "LANEPULSE", "127.0.0.1", str(port), *arguments)


def test_dcmtk_echoes_and_stores_plain(receiver: Receive, dcmtk: Dcmtk, tmp_path: Path) -> None:
    lane = receiver()
    (tmp_path / "a.dcs").write_bytes(part10(Scan(rows=1024, columns=2048)))
    assert dcmtk("echoscu", "-aet", "SCANNER", "-aec", "LANEPULSE", "127.0.0.1", str(lane.port)).returncode == 0
    assert send(dcmtk, lane.port, "--max-send-pdu", "131072", str(tmp_path / "a.dcs")).returncode == 0
    kept = str(lane.kept[0][0].path)
    assert dcmtk("dcmftest", kept).returncode == 0
    assert "unknown" in dcmtk("dcmdump", "+P", "0010,0020", kept).stdout
    assert dcmtk("dcmdump", "+P", "0002,0016", kept).stdout.split()[2] == "[SCANNER]"


def test_dcmtk_that_aborts_leaves_nothing_and_comes_again(receiver: Receive, dcmtk: Dcmtk, tmp_path: Path) -> None:
    lane = receiver()
    (tmp_path / "a.dcs").write_bytes(part10(Scan(rows=1024, columns=2048)))
    send(dcmtk, lane.port, "--abort", str(tmp_path / "a.dcs"))
    assert send(dcmtk, lane.port, str(tmp_path / "a.dcs")).returncode == 0
    assert len(lane.objects()) == 1


def test_dcmtk_stores_over_mutual_tls(receiver: Receive, dcmtk: Dcmtk, certificates: Path, tmp_path: Path) -> None:
    lane = receiver(context(certificates))
    (tmp_path / "a.dcs").write_bytes(part10(Scan()))
    own = ("+tls", str(certificates / "scanner.key"), str(certificates / "scanner.pem"), "+cf")
    assert send(dcmtk, lane.port, *own, str(certificates / "ca.pem"), "-ic", str(tmp_path / "a.dcs")).returncode == 0
    assert send(dcmtk, lane.port, "+tla", "-ic", str(tmp_path / "a.dcs")).returncode != 0
    assert len(lane.objects()) == 1


def test_dcmtk_sends_every_stored_radiograph_that_we_take(receiver: Receive, dcmtk: Dcmtk, recordings: Path) -> None:
    lane = receiver(max_object_bytes=64 << 20, object_s=60.0)
    for name in ("RG1_UNCR", "RG3_UNCR"):
        assert send(dcmtk, lane.port, str(recordings / "xray" / f"{name}.dcm")).returncode == 0
    assert len(lane.objects()) == 2


def test_dcmtk_sends_what_a_dicos_toolkit_wrote(receiver: Receive, dcmtk: Dcmtk, tmp_path: Path) -> None:
    pydicos, toolkit = pytest.importorskip("pydicos"), pytest.importorskip("pyDICOS")
    stored = (np.arange(32 * 64) * 29 % 60_000).astype(np.uint16).reshape(32, 64)
    writer = pydicos.DXLoader()
    cargo, raw = toolkit.OBJECT_OF_INSPECTION_TYPE.enumTypeCargo, toolkit.DX.PRESENTATION_INTENT_TYPE.enumProcessing
    writer.Initialize(cargo, raw)
    writer.SetKVP(6000.0)
    writer.SetXRayTubeCurrent(100.0)
    writer.set_data(stored)
    writer.write(str(tmp_path / "toolkit.dcs"))
    lane = receiver()
    assert send(dcmtk, lane.port, "-xs", str(tmp_path / "toolkit.dcs")).returncode == 0
    found = decode(parse(lane.kept[0][0].path.read_bytes()))
    np.testing.assert_array_equal(np.round(found.transmission * 65_535), stored)


LIMITED = """
import resource, ssl, sys, time
from pathlib import Path
from drivers.xray.scp import Sender, Terms, serve
from drivers.xray.spool import Spool
folder, certificates = Path(sys.argv[1]), Path(sys.argv[2])
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.verify_mode = ssl.CERT_REQUIRED
tls.load_cert_chain(certificates / "lane.pem", certificates / "lane.key")
tls.load_verify_locations(certificates / "ca.pem")
terms = Terms("LANEPULSE", (Sender("SCANNER", "127.0.0.1"),), 64 << 20, 4, 3.0, 5.0, 5.0)
spool = Spool(folder, 2**30, time.time_ns)
server = serve(("127.0.0.1", 0), tls, terms, spool, arrived=lambda *_: None, say=lambda cause: None)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (160 << 20),) * 2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(server.server_address[1], flush=True)
sys.stdin.read()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_stays_flat_under_claims_floods_and_crowds(tmp_path: Path, scanner: Scan_, certificates: Path) -> None:
    """Each attack, then a good sender at once; nothing half stored at the end, under a limit of the address space."""
    environment: dict[str, Any] = os.environ | {"MALLOC_ARENA_MAX": "1"}
    spool = tmp_path / "spool"
    child = subprocess.Popen(
        [sys.executable, "-c", LIMITED, str(spool), str(certificates)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT,
    )  # fmt: skip
    assert child.stdout is not None
    own = options(certificates, "scanner")
    port = int(child.stdout.readline())
    probe, good = scanner(port, *own), scanner(port, *own)

    def next_is_served(**scan: object) -> bool:
        number = len(list(spool.glob("*.dcs"))) + 1
        return _soon(lambda: good.does("store", scan={"sop_uid": f"1.2.3.{number}", "seed": number, **scan}) == OK)

    assert "cut_after" in probe.does("claim")
    assert next_is_served()
    assert "cut_after" in probe.does("flood")
    assert next_is_served()
    assert "cut_after_s" in probe.does("drip", wait_s=0.1)
    assert next_is_served()
    probe.does("idle", times=3)
    assert next_is_served()
    probe.does("let_go")
    probe.does("hold", times=4)
    assert good.does("echo") == {"rejected": [2, 3, 2]}
    probe.does("let_go")
    assert next_is_served()
    probe.does("pipeline", times=500)
    assert next_is_served(rows=2048, columns=4096)
    out, _ = child.communicate()
    assert int(out) < 48 * 1024  # KiB: the buffers of five TLS connections among them
    assert len(list(spool.glob("*.dcs"))) == 6
    assert list((spool / "incoming").iterdir()) == []
