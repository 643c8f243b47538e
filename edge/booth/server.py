"""The booth's pages: static files, one stream of what to show, and presses that go on to the lane.

Nothing is rendered here: text travels as JSON and becomes text in the browser, so no plate and no device's word is ever
markup. Whoever may look may not yet enter: entering needs an officer who signed on, except at the machine itself where
no officers are known.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edge.booth import rim
from edge.booth.drill_desk import DrillDesk, is_case
from edge.booth.events import Hub, Stream
from edge.booth.images import Images, NoImage
from edge.booth.officers import Officer, Roster
from edge.booth.pictures import pictures
from edge.booth.rim import Refused, Rim
from edge.booth.sessions import SHIFT_S, Session, Sessions, Tries
from edge.booth.upkeep import Upkeep
from edge.booth.watch import Watch
from edge.control import ControlFault, Unreachable
from edge.drill.session import DrillRefused
from edge.records.outcome import CHECKS, By, CheckState, OutcomeRefused, Reason, Technique, press_of

HERE = Path(__file__).parent
LANGUAGES = ("en", "fr", "nl", "de")
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
COOKIE = "lanepulse"
WRITERS = ("officer", "supervisor")
LOOKERS_IN = ("engineer", "supervisor")
CONTEXT_WORDS = ("body_type", "driver", "engine", "refrigeration", "cargo", "doors", "sealed_for_s")


@dataclass(frozen=True, slots=True)
class Booth:
    """What the pages stand on."""

    site: str
    lane: str
    zone: str
    language: str
    bundles: Path
    drills: Path
    officers: Roster
    upkeep: Upkeep
    hosts: frozenset[str]
    local: bool  # only this machine reaches it
    secure: bool  # TLS


class Pages:
    """The application; `app` is what a server serves."""

    def __init__(self, booth: Booth, watch: Watch, hub: Hub, ask: Callable[[dict[str, Any]], Any]) -> None:
        self._booth, self._watch, self._hub, self._ask = booth, watch, hub, ask
        self._sessions, self._tries = Sessions(time.monotonic), Tries(time.monotonic)
        self._one_pin_at_a_time = asyncio.Lock()
        self._stream = Stream(hub)
        self._images = Images(booth.bundles)
        self._drills = DrillDesk(booth.drills)
        self._drill_images = Images(self._drills.cases)
        routes = [
            Route("/", self._file_of("booth.html")),
            Route("/engineer", self._file_of("engineer.html")),
            Route("/drill", self._file_of("drill.html")),
            Route("/drill/begin", self._guarded(self._drill_begin), methods=["POST"]),
            Route("/drill/answer", self._guarded(self._drill_answer), methods=["POST"]),
            Route("/drill/end", self._guarded(self._drill_end), methods=["POST"]),
            *(Route(f"/static/{path.name}", self._file_of(path.name)) for path in (HERE / "static").iterdir()),
            *(Route(f"/words/{name}.json", self._words(name)) for name in LANGUAGES),
            Route("/settings", self._guarded(self._settings)),
            Route("/events", _Gate(self)),
            Route("/picture/{passage_id}", self._guarded(self._picture)),
            Route("/picture/{passage_id}/{name}", self._guarded(self._image)),
            Route("/status", self._guarded(self._status)),
            Route("/upkeep", self._guarded(self._upkeep)),
            Route("/sign-on", self._guarded(self._sign_on), methods=["POST"]),
            Route("/sign-off", self._guarded(self._sign_off), methods=["POST"]),
            Route("/outcome", self._guarded(self._outcome), methods=["POST"]),
            Route("/context", self._guarded(self._context), methods=["POST"]),
        ]
        self.app = Rim(Starlette(routes=routes), booth.hosts, secure=booth.secure)

    def may_look(self, request: Request) -> bool:
        """On this machine everybody sees the prompt: a screen must not go dark because a shift has ended."""
        return self._booth.local or self._session(request) is not None

    async def stream(self, scope: Any, receive: Any, send: Any) -> None:
        """The page's stream, for who may look."""
        await self._stream(scope, receive, send)

    def _session(self, request: Request, *, touch: bool = False) -> Session | None:
        token = request.cookies.get(COOKIE)
        session = self._sessions.of(token, touch=touch)
        if session is not None and self._booth.officers().by_id.get(session.officer_id) != session.officer:
            self._sessions.end(token)  # taken out since, or with another role, PIN or badge
            return None
        return session

    def _writer(self, request: Request) -> str | None:
        """The officer's id; None at a machine that knows no officers. Raises Refused."""
        session = self._session(request, touch=True)
        if session is not None and session.role in WRITERS:
            return session.officer_id
        if session is None and self._booth.local and not self._booth.officers().by_id:
            return None
        raise Refused(401, "sign on first")

    @staticmethod
    def _file_of(name: str) -> Callable[[Request], Awaitable[Response]]:
        path = HERE / "static" / name
        content = path.read_bytes()
        return _static(content, KINDS[path.suffix])

    @staticmethod
    def _words(language: str) -> Callable[[Request], Awaitable[Response]]:
        return _static((HERE / "catalogues" / f"{language}.json").read_bytes(), "application/json")

    @staticmethod
    def _guarded(answer: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
        @functools.wraps(answer)
        async def guarded(request: Request) -> Response:
            try:
                found = await answer(request)
            except Refused as refused:
                return _json({"error": refused.cause}, refused.status)
            return found if isinstance(found, Response) else _json(found)

        return guarded

    async def _settings(self, request: Request) -> Any:
        session, booth = self._session(request), self._booth
        return {
            "site": booth.site,
            "lane": booth.lane,
            "zone": booth.zone,
            "language": booth.language,
            "languages": list(LANGUAGES),
            "officer": None if session is None else {"id": session.officer_id, "role": session.role},
            "sign_on": bool(booth.officers().by_id) or not booth.local,
            "may_look": self.may_look(request),
            "checks": list(CHECKS),
            "check_states": list(get_args(CheckState)),
            "techniques": list(get_args(Technique)),
            "reasons": list(get_args(Reason)),
            "by": list(get_args(By)),
        }

    async def _picture(self, request: Request) -> Any:
        if not self.may_look(request):
            raise Refused(401, "sign on first")
        name = str(request.path_params["passage_id"])
        bundles = self._drills.cases if is_case(name) else self._booth.bundles
        return await asyncio.to_thread(pictures, bundles, name)

    async def _image(self, request: Request) -> Any:
        if not self.may_look(request):
            raise Refused(401, "sign on first")
        names = request.path_params
        images = self._drill_images if is_case(str(names["passage_id"])) else self._images
        try:
            content = await asyncio.to_thread(images.png, str(names["passage_id"]), str(names["name"]))
        except NoImage as cause:
            raise Refused(404, str(cause)) from None
        return Response(content, media_type="image/png", headers={"cache-control": "private, max-age=600"})

    async def _status(self, request: Request) -> Any:
        self._engineer(request)
        watch = self._watch
        return {"status": watch.board.status, "cause": watch.cause, "faults": watch.faults.document()}

    async def _upkeep(self, request: Request) -> Any:
        self._engineer(request)
        found = await asyncio.to_thread(self._booth.upkeep.document)
        newest = next(iter(self._watch.board.listed), None)
        return {**found, "passage_id": newest}

    def _engineer(self, request: Request) -> None:
        """Raises Refused unless an engineer looks, or somebody at a machine that knows no officers."""
        session = self._session(request)
        if not (self._booth.local and not self._booth.officers().by_id) and (
            session is None or session.role not in LOOKERS_IN
        ):
            raise Refused(401, "sign on as engineer or supervisor")

    async def _sign_on(self, request: Request) -> Any:
        given = await rim.document(request)
        secrets = _credentials(given)
        at = f"at {request.client.host if request.client else ''}"
        names = (f"id {secrets[0]}", at) if secrets[0] else (at,)
        async with self._one_pin_at_a_time:
            wait_s = self._tries.wait_s(*names)
            if wait_s > 0:
                raise Refused(429, f"wait {wait_s:.0f} s")
            officer = await asyncio.to_thread(self._known, *secrets)
            if officer is None:
                self._tries.failed(*names)
                raise Refused(403, "id, PIN or badge is wrong")
        self._tries.passed(*names)
        self._sessions.end(request.cookies.get(COOKIE))
        answer = _json({"officer": {"id": officer.id, "role": officer.role}})
        answer.set_cookie(
            COOKIE,
            self._sessions.begin(officer),
            max_age=round(SHIFT_S),
            httponly=True,
            samesite="strict",
            secure=self._booth.secure,
        )
        return answer

    def _known(self, officer_id: str, secret: str) -> Officer | None:
        """Whose id and PIN, or whose badge where no id is given."""
        officers = self._booth.officers()
        return officers.verify(officer_id, secret) if officer_id else officers.of_badge(secret)

    async def _sign_off(self, request: Request) -> Any:
        await rim.document(request)
        self._sessions.end(request.cookies.get(COOKIE))
        answer = _json({})
        answer.delete_cookie(COOKIE)
        return answer

    async def _outcome(self, request: Request) -> Any:
        given = await rim.document(request)
        sender = self._writer(request)
        pressed_by = given.get("officer")  # a press that waited for the network keeps the officer who made it
        if sender is None or not isinstance(pressed_by, str) or pressed_by not in self._booth.officers().by_id:
            pressed_by = sender
        terminal = "booth" if sender is None else f"booth {sender}"
        try:
            press = press_of(given | {"officer": pressed_by, "terminal": terminal})
        except OutcomeRefused as refused:
            raise Refused(422, str(refused)) from None
        answer = await self._lane({"do": "outcome"} | press.model_dump(mode="json"))
        if isinstance(answer, dict) and answer.get("record"):
            self._watch.board.outcomes[press.passage_id] = answer["record"]
            self._hub.publish()
        self._watch.look_again()
        return answer

    async def _drill_begin(self, request: Request) -> Any:
        given = await rim.document(request)
        return await self._drill(self._drills.begin, self._practising(request), given.get("count"))

    async def _drill_answer(self, request: Request) -> Any:
        given = await rim.document(request)
        who, token = self._practising(request), given.get("token")
        return await self._drill(self._drills.answer, token, who, given.get("case_id"), given.get("answer"))

    async def _drill_end(self, request: Request) -> Any:
        given = await rim.document(request)
        return await self._drill(self._drills.end, given.get("token"), self._practising(request))

    def _practising(self, request: Request) -> str | None:
        """The officer's id, of any role; None at a machine that knows no officers. Raises Refused."""
        session = self._session(request, touch=True)
        if session is not None:
            return session.officer_id
        if self._booth.local and not self._booth.officers().by_id:
            return None
        raise Refused(401, "sign on first")

    @staticmethod
    async def _drill(do: Callable[..., Any], *given: Any) -> Any:
        try:
            return await asyncio.to_thread(do, *given)
        except DrillRefused as refused:
            raise Refused(409, str(refused)) from None

    async def _context(self, request: Request) -> Any:
        given = await rim.document(request)
        sender = self._writer(request)
        words, passage_id = given.get("context"), given.get("passage_id")
        if not isinstance(words, dict) or not isinstance(passage_id, str) or set(words) - set(CONTEXT_WORDS):
            raise Refused(422, f"give passage_id and context; words: {', '.join(CONTEXT_WORDS)}")
        source = "booth" if sender is None else f"booth {sender}"
        answer = await self._lane({"do": "context", "passage_id": passage_id, "context": words, "source": source})
        self._watch.look_again()
        return answer

    async def _lane(self, request: dict[str, Any]) -> Any:
        try:
            return await asyncio.to_thread(self._ask, request)
        except Unreachable as silence:
            raise Refused(503, str(silence)) from None
        except ControlFault as refusal:
            raise Refused(409, str(refusal)) from None


def _credentials(given: Mapping[str, Any]) -> tuple[str, str]:
    """Id and PIN, or nothing and the badge. Raises Refused."""
    badge = given.get("badge")
    officer_id, secret = ("", badge) if badge is not None else (given.get("id"), given.get("pin"))
    if not isinstance(officer_id, str) or not isinstance(secret, str) or len(officer_id) > 32 or len(secret) > 64:
        raise Refused(400, "give id and pin, or badge")
    return officer_id, secret


class _Gate:
    """The stream's endpoint: an ASGI application of its own, since it sends for as long as the page is open."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if not self._pages.may_look(Request(scope)):
            await _json({"error": "sign on first"}, 401)(scope, receive, send)
            return
        await self._pages.stream(scope, receive, send)


def _static(content: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers: Mapping[str, str] = {"etag": tag, "cache-control": "no-cache"}

    async def answer(request: Request) -> Response:
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=kind, headers=headers)

    return answer


def _json(document: Any, status: int = 200) -> JSONResponse:
    return JSONResponse(document, status, headers={"cache-control": "no-store"})
