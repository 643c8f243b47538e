from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.raw import Raw, pack, unpack
from calibration.record import RecordFault, canonical, digest, read
from calibration.store import Store, StoreFault, follows
from calibration.uncertainty import Component, Kind, Quantity, of_repeats, of_series
from edge import json_text

UNTIL = "2027-01-01T00:00:00.000Z"


def draft(device: str = "probe", gain: float = 1.02, **more: Any) -> dict[str, Any]:
    return {
        "device": {"name": device, "modality": "co2", "driver": "co2.vaisala_gmp25x", "serial": "X1"},
        "procedure": "two-point",
        "procedure_version": 1,
        "performed_utc": "2026-01-01T00:00:00.000Z",
        "valid_until_utc": UNTIL,
        "operator": "uid 1000",
        "verdict": "pass",
        "activates": True,
        "settings": {"scale": {"value": {"gain": gain, "offset_ppm": -3.0}, "valid_until_utc": UNTIL}},
        **more,
    }


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def store(tmp_path: Path, key: Ed25519PrivateKey) -> Store:
    made = Store(tmp_path / "calibrations")
    raw = Raw({"zero/ppm": np.arange(5.0)}, {"gas": "N2"})
    for gain in (1.02, 1.03, 1.04):
        made.append(draft(gain=gain), raw, key)
    return made


def test_the_last_activating_record_of_a_device_is_active_and_a_rollback_brings_one_back(
    store: Store, key: Ed25519PrivateKey
) -> None:
    store.append(draft("other"), None, key)
    store.append(draft(gain=9.0, verdict="fail", activates=False), None, key)
    third, first = store.active()["probe"], store.entries()[0]
    assert third.record.number == 3
    back = draft(kind="activation", procedure="rollback", restores=first.id, settings={})
    store.append(back, None, key)
    assert store.active()["probe"].id == first.id
    assert store.active()["other"].record.number == 4


def test_a_whole_store_verifies_and_its_raw_data_come_back(store: Store, key: Ed25519PrivateKey) -> None:
    assert store.verify(key.public_key()) == []
    raw = store.raw(store.find("2").record)
    assert raw.floats("zero/ppm").tolist() == [0, 1, 2, 3, 4]
    assert raw.about == {"gas": "N2"}


def _write(path: Path, content: bytes) -> None:
    path.chmod(0o640)
    path.write_bytes(content)


def _changed_gain(root: Path) -> None:
    _write(root / "000002.json", (root / "000002.json").read_bytes().replace(b"1.03", b"1.13"))


def _changed_raw(root: Path) -> None:
    (path,) = (root / "raw").iterdir()
    content = path.read_bytes()
    _write(path, content[:60] + bytes((content[60] ^ 1,)) + content[61:])


def _two_swapped(root: Path) -> None:
    for suffix in (".json", ".sig"):
        (root / f"000001{suffix}").rename(root / "x")
        (root / f"000002{suffix}").rename(root / f"000001{suffix}")
        (root / "x").rename(root / f"000002{suffix}")


def _one_gone(root: Path) -> None:
    (root / "000002.json").unlink()


def _signature_of_another(root: Path) -> None:
    _write(root / "000003.sig", Ed25519PrivateKey.generate().sign((root / "000003.json").read_bytes()))


@pytest.mark.parametrize("tamper", [_changed_gain, _changed_raw, _two_swapped, _one_gone, _signature_of_another])
def test_tampering_is_found(tamper: Any, store: Store, key: Ed25519PrivateKey) -> None:
    tamper(store.root)
    assert store.verify(key.public_key()) != []


@pytest.mark.parametrize("tamper", [None, _changed_gain, _changed_raw, _two_swapped, _one_gone, _signature_of_another])
def test_openssl_alone_finds_what_was_tampered_with(tamper: Any, store: Store, key: Ed25519PrivateKey) -> None:
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    guide = (Path(__file__).parents[2] / "docs" / "calibration.md").read_text()
    script = guide.partition("<!-- check -->\n```sh\n")[2].partition("```")[0]
    assert script  # the engineer's guide has it, word for word
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (store.root / "signing.pub").write_bytes(public)
    if tamper is not None:
        tamper(store.root)
    done = subprocess.run(["sh", "-c", script], cwd=store.root, capture_output=True, text=True)
    assert (done.returncode == 0) == (tamper is None), done.stdout + done.stderr


def test_a_chain_that_was_cut_at_its_end_is_found_by_what_the_journal_knows(store: Store) -> None:
    known = {kept.record.number: kept.id for kept in store.entries()}
    assert follows(store.entries(), known) == []
    (store.root / "000003.json").unlink()
    assert follows(store.entries(), known) == ["calibration 3: is missing"]


def test_openssl_checks_a_record_without_a_line_of_ours(store: Store, key: Ed25519PrivateKey, tmp_path: Path) -> None:
    if not (program := shutil.which("openssl")):
        pytest.skip("openssl is not installed")
    public = tmp_path / "signing.pub"
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    command = [program, "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", str(public)]
    command += ["-in", str(store.path(2)), "-sigfile", str(store.path(2).with_suffix(".sig"))]
    assert subprocess.run(command, capture_output=True).returncode == 0
    _changed_gain(store.root)
    assert subprocess.run(command, capture_output=True).returncode != 0


def test_a_record_never_lies_over_another_and_a_full_disk_adds_nothing(
    store: Store, key: Ed25519PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    before = sorted(path.name for path in store.root.rglob("*"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", full)
        with pytest.raises(OSError, match="No space"):
            store.append(draft(), None, key)
    assert sorted(path.name for path in store.root.rglob("*")) == before
    assert store.append(draft(), None, key).record.number == 4


def test_the_canonical_form_is_the_houses(store: Store) -> None:
    content = store.path(1).read_bytes()
    assert json_text.write(json_text.read(content)).encode() == content


def test_a_name_that_fits_several_records_is_refused(store: Store) -> None:
    with pytest.raises(StoreFault, match="0 match"):
        store.find("ffffffffffff0000")
    assert store.find(store.entries()[1].id[:12]).record.number == 2


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_record_or_a_fault(content: bytes) -> None:
    with pytest.raises(RecordFault):
        read(content, "x.json")
    with pytest.raises(RecordFault):
        unpack(content, "x.npz")


def test_an_unknown_field_and_a_time_without_zone_are_named(key: Ed25519PrivateKey, store: Store) -> None:
    document = json.loads(store.path(1).read_bytes())
    with pytest.raises(RecordFault, match="surprise"):
        read(canonical(document | {"surprise": 1}), "x.json")
    with pytest.raises(RecordFault, match="zone"):
        read(canonical(document | {"performed_utc": "2026-01-01T00:00:00"}), "x.json")


def test_the_same_raw_data_have_the_same_bytes() -> None:
    raw = Raw({"a/x": np.ones((3, 2)), "b": np.arange(4)}, {"k": [1, 2]})
    assert pack(raw) == pack(Raw(dict(reversed(raw.arrays.items())), raw.about))
    assert digest(pack(raw)) != digest(pack(Raw(raw.arrays, {"k": [2, 1]})))


def test_a_budget_is_combined_as_the_gum_says() -> None:
    # GUM H.1.6: u = 32 nm from these components with these degrees of freedom, nu_eff = 16, k99 aside
    parts = [(25.0, 18.0), (9.7, 25.6), (2.9, 50.0), (16.6, 2.0), (9.7, None)]
    budget = tuple(Component(f"c{i}", Kind.B, u, nu) for i, (u, nu) in enumerate(parts))
    quantity = Quantity("length", "nm", 838.0, budget)
    assert quantity.standard == pytest.approx(33.2, abs=0.3)
    by_hand = quantity.standard**4 / sum(u**4 / nu for u, nu in parts if nu)
    assert quantity.degrees_of_freedom == pytest.approx(by_hand)
    assert 2.0 < quantity.coverage_factor < 2.2
    assert quantity.text().startswith("838 ± ") or quantity.text().startswith("838.0 ± ")


def test_repeats_need_two_and_a_correlated_series_is_not_taken_for_independent() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        of_repeats("x", [1.0])
    random = np.random.default_rng(1)
    walk = np.convolve(random.normal(size=4200), np.ones(200) / 200, "valid")[:4000]
    naive = walk.std() / math.sqrt(len(walk))
    assert of_series("x", walk)[1].standard > 3 * naive
