from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from edge import drivers
from edge.cli.main import run

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS: tuple[dict[str, str], ...] = (
    {},
    {"NO_COLOR": "1"},
    {"FORCE_COLOR": "1"},
    {"TERM": "dumb"},
    {"COLUMNS": "20"},
    {"COLUMNS": "400"},
    {"LANG": "C"},
    {"LC_ALL": "POSIX"},
    {"PYTHONIOENCODING": "ascii"},
)
LONG_PORT = "/dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0-port0-Fähre-" + "x" * 120
LANE = f"""\
[lane]
site = "north"
name = "1"

[publish]
bind = "tcp://127.0.0.1:0"
replay = "tcp://127.0.0.1:0"

[devices.co2-rear]
driver = "co2.vaisala_gmp25x"
port = "{LONG_PORT}"
"""
SCALE = """\
from typing import Literal
from pydantic import BaseModel
from drivers.driver import Expected, Identity
from drivers.reading import Modality

class Config(BaseModel):
    driver: Literal["co2.of_others"]
    port: str

MODALITY = Modality.CO2

def expected(config):
    return (Expected("co2", 1.0, 5.0),)

async def probe(name, config, around):
    return Identity("Others", "X1", "7", "")

async def readings(name, config, around):
    return
    yield
"""


def lane(folder: Path, text: str = LANE) -> Path:
    path = folder / "lane.toml"
    path.write_text(text, encoding="utf-8")
    return path


def piped(arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LANEPULSE_")}
    command = [sys.executable, "-m", "edge.cli.main", *arguments]
    return subprocess.run(command, cwd=ROOT, env={**kept, **environment}, capture_output=True, timeout=60)


@pytest.mark.parametrize("arguments", [["devices", "list", "--json"], ["devices", "list"]], ids=["json", "table"])
def test_a_pipe_gets_the_same_whole_bytes_in_every_environment(tmp_path: Path, arguments: list[str]) -> None:
    answers = [piped([*arguments, "--config", str(lane(tmp_path))], environment) for environment in ENVIRONMENTS]
    (output,) = {answer.stdout for answer in answers}
    assert {answer.returncode for answer in answers} == {0}
    assert LONG_PORT.encode() in output
    assert b"\x1b" not in output


def test_check_says_the_same_in_a_narrow_terminal_without_unicode(tmp_path: Path) -> None:
    arguments = ["check", "--json", "--config", str(lane(tmp_path)), "--root", str(tmp_path / "root")]
    plain, odd = piped(arguments, {}), piped(arguments, {"COLUMNS": "20", "LC_ALL": "POSIX", "FORCE_COLOR": "1"})
    assert plain.stdout == odd.stdout
    answer = json.loads(plain.stdout)
    failed = [finding["subject"] for finding in answer["findings"] if finding["state"] == "failed"]
    assert (plain.returncode, answer["ok"], failed) == (1, False, ["key curve", "key signing"])


def test_a_lane_with_its_keys_passes_the_check(tmp_path: Path) -> None:
    assert run(["keys", "new", "--root", str(tmp_path)]) == 0
    assert run(["check", "--config", str(lane(tmp_path)), "--root", str(tmp_path)]) == 0


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    text = LANE + "".join(f'[devices.d{i}]\ndriver = "co2.vaisala_gmp25x"\nport = "/dev/p{i}"\n' for i in range(50))
    command = [sys.executable, "-m", "edge.cli.main", "devices", "list", "--config", str(lane(tmp_path, text))]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_wrong_files_are_exit_2_with_all_their_errors(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = lane(tmp_path, LANE.replace("driver", "drivr").replace("site", "sight"))
    assert run(["check", "--config", str(path)]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 3  # two mistyped keys, and the site that is missing for it
    assert run(["check", "--json", "--config", str(path)]) == 2
    assert len(json.loads(capfd.readouterr().out)["errors"]) == 3


def test_effective_is_a_file_that_reads_as_the_same_configuration(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", "--effective", "--config", str(lane(tmp_path))]) == 0
    first = capfd.readouterr().out
    assert run(["check", "--effective", "--config", str(lane(tmp_path, first))]) == 0
    assert capfd.readouterr().out == first


def test_a_key_that_others_may_read_fails_the_check(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "curve.key").write_text("x")
    (tmp_path / "keys" / "curve.key").chmod(0o644)
    assert run(["check", "--config", str(lane(tmp_path)), "--root", str(tmp_path)]) == 1
    assert "chmod 600" in capfd.readouterr().out


def test_a_model_that_is_not_one_fails_the_check(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.onnx").write_bytes(b"x")
    path = lane(tmp_path, f'model = "other.onnx"\n{LANE}')
    assert run(["check", "--json", "--config", str(path), "--root", str(tmp_path)]) == 1
    states = {found["subject"]: found["state"] for found in json.loads(capfd.readouterr().out)["findings"]}
    assert states["model"] == "failed"


def test_looks_that_the_model_was_not_taught_are_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = lane(tmp_path, LANE + "\n[policy]\nlooks_s = [7]\n")
    run(["check", "--config", str(path), "--root", str(tmp_path)])
    assert "has no bounds for looks at [7.0] s" in capfd.readouterr().out


def test_a_port_that_is_taken_is_named_with_its_holder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        path = lane(tmp_path, LANE.replace('bind = "tcp://127.0.0.1:0"', f'bind = "tcp://127.0.0.1:{port}"'))
        assert run(["check", "--config", str(path), "--root", str(tmp_path)]) == 1
        assert f"{port} is taken by " in (out := capfd.readouterr().out)
        assert f"(process {os.getpid()})" in out


def test_a_device_that_is_not_there_is_exit_3_with_its_cause(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets it, and nobody answers
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        path = lane(
            tmp_path, f'[lane]\nsite="n"\nname="1"\n[devices.io]\ndriver="presence.modbus_io"\naddress="{address}"\n'
        )
        assert run(["devices", "probe", "--json", "--config", str(path)]) == 3
    (answer,) = json.loads(capfd.readouterr().out)["devices"]
    assert answer["answers"] is False
    assert address in answer["cause"]


def test_a_wrong_word_is_exit_2_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["devices", "lst"]) == 2
    assert capfd.readouterr().err.count("\n") == 1


def test_help_imports_no_numbers_and_no_models() -> None:
    code = "import sys; from edge.cli.main import run; run(['--help']); "
    code += "print({'numpy', 'pydantic', 'zmq'} & {*sys.modules})"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert answer.stdout.splitlines()[-1] == "set()"


def shipped(folder: Path, module: str, point: str) -> None:
    """A package of somebody else's, as an installer leaves it."""
    (folder / "of_others.py").write_text(module)
    info = folder / "of_others-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: of-others\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[lanepulse.drivers]\n{point}\n")


def test_a_driver_that_somebody_else_ships_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shipped(tmp_path, SCALE, "co2.of_others = of_others")
    monkeypatch.syspath_prepend(tmp_path)
    path = lane(tmp_path, LANE.replace("co2.vaisala_gmp25x", "co2.of_others"))
    assert run(["devices", "probe", "--json", "--config", str(path)]) == 0
    assert json.loads(capfd.readouterr().out)["devices"][0]["vendor"] == "Others"
    sys.modules.pop("of_others")


def test_a_foreign_driver_cannot_take_the_name_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped(tmp_path, SCALE, "co2.vaisala_gmp25x = of_others")
    monkeypatch.syspath_prepend(tmp_path)
    assert drivers.names()["co2.vaisala_gmp25x"] == "drivers.co2.vaisala_gmp25x"


def test_a_foreign_driver_that_breaks_is_one_line_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shipped(tmp_path, "raise RuntimeError('no licence')", "co2.of_others = of_others")
    monkeypatch.syspath_prepend(tmp_path)
    path = lane(tmp_path, LANE.replace("co2.vaisala_gmp25x", "co2.of_others"))
    assert run(["check", "--config", str(path)]) == 2
    assert "lane.toml:10: devices.co2-rear.driver: unusable; driver co2.of_others" in capfd.readouterr().err


def test_every_driver_of_ours_keeps_the_protocol() -> None:
    for name, module in drivers.names().items():
        if module.startswith("drivers."):
            drivers.find(name)
