from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.config import ConfigErrors, LaneConfig, load
from fusion.verdict import Level

GOOD = """\
[lane]
site = "north"
name = "lane-1"

[publish]
bind = "tcp://127.0.0.1:7000"
replay = "tcp://127.0.0.1:7001"

[devices.gate]
driver = "presence.modbus_io"
address = "127.0.0.1:1502"

[devices.co2-rear]
driver = "co2.vaisala_gmp25x"
port = "/dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0-port0"
unit = 1
poll_s = 2.0

[policy]
looks_s = [10, 90]
pfa = 0.02
"""


def loaded(folder: Path, text: str, environment: dict[str, str] | None = None) -> LaneConfig:
    path = folder / "lane.toml"
    path.write_text(text)
    return load(path, environment or {})


def refusal(folder: Path, text: str, environment: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigErrors) as raised:
        loaded(folder, text, environment)
    return [line.removeprefix(f"{folder}/") for line in str(raised.value).splitlines()]


def in_our_words(text: str) -> str:
    """A file of the cases with this product's names for things; the mistake stays."""
    for theirs, ours in (
        ("schema = 1\n", ""),
        ('time_zone = "Europe/London"\n', ""),
        ('[site]\nname = "north"', '[lane]\nsite = "north"'),
        ("\nlane = ", "\nname = "),
        ("verdicts = ", "bind = "),
        ("[decision]", "[policy]"),
        ("[decison]", "[polcy]"),
        ("time_allowed_s = 90", "looks_s = [10, 90]"),
        ("life_safety_co2_ppm = 30000", "search_log10_lr = 2.0"),
        ("life_safty_co2_ppm = 30000", "serch_log10_lr = 2.0"),
        ('"seedlink"\naddress = "127.0.0.1:18000"', '"presence.modbus_io"\naddress = "127.0.0.1:1502"'),
        ('"k30-modbus"', '"co2.vaisala_gmp25x"'),
        ("kind = ", "driver = "),
    ):
        text = text.replace(theirs, ours)
    return re.sub(r'\[\[device\]\]\nname = "([^"]*)"', r"[devices.\1]", text)


def test_a_good_file_is_read_with_its_defaults(tmp_path: Path) -> None:
    config = loaded(tmp_path, GOOD)
    assert config.devices["co2-rear"].config.model_dump()["unit"] == 1
    policy = config.policy.policy()
    assert (policy.looks_s, policy.pfa, policy.alpha, policy.on_timeout) == ((10, 90), 0.02, 0.05, Level.RECHECK)


def test_the_good_file_of_the_cases_is_read(tmp_path: Path, cases: Path) -> None:
    text = (cases / "59-config-unknown-keys" / "good.toml").read_text()
    assert list(loaded(tmp_path, in_our_words(text)).devices) == ["geo-body", "co2-rear"]


@pytest.mark.parametrize(
    ("file", "field", "nearest"),
    [
        ("typo-key.toml", "policy.serch_log10_lr", "did you mean search_log10_lr?"),
        ("typo-table.toml", "polcy", "did you mean policy?"),
        ("plural.toml", "device", "did you mean devices?"),
        ("wrong-level.toml", "lane.unit", "did you mean unit in [devices.<name>]?"),
        ("case.toml", "devices.co2-rear.Unit", "did you mean unit?"),
    ],
)
def test_a_mistyped_key_is_named_with_line_and_nearest(
    tmp_path: Path, cases: Path, file: str, field: str, nearest: str
) -> None:
    text = in_our_words((cases / "59-config-unknown-keys" / file).read_text())
    if file == "plural.toml":
        text = text.replace("[[devices]]", "[[device]]")
    (line,) = refusal(tmp_path, text)
    place, rest = line.split(": ", 1)
    number = int(place.removeprefix("lane.toml:"))
    assert rest.startswith(f"{field}: unknown key; known here: ")
    assert rest.endswith(nearest)
    assert field.split(".")[-1] in text.splitlines()[number - 1]


def test_an_array_of_devices_says_how_devices_are_written(tmp_path: Path) -> None:
    (line,) = refusal(tmp_path, '[lane]\nsite = "n"\nname = "1"\n[[devices]]\nname = "geo"\n')
    assert line.startswith("lane.toml:4: devices: no table; write [devices.<name>]")


@pytest.mark.parametrize("variable", ["LANEPULSE_POLCY__LOOKS_S", "LANEPULSE_POLICY_LOOKS_S", "LANEPULSE_CONFG"])
def test_a_setting_by_environment_is_not_dropped_without_a_word(tmp_path: Path, variable: str) -> None:
    (line,) = refusal(tmp_path, GOOD, {variable: "5"})
    assert f"environment: {variable}: not read by anything" in line


def test_all_mistakes_are_told_at_once_in_order_of_lines(tmp_path: Path) -> None:
    text = GOOD.replace("pfa", "pfaa").replace("unit = 1", "unit = 900").replace('site = "north"', "site = 3")
    lines = refusal(tmp_path, text)
    assert [line.split(": ")[0] for line in lines] == ["lane.toml:2", "lane.toml:16", "lane.toml:21"]


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("clash-any-address.toml", ["publish.replay: port 7000, the same as publish.bind (line "]),
        ("clash-ports.toml", ["publish.replay: port 7000, the same as publish.bind (line "]),
        ("clash-empty.toml", ['lane.name: ""; give 1 to 32 letters']),
        ("clash-slash.toml", ['lane.name: "lane/1.a"; give 1 to 32 letters']),
        ("clash-privileged.toml", ['publish.bind: "tcp://127.0.0.1:80"; give a port from 1024']),
        ("clash-names.toml", ["devices.geo-body: is there twice; it stands on line "]),
        ("clash-same-unit.toml", ["devices.co2-mid.unit: unit 1 on /dev/ttyUSB0, the same as devices.co2-front.unit"]),
        ("duplicate-key.toml", ["devices.co2-rear.unit: is there twice; it stands on line "]),
    ],
)
def test_a_clash_is_refused_with_both_places(tmp_path: Path, cases: Path, file: str, said: list[str]) -> None:
    lines = refusal(tmp_path, in_our_words((cases / "61-config-clashes" / file).read_text()))
    assert len(lines) == len(said)
    assert all(re.match(r"lane\.toml:\d+: ", line) and words in line for line, words in zip(lines, said, strict=True))


def test_two_links_to_one_adapter_are_one_port(tmp_path: Path) -> None:
    for link in ("a", "b"):
        (tmp_path / link).symlink_to("/dev/null")
    device = '[devices.{0}]\ndriver = "co2.vaisala_gmp25x"\nport = "{1}/{0}"\n'
    text = '[lane]\nsite = "n"\nname = "1"\n' + "".join(device.format(link, tmp_path) for link in ("a", "b"))
    (line,) = refusal(tmp_path, text)
    assert "devices.b.unit: unit 240 on " in line or "devices.b: unit 240 on " in line


def test_one_line_has_one_speed(tmp_path: Path) -> None:
    device = '[devices.{0}]\ndriver = "co2.vaisala_gmp25x"\nport = "/dev/ttyS0"\nunit = {1}\nbaud_rate = {2}\n'
    text = '[lane]\nsite = "n"\nname = "1"\n' + device.format("a", 1, 19200) + device.format("b", 2, 9600)
    (line,) = refusal(tmp_path, text)
    assert "lane.toml:13: devices.b.baud_rate: 9600 on /dev/ttyS0, unlike devices.a.baud_rate (line 8)" in line


def test_a_default_port_clashes_too(tmp_path: Path) -> None:
    (line,) = refusal(tmp_path, '[lane]\nsite = "n"\nname = "1"\n[publish]\nbind = "tcp://*:7502"\n')
    assert line.startswith("lane.toml:5: publish.bind: port 7502, the same as publish.replay")


def test_names_that_differ_only_in_case_are_refused(tmp_path: Path) -> None:
    text = GOOD + '[devices.Gate]\ndriver = "presence.modbus_io"\naddress = "127.0.0.1:1503"\n'
    (line,) = refusal(tmp_path, text)
    assert "devices.Gate: a name that differs only in case, the same as devices.gate (line 9)" in line


@pytest.mark.parametrize(
    "value", ["prior = '1/1'", "pfa = nan", "looks_s = [5, 5]", "on_timeout = 'no_search'", "alpha = '0.05'", "pfa = 1"]
)
def test_a_policy_that_cannot_be_is_refused(tmp_path: Path, value: str) -> None:
    (line,) = refusal(tmp_path, f'[lane]\nsite = "n"\nname = "1"\n[policy]\n{value}\n')
    assert line.startswith(f"lane.toml:5: policy.{value.split(' ')[0]}: ")


def test_an_unknown_driver_is_answered_with_those_there_are(tmp_path: Path) -> None:
    (line,) = refusal(tmp_path, GOOD.replace("co2.vaisala_gmp25x", "co2.vaisala_gmp252"))
    assert "did you mean co2.vaisala_gmp25x?" in line


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"[lane", b"a = " + b"[" * 5000, b"#" * 300_000])
def test_a_file_that_is_no_toml_is_one_line(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "lane.toml"
    path.write_bytes(raw)
    with pytest.raises(ConfigErrors) as raised:
        load(path, {})
    assert len(str(raised.value).splitlines()) == 1


GEOPHONES = """\
from typing import Literal
from pydantic import BaseModel, ConfigDict
from drivers.reading import Modality

class Config(BaseModel):
    model_config = ConfigDict(extra="forbid")
    driver: Literal["vibration.of_others"]

MODALITY = Modality.VIBRATION
expected = probe = readings = None
"""


@pytest.fixture
def geophones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name of a vibration driver that somebody else ships."""
    (tmp_path / "geophones_of_others.py").write_text(GEOPHONES)
    info = tmp_path / "geophones-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: geophones\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[lanepulse.drivers]\nvibration.of_others = geophones_of_others\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "vibration.of_others"
    sys.modules.pop("geophones_of_others", None)


def test_a_missing_response_file_is_named(tmp_path: Path, geophones: str) -> None:
    text = f'{GOOD}[devices.chassis]\ndriver = "{geophones}"\nresponse = "chassis.xml"\n'
    (line,) = refusal(tmp_path, text)
    assert line.startswith('lane.toml:24: devices.chassis.response: "chassis.xml": no such file')


def test_a_response_is_found_beside_the_file(tmp_path: Path, geophones: str) -> None:
    (tmp_path / "chassis.xml").write_text("")
    text = f'{GOOD}[devices.chassis]\ndriver = "{geophones}"\nresponse = "chassis.xml"\n'
    assert loaded(tmp_path, text).devices["chassis"].response == tmp_path / "chassis.xml"


def test_a_response_of_a_gas_probe_is_a_mistake(tmp_path: Path) -> None:
    (line,) = refusal(tmp_path, GOOD.replace("poll_s = 2.0", 'response = "chassis.xml"'))
    assert line.startswith("lane.toml:17: devices.co2-rear.response: unknown key; only vibration devices")


def test_a_date_is_no_name(tmp_path: Path) -> None:
    (line,) = refusal(tmp_path, GOOD.replace('site = "north"', "site = 2026-03-01"))
    assert line.startswith("lane.toml:2: lane.site: ")
