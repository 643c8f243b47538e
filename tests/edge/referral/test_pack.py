"""A pack passes a check that is not ours, and any byte that is changed in it is found, and said where."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import zipfile
from itertools import pairwise
from pathlib import Path

import pytest

from edge import keys
from edge.referral.pack import write_zip
from edge.referral.verify import verify

from .conftest import LaneFolder

TOOLS = ("sha256sum", "openssl", "unzip")
FLIPS = int(os.environ.get("FLIPS", "6"))  # of each kind of part; `make packs` takes many


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three programs and nothing else: the only PATH that the check gets."""
    folder = tmp_path_factory.mktemp("tools")
    for name in TOOLS:
        program = shutil.which(name)
        if program is None:
            pytest.skip(f"no {name} here")
        (folder / name).symlink_to(program)
    return folder


def check(tools: Path, folder: Path, pack: str = "case.zip", key: str = "lane.pub") -> tuple[int, str]:
    """``check.sh`` out of the pack, as a stranger runs it."""
    command = ["/bin/sh", "check.sh", pack, key]
    done = subprocess.run(
        command, cwd=folder, env={"PATH": str(tools)}, capture_output=True, text=True, timeout=60, errors="replace"
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def strangers(sealed: tuple[LaneFolder, Path], tmp_path: Path) -> Path:
    """What a stranger has: pack, seal, the script out of it, and the lane's key from elsewhere."""
    lane, pack = sealed
    for name in ("case.zip", "case.zip.sha256", "case.zip.sha256.sig"):
        shutil.copy(pack.with_name(name), tmp_path / name)
    shutil.copy(lane.public_key, tmp_path / "lane.pub")
    with zipfile.ZipFile(pack) as archive:
        (tmp_path / "check.sh").write_bytes(archive.read("check.sh"))
    return tmp_path


def parts(pack: Path) -> list[tuple[str, int, int]]:
    """Name, first byte and end of each header and of each content, and of the list at the end."""
    found = []
    with zipfile.ZipFile(pack) as archive:
        for info in archive.infolist():
            begin = info.header_offset + 30 + len(info.filename)
            found.append((f"header of {info.filename}", info.header_offset, begin))
            found.append((info.filename, begin, begin + info.file_size))
        found.append(("own list of files", archive.start_dir, pack.stat().st_size))
    return found


def test_a_pack_passes_with_sha256sum_openssl_and_unzip_alone(strangers: Path, tools: Path) -> None:
    code, said = check(tools, strangers)
    assert code == 0, said
    assert said.startswith("GOOD")


def test_our_own_check_agrees(strangers: Path) -> None:
    found = verify(strangers / "case.zip", (strangers / "lane.pub").read_bytes())
    assert found.ok, found.faults
    assert found.rows >= 6 and found.case_id.startswith("R-")


def test_the_parts_cover_every_byte_of_the_pack(strangers: Path) -> None:
    ends = parts(strangers / "case.zip")
    assert ends[0][1] == 0 and ends[-1][2] == (strangers / "case.zip").stat().st_size
    assert all(a[2] == b[1] for a, b in pairwise(ends))


def test_one_changed_byte_anywhere_is_found_by_us_and_said_where(strangers: Path) -> None:
    pack, key = strangers / "case.zip", (strangers / "lane.pub").read_bytes()
    clean = pack.read_bytes()
    chance = random.Random(9)
    for name, begin, end in parts(pack):
        places = {begin, end - 1, *(chance.randrange(begin, end) for _ in range(FLIPS))}
        for at in sorted(places if end > begin else ()):
            pack.write_bytes(clean[:at] + bytes([clean[at] ^ (1 << chance.randrange(8))]) + clean[at + 1 :])
            found = verify(pack, key)
            assert not found.ok, (name, at)
            said = " ".join(f"{fault.where}: {fault.cause}" for fault in found.faults)
            if not name.startswith(("header", "own")):
                assert name in said or "not a pack" in said, (name, at, said)
    pack.write_bytes(clean)


def test_one_changed_byte_in_the_container_without_its_seal_is_still_found(strangers: Path) -> None:
    """A zip has bytes that no reader looks at; a pack made anew from its files is the same file, byte by byte."""
    pack = strangers / "case.zip"
    for name in ("case.zip.sha256", "case.zip.sha256.sig"):
        (strangers / name).unlink()
    clean = pack.read_bytes()
    found = re.compile(rb"PK\x03\x04").search(clean, 4)
    assert found is not None
    for at in (10, found.start() + 12, len(clean) - 30):  # a time, a day, the list at the end
        pack.write_bytes(clean[:at] + bytes([clean[at] ^ 1]) + clean[at + 1 :])
        faults = verify(pack, (strangers / "lane.pub").read_bytes()).faults
        assert faults, at


def test_one_changed_byte_anywhere_fails_the_check_that_is_not_ours(strangers: Path, tools: Path) -> None:
    """A byte of each part; each run starts some hundred programs, so not all bytes are tried here."""
    pack, chance = strangers / "case.zip", random.Random(3)
    clean = pack.read_bytes()
    whole = parts(pack)
    some = [whole[-1], *chance.sample(whole[:-1], min(len(whole) - 1, max(8, FLIPS)))]
    for name, begin, end in some:
        if end == begin:
            continue
        at = chance.randrange(begin, end)
        pack.write_bytes(clean[:at] + bytes([clean[at] ^ 0x10]) + clean[at + 1 :])
        shutil.rmtree(strangers / "case.checked", ignore_errors=True)
        code, said = check(tools, strangers)
        assert code != 0 and "FAILED" in said, (name, at, said)
        if not name.startswith(("header", "own")):
            assert name in said, (name, at, said)
    pack.write_bytes(clean)


@pytest.mark.parametrize("name", ["case.zip.sha256", "case.zip.sha256.sig"])
def test_a_changed_seal_beside_the_pack_fails_both(strangers: Path, tools: Path, name: str) -> None:
    content = bytearray((strangers / name).read_bytes())
    content[5] ^= 1
    (strangers / name).write_bytes(content)
    code, said = check(tools, strangers)
    assert code == 1 and "case.zip.sha256" in said
    assert not verify(strangers / "case.zip", (strangers / "lane.pub").read_bytes()).ok


def test_another_lanes_key_is_not_believed(strangers: Path, tools: Path) -> None:
    keys.new_signing(strangers / "other.key")
    code, said = check(tools, strangers, key="other.pub")
    assert code == 1 and "MANIFEST.sha256.sig: not signed with this key" in said
    assert not verify(strangers / "case.zip", (strangers / "other.pub").read_bytes()).ok


def rebuilt(strangers: Path, change: dict[str, bytes | None], key: Path | None = None) -> Path:
    """The pack with files changed, added or (None) left out, sealed anew with ``key`` where one is given."""
    import hashlib

    with zipfile.ZipFile(strangers / "case.zip") as archive:
        files: dict[str, bytes] = {name: archive.read(name) for name in archive.namelist()}
    for name, content in change.items():
        if content is None:
            files.pop(name)
        else:
            files[name] = content
    manifest = files.pop("MANIFEST.sha256")
    signature = files.pop("MANIFEST.sha256.sig")
    if key is not None:
        private = keys.load_signing(key)
        lines = [f"{hashlib.sha256(content).hexdigest()}  {name}" for name, content in sorted(files.items())]
        manifest = manifest.split(b"\n", 1)[0] + b"\n" + "\n".join(lines).encode() + b"\n"
        signature = private.sign(manifest)
    with (strangers / "case.zip").open("wb") as file:
        write_zip(file, {"MANIFEST.sha256": manifest, "MANIFEST.sha256.sig": signature, **dict(sorted(files.items()))})
    if key is not None:
        line = f"{hashlib.sha256((strangers / 'case.zip').read_bytes()).hexdigest()}  case.zip\n".encode()
        (strangers / "case.zip.sha256").write_bytes(line)
        (strangers / "case.zip.sha256.sig").write_bytes(private.sign(line))
    return strangers / "case.zip"


def test_even_the_lane_itself_cannot_seal_what_its_journal_did_not_say(
    sealed: tuple[LaneFolder, Path], strangers: Path, tools: Path
) -> None:
    """Whoever has the key may sign another list, but rows, plates and files must stand in the signed chain."""
    lane, pack = sealed
    with zipfile.ZipFile(pack) as archive:
        names = archive.namelist()
        row = next(name for name in names if name.startswith("journal/row-") and b"7:outcome" in archive.read(name))
        plates = next(name for name in names if name.startswith("private/") and "plates" in name)
        chain = next(name for name in names if name.startswith("journal/chain-"))
        was = {
            name: archive.read(name) for name in (row, plates, chain, "bundle/passage.json", "bundle/verdicts.jsonl")
        }
    photo = next(name for name in names if name.startswith("photos/"))
    forged: list[tuple[str, bytes]] = [
        (row, was[row].replace(b'"people":2', b'"people":9')),
        (plates, was[plates].replace(b"AB-123-CD", b"AB-123-CE")),
        ("bundle/passage.json", was["bundle/passage.json"].replace(b"calais", b"dover_")),
        ("bundle/verdicts.jsonl", was["bundle/verdicts.jsonl"].replace(b'"level":"', b'"level":"x')),
        (photo, b"\xff\xd8\xff another"),
        (chain, re.sub(rb"(start \d+ \w{63}).", rb"\1-", was[chain], count=1)),
    ]
    clean = (strangers / "case.zip").read_bytes()
    for name, content in forged:
        (strangers / "case.zip").write_bytes(clean)
        shutil.rmtree(strangers / "case.checked", ignore_errors=True)
        assert content != was.get(name)
        rebuilt(strangers, {name: content}, lane.places.signing)
        found = verify(strangers / "case.zip", (strangers / "lane.pub").read_bytes())
        assert not found.ok, name
        code, said = check(tools, strangers)
        assert code == 1 and "MANIFEST" not in said, (name, said)


def test_a_file_that_was_added_or_taken_is_named(strangers: Path, tools: Path) -> None:
    clean = (strangers / "case.zip").read_bytes()
    for change, name in (({"bundle/more.csv": b"x"}, "bundle/more.csv"), ({"COVER.html": None}, "COVER.html")):
        (strangers / "case.zip").write_bytes(clean)
        shutil.rmtree(strangers / "case.checked", ignore_errors=True)
        rebuilt(strangers, change)
        found = verify(strangers / "case.zip", (strangers / "lane.pub").read_bytes())
        assert name in [fault.where for fault in found.faults]
        code, said = check(tools, strangers)
        assert code == 1 and name in said


def test_nothing_of_other_passages_is_in_a_pack(sealed: tuple[LaneFolder, Path]) -> None:
    lane, pack = sealed
    content = pack.read_bytes()
    assert lane.passages[1].encode() in content
    for other in (lane.passages[0], lane.passages[2]):
        assert other.encode() not in content


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x05\x06" + bytes(18), b"x" * 1000])
def test_what_is_no_pack_gets_an_answer(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    assert not verify(tmp_path / "x.zip", None).ok


def test_hostile_zips_are_refused_before_anything_is_unpacked(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("MANIFEST.sha256", bytes(50_000_000))
        archive.writestr("../../escape", b"x")
    where = {fault.where for fault in verify(bomb, None).faults}
    assert "../../escape" in where and "MANIFEST.sha256" in where
    assert not (tmp_path.parent / "escape").exists()


def test_the_command_says_good_and_failed_with_its_exit_code(
    strangers: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from edge.cli.main import run

    command = ["referral", "verify", str(strangers / "case.zip"), "--public-key", str(strangers / "lane.pub"), "--json"]
    assert run(command) == 0
    assert json.loads(capfd.readouterr().out)["ok"] is True
    content = bytearray((strangers / "case.zip").read_bytes())
    content[content.index(b"I <did> not")] ^= 1
    (strangers / "case.zip").write_bytes(content)
    assert run(command[:-1]) == 1
    assert "FAILED" in capfd.readouterr().out
