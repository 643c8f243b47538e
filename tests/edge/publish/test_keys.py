"""Key files are private, whole, and never overwritten; nothing prints a secret."""

from __future__ import annotations

from pathlib import Path

import pytest
import zmq.auth
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zmq.utils import z85

from edge import keys


def test_a_new_pair_is_private_and_reads_back(tmp_path: Path) -> None:
    made = keys.new_curve(tmp_path / "keys" / "lane.key")
    path = tmp_path / "keys" / "lane.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert keys.load(path) == keys.load_curve(path) == made
    assert keys.load_curve_public(path.with_suffix(".pub")) == made.public
    assert {entry.name for entry in path.parent.iterdir()} == {"lane.key", "lane.pub"}


def test_zeromq_reads_our_files(tmp_path: Path) -> None:
    made = keys.new_curve(tmp_path / "lane.key")
    assert zmq.auth.load_certificate(tmp_path / "lane.key") == (made.public, made.secret)


def test_a_signing_key_reads_back_and_its_public_half_verifies(tmp_path: Path) -> None:
    made = keys.new_signing(tmp_path / "sign.key")
    loaded = keys.load(tmp_path / "sign.key")
    assert not isinstance(loaded, keys.CurveKeys)
    keys.load_signing_public(tmp_path / "sign.pub").verify(loaded.sign(b"x"), b"x")
    assert (tmp_path / "sign.key").stat().st_mode & 0o777 == 0o600
    assert made.public_key() == loaded.public_key()


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    made = keys.new_curve(tmp_path / "lane.key")
    with pytest.raises(keys.KeyFault, match="never overwritten"):
        keys.new_curve(tmp_path / "lane.key")
    assert keys.load_curve(tmp_path / "lane.key") == made


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    keys.new_curve(tmp_path / "lane.key")
    (tmp_path / "lane.key").chmod(0o640)
    with pytest.raises(keys.KeyFault, match="mode 0640"):
        keys.load(tmp_path / "lane.key")


def test_no_secret_is_in_the_repr(tmp_path: Path) -> None:
    made = keys.new_curve(tmp_path / "lane.key")
    assert made.secret.decode() not in repr(made)


def test_halves_of_two_pairs_are_refused(tmp_path: Path) -> None:
    one, two = keys.new_curve(tmp_path / "one.key"), keys.new_curve(tmp_path / "two.key")
    path = tmp_path / "one.key"
    path.write_bytes(path.read_bytes().replace(one.public, two.public))
    with pytest.raises(keys.KeyFault, match="belong together"):
        keys.load_curve(path)


def test_the_allow_list_holds_public_files_only_and_names_the_others(tmp_path: Path) -> None:
    made = keys.new_curve(tmp_path / "booth.key")
    (tmp_path / "leaked.pub").write_bytes((tmp_path / "booth.key").read_bytes())
    (tmp_path / "torn.pub").write_bytes(b"curve\n    public")
    assert keys.allowed(tmp_path) == {z85.decode(made.public): "booth"}
    told = keys.faults(tmp_path)
    assert len(told) == 2 and not any(made.secret.decode() in line for line in told)
    assert keys.allowed(tmp_path / "nowhere") == {}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_any_bytes_give_a_key_fault(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "junk"
    path.write_bytes(raw)
    path.chmod(0o600)
    for load in (keys.load, keys.load_curve, keys.load_signing, keys.load_curve_public, keys.load_signing_public):
        with pytest.raises(keys.KeyFault):
            load(path)
