"""Who may do what, and what a hostile neighbour gets: against the real booth, by requests of our own making."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from edge.booth import officers
from edge.booth.sessions import FREE_TRIES, IDLE_S, SHIFT_S, Sessions, Tries

PINS = {"o17": ("officer", "471102"), "e2": ("engineer", "998811"), "s1": ("supervisor", "135790")}
BADGE = "0012345678"


@pytest.fixture(scope="module")
def roster(stage: Any) -> Iterator[Path]:
    path: Path = stage.root / "keys" / "officers.json"
    for officer_id, (role, pin) in PINS.items():
        officers.add(path, officer_id, role, pin, BADGE if officer_id == "o17" else None)  # type: ignore[arg-type]
    yield path
    path.unlink()


class Client:
    """A browser without manners: each request as it is given, cookies kept."""

    def __init__(self, address: str, context: ssl.SSLContext | None = None) -> None:
        self.parts, self.context, self.cookie = urlsplit(address), context, ""

    def ask(
        self, method: str, path: str, body: bytes = b"", host: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        kind = http.client.HTTPConnection if self.context is None else http.client.HTTPSConnection
        given: dict[str, Any] = {} if self.context is None else {"context": self.context}
        connection = kind(str(self.parts.hostname), self.parts.port, timeout=20, **given)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", self.parts.netloc if host is None else host)
            if self.cookie:
                connection.putheader("Cookie", self.cookie)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            if body:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            if "set-cookie" in found:
                self.cookie = found["set-cookie"].partition(";")[0]
            return answer.status, found, answer.read()
        finally:
            connection.close()

    def post(self, path: str, document: Any, **changes: str) -> tuple[int, Any]:
        origin = f"{self.parts.scheme}://{self.parts.netloc}"
        headers = {"Content_Type": "application/json", "X_Lanepulse": "1", "Origin": origin} | changes
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        status, _, answer = self.ask("POST", path, body, **headers)
        return status, json.loads(answer)

    def sign_on(self, officer_id: str, pin: str | None = None) -> int:
        return self.post("/sign-on", {"id": officer_id, "pin": pin or PINS[officer_id][1]})[0]


@pytest.fixture
def client(roster: Path, address: str) -> Client:
    return Client(address)


def press_of(passage_id: str, **changes: Any) -> dict[str, Any]:
    outcome = {"searched": True, "technique": "physical", "found": False}
    return {"passage_id": passage_id, "key": f"test-{passage_id[-8:]}", "outcome": outcome} | changes


def test_who_has_not_signed_on_enters_nothing(stage: Any, client: Client) -> None:
    passage = stage.lorry("search")
    assert client.post("/outcome", press_of(passage))[0] == 401
    assert client.post("/context", {"passage_id": passage, "context": {"engine": "off"}})[0] == 401
    assert client.ask("GET", "/status")[0] == 401
    assert [row for row in stage.outcomes() if row["passage_id"] == passage] == []


@pytest.mark.parametrize(
    ("who", "outcome", "status"), [("o17", 200, 401), ("e2", 401, 200), ("s1", 200, 200)], ids=["o17", "e2", "s1"]
)
def test_each_role_may_what_it_is_for(stage: Any, client: Client, who: str, outcome: int, status: int) -> None:
    passage = stage.lorry("search")
    assert client.sign_on(who) == 200
    assert client.post("/outcome", press_of(passage))[0] == outcome
    assert client.ask("GET", "/status")[0] == status


def test_the_record_has_the_id_and_no_name(stage: Any, client: Client) -> None:
    passage = stage.lorry("search")
    client.sign_on("o17")
    client.post("/outcome", press_of(passage))
    (row,) = [row for row in stage.outcomes() if row["passage_id"] == passage]
    assert (row["officer"], row["via"].startswith("booth o17, uid ")) == ("o17", True)


def test_a_badge_alone_signs_on_and_a_wrong_one_does_not(client: Client) -> None:
    status, told = client.post("/sign-on", {"badge": BADGE})
    assert (status, told["officer"]) == (200, {"id": "o17", "role": "officer"})
    assert client.post("/sign-on", {"badge": "0012345679"})[0] == 403


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites_and_ends_with_sign_off(client: Client) -> None:
    origin = f"http://{client.parts.netloc}"
    body = json.dumps({"id": "o17", "pin": PINS["o17"][1]}).encode()
    headers = {"Content_Type": "application/json", "X_Lanepulse": "1", "Origin": origin}
    _, found, _ = client.ask("POST", "/sign-on", body, **headers)
    cookie = found["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    kept = client.cookie
    assert client.post("/sign-off", {})[0] == 200
    client.cookie = kept
    assert json.loads(client.ask("GET", "/settings")[2])["officer"] is None


def test_who_is_taken_out_or_gets_another_role_is_out_at_once(roster: Path, client: Client) -> None:
    officers.add(roster, "o99", "officer", "246813")
    assert client.sign_on("o99", "246813") == 200
    officers.add(roster, "o99", "supervisor", "246813")
    assert json.loads(client.ask("GET", "/settings")[2])["officer"] is None
    assert client.sign_on("o99", "246813") == 200
    officers.remove(roster, "o99")
    assert json.loads(client.ask("GET", "/settings")[2])["officer"] is None
    assert client.sign_on("o99", "246813") == 403


def test_another_sites_page_can_do_nothing(stage: Any, client: Client) -> None:
    passage = stage.lorry("search")
    client.sign_on("o17")
    press = press_of(passage)
    assert client.post("/outcome", press, Origin="https://evil.example")[0] == 403
    assert client.post("/outcome", press, Origin="null")[0] == 403
    assert client.post("/outcome", press, X_Lanepulse="")[0] == 403
    assert client.post("/outcome", press, Content_Type="text/plain")[0] == 415
    assert client.post("/outcome", press, Content_Type="application/x-www-form-urlencoded")[0] == 415
    assert client.ask("GET", "/outcome")[0] == 405
    assert [row for row in stage.outcomes() if row["passage_id"] == passage] == []


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "", "[::ffff:7f00:1]"])
def test_another_name_for_this_machine_is_refused(client: Client, host: str) -> None:
    assert client.ask("GET", "/", host=host)[0] in (400, 421)


def test_a_browser_may_load_nothing_from_elsewhere_and_frame_nothing(client: Client) -> None:
    for path in ("/", "/settings", "/static/booth.js", "/nowhere"):
        _, found, _ = client.ask("GET", path)
        policy = found["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert "frame-ancestors 'none'" in policy
        assert found["x-content-type-options"] == "nosniff"
        assert "server" not in found


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"null", 400),
        (b"[1]", 400),
        (b'{"a": NaN}', 400),
        (b'{"a": 1, "a": 2}', 400),
        (b'{"a": "\xff"}', 400),
        (b"[" * 10_000, 400),
        (b'{"a": "' + b"x" * 20_000 + b'"}', 413),
        (json.dumps(press_of("../../etc/passwd")).encode(), 422),
        (json.dumps(press_of("x" * 200)).encode(), 422),
        (json.dumps(press_of("P", outcome={"searched": "yes"})).encode(), 422),
        (json.dumps(press_of("P", outcome={"searched": False, "found": True})).encode(), 422),
        (json.dumps(press_of("P", outcome={"searched": True, "found": True, "people": 10**9})).encode(), 422),
        (json.dumps(press_of("P", outcome={"searched": True, "found": False, "people": 2})).encode(), 422),
        (json.dumps(press_of("P", outcome={"searched": False, "response": "overridden"})).encode(), 422),
        (json.dumps(press_of("P", outcome={"searched": False, "secured": {"wings": "ok"}})).encode(), 422),
        (json.dumps(press_of("P", key="x\r\nSet-Cookie: a=b")).encode(), 422),
        (json.dumps(press_of("P", pressed_ago_s=-5)).encode(), 422),
        (json.dumps(press_of("01JQ0F7Y3W8V5R2M9K4TNOSUCH")).encode(), 409),
    ],
)
def test_what_is_no_outcome_is_refused_in_one_line_with_its_field(client: Client, body: bytes, status: int) -> None:
    client.sign_on("o17")
    found, told = client.post("/outcome", body)
    assert found == status
    assert "\n" not in told["error"]
    assert len(told["error"]) < 400
    assert "Traceback" not in told["error"]


@pytest.mark.parametrize(
    "path", ["/static/../server.py", "/static/%2e%2e/server.py", "/picture/..%2f..%2fkeys", "/words/../x.json", "/%00"]
)
def test_no_path_leads_out_of_what_is_served(client: Client, path: str) -> None:
    client.sign_on("s1")
    status, _, body = client.ask("GET", path)
    assert status in (400, 404) or json.loads(body)["why"]["co2"] == "no file"


def test_headers_and_cookies_without_end_end_the_connection_and_nothing_else(client: Client) -> None:
    status, _, _ = client.ask("GET", "/settings", Cookie=f"lanepulse={'x' * 4000}; lanepulse={'y' * 4000}; =; ;;")
    assert status == 200
    with socket.create_connection((client.parts.hostname, client.parts.port), timeout=20) as hostile:
        hostile.sendall(b"GET / HTTP/1.1\r\nHost: " + b"x" * 200_000)
        assert b" 400 " in hostile.recv(4096) or hostile.recv(1) == b""
    assert client.ask("GET", "/settings")[0] == 200


def test_a_session_ends_with_the_shift_and_when_nobody_touches_it() -> None:
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    officer = officers.Officer(id="o17", role="officer", pin="$argon2id$x")
    token = sessions.begin(officer)
    now[0] = IDLE_S - 1
    assert sessions.of(token, touch=True) is not None
    now[0] += IDLE_S + 1
    assert sessions.of(token, touch=True) is None
    token, began = sessions.begin(officer), now[0]
    while now[0] - began < SHIFT_S:
        assert sessions.of(token, touch=True) is not None
        now[0] += IDLE_S / 2
    now[0] += 1
    assert sessions.of(token, touch=True) is None


def test_wrong_pins_make_the_next_try_wait_longer_and_longer() -> None:
    now, waits = [0.0], []
    tries = Tries(lambda: now[0])
    for _ in range(FREE_TRIES + 4):
        tries.failed("id o17")
        waits.append(tries.wait_s("id o17", "at 10.0.0.7"))
    assert waits[: FREE_TRIES - 1] == [0.0] * (FREE_TRIES - 1)
    assert waits[FREE_TRIES - 1 :] == sorted(set(waits[FREE_TRIES - 1 :]))
    assert tries.wait_s("id o18") == 0.0
    tries.passed("id o17")
    assert tries.wait_s("id o17") == 0.0


def test_the_file_of_officers_has_no_pin_and_no_badge_in_it(roster: Path) -> None:
    text = roster.read_text()
    assert roster.stat().st_mode & 0o777 == 0o600
    for pin in (*(pin for _, pin in PINS.values()), BADGE):
        assert pin not in text
    assert text.count("$argon2id$v=19$m=19456,t=2,p=1$") >= len(PINS)


def test_signing_on_and_off_in_a_browser_by_pin_and_by_badge(stage: Any, roster: Path, page: Page) -> None:
    passage = stage.lorry("search")
    expect(page.locator("#outcome")).to_have_attribute("data-passage", passage)
    expect(page.locator("#presses [data-press='nobody']")).to_be_enabled()
    page.locator("#presses [data-press='nobody']").click()
    expect(page.locator("#unsent-list")).to_contain_text("sign on to send it")
    page.locator("#officer").click()
    page.locator("#panel input[name=id]").fill("o17")
    page.locator("#panel input[name=pin]").fill("000000")
    page.keyboard.press("Enter")
    expect(page.locator("#panel [role=alert]")).to_have_text("Id, PIN or badge is wrong")
    page.locator("#panel input[name=pin]").fill(PINS["o17"][1])
    page.keyboard.press("Enter")
    expect(page.locator("#officer")).to_contain_text("o17")
    expect(page.locator("#presses")).to_contain_text("Recorded")
    (row,) = [row for row in stage.outcomes() if row["passage_id"] == passage]
    assert row["officer"] == "o17"
    page.locator("#officer").click()
    page.locator("#panel button.strong").click()
    expect(page.locator("#officer")).not_to_contain_text("o17")
    page.locator("#officer").click()
    page.locator("#panel input[name=id]").press_sequentially(BADGE)  # as a badge reader types it
    page.keyboard.press("Enter")
    expect(page.locator("#officer")).to_contain_text("o17")


def test_beyond_this_machine_it_speaks_tls_by_the_sites_certificate(https: Any) -> None:
    address, certificate = https
    trusting = ssl.create_default_context(cafile=certificate)
    client = Client(address, trusting)
    status, found, _ = client.ask("GET", "/")
    assert (status, found["strict-transport-security"]) == (200, "max-age=31536000")
    assert client.ask("GET", "/", host="booth.site.example")[0] == 200
    assert client.ask("GET", "/", host="other.site.example")[0] == 421
    with pytest.raises((OSError, http.client.HTTPException)):
        Client(address.replace("https", "http")).ask("GET", "/")
    old = ssl.create_default_context(cafile=certificate)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.set_ciphers("AES128-SHA:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        Client(address, old).ask("GET", "/")


def test_a_wrong_pin_is_refused_and_after_five_even_the_right_one_waits(roster: Path, address: str) -> None:
    officers.add(roster, "o42", "officer", "864209")
    client = Client(address)
    answers = [client.sign_on("o42", "000123") for _ in range(FREE_TRIES)]
    assert answers == [403] * FREE_TRIES
    status, told = client.post("/sign-on", {"id": "o42", "pin": "864209"})
    assert status == 429
    assert told["error"].startswith("wait ")
