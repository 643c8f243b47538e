"""Does the world still fit the model? From the lane's own vehicles, for its status; nothing is changed by it.

Three figures since the active model came: how far vehicles shake from the predicted background (nearly all are empty),
how often a search is prompted against what the policy allows, and how often searches find against the scores that
were stated (fusion/drift.py). They are made anew from the journal at each start, and are the same as before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from edge.journal.journal import Journal, JournalFault, Row
from fusion.drift import FEWEST, TIMES_BOTH, TIMES_MORE, Background, Bets
from fusion.policy import Policy
from fusion.verdict import Level, State

EVERY_S = 30.0
ROWS_AT_ONCE = 200
ROWS_MOST = 200_000  # assumed: of the journal, from its end; a busy lane's year has more, and what is older is history
OPEN_MOST = 20_000  # assumed: vehicles that await an outcome; the oldest are given up
DB_PER_LOG = 20.0
BY_RULE = ("audit.random", "policy.search", "contact.red", "life.")  # searches that no ratio prompted
COVERT = ("covert", "covert.entered", "covert.revealed")
log = logging.getLogger("lanepulse.drift")


class Drift:
    """``run`` reads the journal's new rows now and then; ``told`` is the newest answer, and cheap."""

    def __init__(self, journal: Journal, model_sha256: str, policy: Policy) -> None:
        self._journal, self._model_sha256, self._policy = journal, model_sha256, policy
        last = max((row.sequence for kind in ("verdict", "outcome") if (row := journal.last(kind))), default=0)
        self._next = dict.fromkeys(("verdict", "outcome", *COVERT), max(1, last - ROWS_MOST))
        self._background = Background()
        self._prompts, self._finds = Bets(TIMES_MORE), Bets(TIMES_BOTH)
        self._seen: dict[str, None] = {}  # passages whose first final verdict was counted
        self._scores: dict[str, float] = {}  # of passages that await an outcome
        self._tests: set[str | None] = set()
        self._said: set[str] = set()
        self.told: dict[str, Any] = self._document()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self.read_on)
            except JournalFault as fault:
                log.error("drift: %s", fault)
            await asyncio.sleep(EVERY_S)

    def read_on(self) -> None:
        """Take the journal's new rows; blocks."""
        for kind, take in (*((kind, self._take_test) for kind in COVERT), ("verdict", self._take_verdict)):
            self._read(kind, take)
        self._read("outcome", self._take_outcome)
        self.told = self._document()
        for name, words in _moved(self.told):
            if name not in self._said:
                self._said.add(name)
                log.warning("%s (lanepulse status)", words)

    def _read(self, kind: str, take: Any) -> None:
        while rows := self._journal.rows(self._next[kind], ROWS_AT_ONCE, kind):
            for row in rows:
                take(row)
            self._next[kind] = rows[-1].sequence + 1

    def _take_test(self, row: Row) -> None:
        """A covert test is no lorry of the road."""
        self._tests.add(row.passage_id)
        self._scores.pop(str(row.passage_id), None)

    def _take_verdict(self, row: Row) -> None:
        """The first final verdict of a vehicle counts: later ones come of late evidence."""
        body = row.document()
        passage_id = str(row.passage_id)
        if not body["final"] or passage_id in self._seen or passage_id in self._tests:
            return
        if body["produced_by"]["model_sha256"] != self._model_sha256:
            return
        self._seen[passage_id] = None
        spoke = {part["modality"]: part for part in body["evidence"] if part["state"] == State.MEASURED.value}
        if "explained_log" in spoke.get("vibration", {}).get("features", {}):
            self._background.see(DB_PER_LOG * spoke["vibration"]["features"]["explained_log"])
        if spoke:
            self._take_decision(passage_id, body)

    def _take_decision(self, passage_id: str, body: Mapping[str, Any]) -> None:
        by_rule = any(str(reason["code"]).startswith(BY_RULE) for reason in body["reasons"])
        if self._policy.search_log10_lr is None and not by_rule:  # a site's own threshold promises no rate
            self._prompts.see(self._allowed(body["prior_log10_odds"]), body["level"] == Level.SEARCH.value)
        self._scores[passage_id] = body["score"]
        for kept in (self._scores, self._seen):
            while len(kept) > OPEN_MOST:
                del kept[next(iter(kept))]

    def _allowed(self, prior_log10_odds: float) -> float:
        """The share of vehicles that may be prompted: false alarms, and all that truly hold somebody."""
        return self._policy.pfa + float(1.0 / (1.0 + 10.0**-prior_log10_odds))

    def _take_outcome(self, row: Row) -> None:
        """The first record of a vehicle counts. That it was searched may depend on its score, not on what is in it."""
        outcome = row.document().get("outcome")
        if (
            not isinstance(outcome, Mapping)
            or not outcome.get("searched")
            or not isinstance(outcome.get("found"), bool)
        ):
            return
        score = self._scores.pop(str(row.passage_id), None)
        if score is not None:
            self._finds.see(score, outcome["found"])

    def _document(self) -> dict[str, Any]:
        error = self._background.error()
        told = {"seen": error.seen, "state": "moved" if error.moved else "few" if error.bias_db is None else "steady"}
        figures = {"bias_db": error.bias_db, "sigma_db": error.sigma_db, "moved_db": error.moved_db}
        rounded = {name: None if value is None else round(value, 2) for name, value in figures.items()}
        return {"background": told | rounded, "prompts": _bets(self._prompts), "finds": _bets(self._finds)}


def _bets(bets: Bets) -> dict[str, Any]:
    return {
        "seen": bets.seen,
        "happened": bets.happened,
        "expected": round(bets.expected, 2),
        "e_value": round(bets.highest, 2),
        "times": bets.times if bets.moved else None,
        "state": "moved" if bets.moved else "few" if bets.seen < FEWEST else "steady",
    }


def _moved(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What has moved, in a line each."""
    background, found = told["background"], []
    if background["state"] == "moved":
        words = f"vehicles shake {background['moved_db']:+.1f} dB against the first ones: look at sensors and ground"
        found.append(("background", words))
    for name, words in (("prompts", "searches are prompted"), ("finds", "searches find")):
        bets = told[name]
        if bets["state"] == "moved":
            rate = f"{bets['happened']} of {bets['seen']}, {bets['expected']:g} were expected"
            found.append((name, f"{words} otherwise than the model says: {rate} (e-value {bets['e_value']:.3g})"))
    return found
