"""Whatever comes from outside is read, or refused in our own words; nothing else, and never a crash.

Each target gets mutations of real inputs. `make test` tries a few of each, always the same; `make fuzz` many, with a
seed that it prints. An input that fails is kept in ``build/fuzz``.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge import json_text, keys
from edge.config import ConfigErrors, load
from edge.control import serve
from edge.journal.journal import Journal, JournalFault
from edge.journal.read import reading
from edge.journal.salvage import salvage
from edge.journal.verify import Verification, verify
from edge.places import Places
from edge.records.lake import LakeFault, update
from edge.records.outcome import OutcomeRefused, press_of
from edge.referral.book import CaseBook
from edge.referral.case import gather
from edge.referral.control import handlers
from edge.referral.haulier import read_plates
from edge.referral.stage_csv import read_steps
from edge.referral.verify import verify as verify_pack
from edge.referral.words import WordsRefused
from edge.toml_lines import scan
from fusion.bundle.fault import BundleFault
from fusion.bundle.read import read
from fusion.bundle.write import recover

from .mutate import mutated

RUNS = int(os.environ.get("FUZZ_RUNS", "40"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
ROOT = Path(__file__).resolve().parents[2]
PASSAGE = "01KGE3H9000000000000000000"


@dataclass(frozen=True)
class Lane:
    """A real lane's folder, built once; its files are the seeds."""

    root: Path
    passages: list[str]

    @property
    def places(self) -> Places:
        return Places.under(self.root)


@pytest.fixture(scope="session")
def lane(tmp_path_factory: pytest.TempPathFactory) -> Lane:
    """Do not write to it."""
    import importlib.util

    path = ROOT / "tests" / "edge" / "referral" / "lanes.py"
    spec = importlib.util.spec_from_file_location("fuzz_lanes", path)
    assert spec is not None and spec.loader is not None
    lanes = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_lanes"] = lanes
    spec.loader.exec_module(lanes)
    root = tmp_path_factory.mktemp("fuzz")
    return Lane(root, lanes.build(root))


@contextmanager
def kept(target: str, content: bytes) -> Iterator[None]:
    """An input that breaks the target is kept for whoever mends it."""
    try:
        yield
    except BaseException:
        folder = ROOT / "build" / "fuzz"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{target}-{SEED}.bin").write_bytes(content)
        raise


def tried(
    target: str, seeds: Sequence[bytes], trial: Callable[[bytes], object], words: Sequence[bytes] = (), runs: int = RUNS
) -> None:
    """Try a target. What it may raise is caught in ``trial``; anything else fails the test."""
    chance = random.Random(f"{target} {SEED}")
    for _ in range(runs):
        content = mutated(chance, seeds, words)
        with kept(target, content):
            trial(content)


def test_a_journal_of_any_bytes_is_judged_read_salvaged_or_refused(lane: Lane, tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    seeds = [lane.places.journal.read_bytes()]
    key = keys.load_signing(lane.places.signing)

    def trial(content: bytes) -> None:
        for left in tmp_path.glob("journal.db*"):
            left.unlink()
        path.write_bytes(content)
        found = verify(path, key.public_key())
        assert isinstance(found, Verification)
        try:
            rows = list(salvage(path))
            assert rows
        except JournalFault:
            pass
        try:
            with reading(path) as reader:
                for passage in lane.passages:
                    gather(reader, lane.places, passage)
        except (JournalFault, json_text.JsonRefused):
            pass
        with suppress(LakeFault):
            update(tmp_path / "lake", path, "calais", "3")
        shutil.rmtree(tmp_path / "lake", ignore_errors=True)
        try:
            with Journal.open(path, key) as journal:
                journal.append("verdict", None, {})
                journal.last("verdict")
        except JournalFault:
            pass

    tried("journal", seeds, trial, runs=max(1, RUNS // 4))


def test_a_bundle_of_any_bytes_is_read_or_refused_and_one_bad_file_spoils_no_other(lane: Lane, tmp_path: Path) -> None:
    source = lane.places.bundles / lane.passages[0]
    names = sorted(path.name for path in source.iterdir() if path.is_file())
    chance = random.Random(f"bundle {SEED}")
    for _ in range(RUNS):
        name = chance.choice([*names, "passage.json", "outcome.json", "contacts.csv", "vibration.xml", "late.json"])
        seed = (source / name).read_bytes() if (source / name).exists() else (source / "verdicts.jsonl").read_bytes()
        content = mutated(chance, [seed, b'{"file": "xray.dcs"}\n', b"time_utc,device,state\n"])
        folder = tmp_path / PASSAGE
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder)
        (folder / name).write_bytes(content)
        with kept(f"bundle-{name}", content):
            try:
                found = read(folder)
            except BundleFault:
                assert name == "passage.json" or name not in names
                continue
            if name in ("co2.csv", "contacts.csv", "vibration.xml"):
                assert found.pieces, f"{name} spoilt the vibration"


def test_an_unfinished_bundle_of_any_bytes_is_taken_up_or_left(lane: Lane, tmp_path: Path) -> None:
    source = lane.places.bundles / lane.passages[0]
    names = ("passage.json", "co2.csv", "vibration.mseed")
    chance = random.Random(f"partial {SEED}")
    for _ in range(RUNS):
        folder = tmp_path / f"{lane.passages[0]}.partial"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder)
        name = chance.choice(names)
        content = mutated(chance, [(source / name).read_bytes()])
        (folder / name).write_bytes(content)
        with kept(f"partial-{name}", content), suppress(BundleFault):
            recover(folder).writer.close()


def test_a_zip_of_any_bytes_is_a_bundle_or_refused(lane: Lane, tmp_path: Path) -> None:
    seed = tmp_path / "seed.zip"
    with zipfile.ZipFile(seed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in (lane.places.bundles / lane.passages[0]).iterdir():
            archive.write(path, path.name)

    def trial(content: bytes) -> None:
        (tmp_path / "bundle.zip").write_bytes(content)
        with suppress(BundleFault):
            read(tmp_path / "bundle.zip")

    tried("zip", [seed.read_bytes()], trial, (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"../", b"\x08\x00"))


def test_a_pack_of_any_bytes_is_answered(tmp_path: Path) -> None:
    seed = tmp_path / "seed.zip"
    with zipfile.ZipFile(seed, "w") as archive:
        archive.writestr("MANIFEST.sha256", f"# lanepulse.referral/1 R-1\n{'0' * 64}  COVER.html\n")
        archive.writestr("MANIFEST.sha256.sig", bytes(64))
        archive.writestr("COVER.html", "<p>x")
        archive.writestr("key/lane.pub", keys.new_signing(tmp_path / "k").public_key().public_bytes_raw())
        archive.writestr("journal/row-5.txt", "1:5,4:boot,7:outcome,-,1:1,2:{},")
        archive.writestr("journal/chain-5.txt", f"start 5 {'0' * 64}\n5 {'1' * 64}\n")
        archive.writestr("journal/head-5.json", '{"hash":"x","schema":"lanepulse.journal-head/1","sequence":5}')
        archive.writestr("journal/head-5.sig", bytes(64))
        archive.writestr("bundle/outcome.json", "{}")
    pem = (tmp_path / "k.pub").read_bytes()

    def trial(content: bytes) -> None:
        (tmp_path / "pack.zip").write_bytes(content)
        assert not verify_pack(tmp_path / "pack.zip", pem).ok

    tried("pack", [seed.read_bytes()], trial, (b"PK\x03\x04", b"PK\x05\x06", b"9999999999:", b"journal/row-"))


TOMLS = [
    b'[lane]\nsite = "calais"\nname = "3"\n[policy]\nlooks_s = [5, 10.5]\nprior = "1/1250"\n'
    b'[devices.chassis]\ndriver = "vibration.seedlink"\naddress = "127.0.0.1:18000"\nstreams = ["XX_L3:B1"]\n',
    b'[lane]\nsite = "a"\nname = "b"\n[lane.context]\nshelter = "shed"\n[booth]\nbind = "127.0.0.1:0"\nzone = "UTC"\n'
    b"[retention]\nplates_days = 30\nbundles_days = 30\nquarantine_days = 10\n[referral]\nnotified_days = 60\n",
    b'a = """\nx\n"""\nb = [ {c = 1}, {c = 2} ] # d\n[[e.f]]\n"g.h" = 1979-05-27T07:32:00Z\n',
]


def test_a_configuration_of_any_bytes_is_read_or_refused_with_every_line_one_line(tmp_path: Path) -> None:
    path = tmp_path / "lane.toml"

    def trial(content: bytes) -> None:
        path.write_bytes(content)
        scan(content.decode("utf-8", "replace"))
        try:
            load(path, {})
        except ConfigErrors as errors:
            assert errors.problems
            for problem in errors.problems:
                assert len(problem.text("lane.toml").splitlines()) == 1 or "TOML" in problem.found

    words = (
        b"[devices.x]\n",
        b'driver = "co2.senseair"\n',
        b"[[",
        b"]]",
        b"'''",
        b'"""',
        b"inf",
        b"1_000",
        b"= {",
        b".",
    )
    tried("config", TOMLS, trial, words)


@pytest.mark.parametrize(
    ("target", "seed"),
    [
        ("stages", b"case_id,stage,at,amount_gbp\nR-A,paid,2026-04-02,6000.50\nR-B;written_off;;\n"),
        ("plates", b"# ours\nAB-123-CD\nWX 90210\n"),
    ],
)
def test_a_table_of_any_bytes_is_read_or_refused(target: str, seed: bytes, tmp_path: Path) -> None:
    path = tmp_path / "table"
    read_table: Callable[[], object] = (
        (lambda: read_steps(path, None)) if target == "stages" else lambda: read_plates(path)
    )

    def trial(content: bytes) -> None:
        path.write_bytes(content)
        try:
            read_table()
        except WordsRefused as refused:
            assert "\n" not in str(refused)

    tried(target, [seed], trial, (b'"', b";", b"\xff\xfe", b"\0"))


def test_key_files_of_any_bytes_are_keys_or_refused(tmp_path: Path) -> None:
    curve, signing = tmp_path / "curve.key", tmp_path / "signing.key"
    keys.new_curve(curve)
    keys.new_signing(signing)
    seeds = [path.read_bytes() for path in tmp_path.iterdir()]
    path = tmp_path / "any.key"
    path.touch(mode=0o600)

    def trial(content: bytes) -> None:
        path.write_bytes(content)
        for reader in (keys.load, keys.load_curve_public, keys.load_signing_public):
            try:
                reader(path)
            except keys.KeyFault as fault:
                assert "\n" not in str(fault) and "PRIVATE" not in str(fault)

    tried("keys", seeds, trial)


REQUESTS = [
    b'{"do": "case", "say": "plates", "words": {"passage_id": "P1", "plates": [{"text": "A", "position": "tractor"}]}}',
    b'{"do": "case", "say": "case.note", "words": {"passage_id": "P1", "checklist": "shown", "photos": []}}',
    b'{"do": "case", "say": "referral.stage", "words": {"case_id": "R-P1", "stage": "paid", "amount_gbp": 6000.0}}',
    b'{"do": "case", "say": "access", "words": {"what": "plates find", "purpose": "why", "passages": ["P1"]}}',
    b'{"do": "sign"}',
]


def test_the_control_socket_answers_any_line_and_goes_on(tmp_path: Path) -> None:
    """Each line gets one JSON object back, or the connection ends; the daemon's journal stays whole."""
    places = Places.under(tmp_path)
    places.make()
    key = keys.new_signing(places.signing)
    chance = random.Random(f"control {SEED}")

    async def one(line: bytes) -> None:
        reader, writer = await asyncio.open_unix_connection(places.control_socket)
        writer.write(line + b"\n")
        writer.write_eof()
        for answer in (await asyncio.wait_for(reader.read(), 30)).splitlines():
            assert isinstance(json.loads(answer)["ok"], bool)
            assert b"defect" not in answer, answer
        writer.close()

    async def main() -> None:
        with Journal.open(places.journal, key) as journal:
            journal.append("passage.opened", "P1", {"began_utc": "2026-03-01T10:15:02Z"})
            book = CaseBook(journal, places, lambda: 1_772_360_100_000_000_000)
            async with serve(places.control_socket, handlers(book)):
                for _ in range(RUNS):
                    line = mutated(chance, REQUESTS, (b'"officer": "o17",', b"[[[[", b'"private": {}'))
                    with kept("control", line):
                        await one(line)

    asyncio.run(main())
    assert verify(places.journal, key.public_key()).ok


def test_presses_of_any_json_are_taken_or_refused() -> None:
    seed = (
        b'{"passage_id": "01JQ0F7Y3W8V5R2M9K4T6B1N0D", "key": "key-12345678", "corrects": 3, "officer": "o17",'
        b' "outcome": {"searched": true, "technique": "dog", "found": true, "people": 2, "where": "x", "minutes": 1.5,'
        b' "secured": {"locks": "ok"}, "seals": [{"number": "1", "state": "intact"}]}}'
    )

    def trial(content: bytes) -> None:
        try:
            press_of(json_text.read(content))
        except (OutcomeRefused, json_text.JsonRefused) as refused:
            assert "\n" not in str(refused)

    tried("press", [seed], trial, runs=4 * RUNS)


def test_the_fuzzer_finds_a_planted_crash() -> None:
    """Else it tests nothing."""

    def trial(content: bytes) -> None:
        if b"NaN" in content:
            raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        tried("planted", [b'{"score": 0.5}'], trial, runs=2000)
    (ROOT / "build" / "fuzz" / f"planted-{SEED}.bin").unlink()
