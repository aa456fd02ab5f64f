"""The calls to a search, each repeated until it is answered."""

import itertools
import logging
import os
import random
import secrets
import socket
import threading
import time
from importlib.metadata import version
from typing import Any, Callable, Optional, Sequence, Tuple, TypeVar

import grpc

from . import _wire as wire
from .encounter import USUAL, misdirected
from .errors import Error, Refused, SearchOver, Unreachable
from .security import Security

log = logging.getLogger("srnas")

PROTOCOL = (1, 3)
CALL = 10.0
"""Deadline of a call, in seconds, beyond what the search may let it wait."""
REPORT = 1.0
"""Deadline of a report, for which the training waits."""
WAIT = 20.0
"""How long the search may let a call for work wait."""
PATIENCE = 3600.0
"""Whoever hears nothing from the search for so long gives up, unless told otherwise."""
REMIND = 10.0
"""Whoever waits for a search that does not answer says so this often."""

_REFUSALS = (
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
)
Job = Tuple[bytes, float]
"""What names a training: the choices of its architecture, and its fidelity."""
_connections = itertools.count()
_T = TypeVar("_T")


class TimeUp(Exception):
    """A call was not answered by the time that its caller set."""


class Backoff:
    """Pauses between attempts, 0.2 s to 5 s, jittered: many do not come back to a restarted search all at once."""

    def __init__(self) -> None:
        self.failures = 0

    def next(self) -> float:
        """The next pause."""
        longest: float = min(0.2 * 2 ** min(self.failures, 10), 5.0)
        self.failures += 1
        return longest * random.uniform(0.5, 1.0)


class Session:
    """One evaluator, under one name and incarnation, and what it says to one search. Threads may share it."""

    def __init__(self, learner: str, security: Security, id: Optional[str], patience: Optional[float]) -> None:
        # A second connection of this process must not pass for the first one, restarted.
        number = next(_connections)
        self.id = id or f"{socket.gethostname()}-{os.getpid()}" + (f"-{number}" if number else "")
        self.learner = learner
        self.reattached = threading.Event()
        self._identity = wire.Evaluator(id=self.id, incarnation=secrets.randbits(64) or 1)
        self._search_id = ""
        self._patience = patience
        self._metadata = security.metadata()
        self._channel = security.channel(learner)
        self._stub = wire.Stub(self._channel)
        self._ended = threading.Event()
        self._over = False
        self._silent_since: Optional[float] = None
        self._reminded = -REMIND

    def attach(self, until: Optional[float] = None) -> Any:
        """Introduces the evaluator; the search says what it searches for."""
        request = wire.AttachRequest(
            protocol_major=PROTOCOL[0],
            protocol_minor=PROTOCOL[1],
            software=f"srnas-python {version('srnas')}",
            evaluator=self._identity,
        )
        search = self._repeat(lambda: self._ask(self._stub.Attach, request, CALL), until)
        if self._search_id not in ("", search.search_id):
            raise Refused(f"another search listens at {self.learner} now: start the evaluator again to work for it")
        self._search_id = search.search_id
        return search

    def take(self, held: Sequence[Job], until: Optional[float]) -> Optional[Any]:
        """Work, or None where the search has none yet."""
        choices, fidelities = [job[0] for job in held], [job[1] for job in held]
        wait, grace = WAIT, CALL
        if until is not None:
            wait, grace = min(WAIT, max(0.0, until - time.monotonic())), 2.0
        response = self._call(
            self._stub.Take,
            lambda: wire.TakeRequest(
                **self._who(), wait_ms=int(wait * 1000), held=choices, held_fidelities=fidelities
            ),
            wait + grace,
            until,
        )
        return response.work if response.HasField("work") else None

    def renew(self, job: Job) -> bool:
        """Keeps a lease, in a single attempt; whether it is still wanted."""
        request = lambda: wire.RenewRequest(**self._who(), choices=job[0], fidelity=job[1])  # noqa: E731
        response = self._call(self._stub.Renew, request, CALL, time.monotonic())
        return bool(response.wanted)

    def report(self, job: Job, begins: bool, may_go_on: bool, points: "Sequence[Any]") -> Tuple[bool, bool]:
        """Says what a training has reported, in a single attempt; whether it is still wanted, and whether it is to be stopped early."""
        request = lambda: wire.ReportRequest(  # noqa: E731
            **self._who(), choices=job[0], fidelity=job[1], begins=begins, may_go_on=may_go_on, points=points
        )
        response = self._call(self._stub.Report, request, REPORT, time.monotonic())
        return bool(response.wanted), bool(response.stop)

    def answer(self, job: Job, said: "dict[str, Any]") -> int:
        """Says what was measured, until the search has it in its ledger; what became of it."""
        request = lambda: wire.AnswerRequest(  # noqa: E731
            **self._who(), choices=job[0], fidelity=job[1], **said
        )
        response = self._call(self._stub.Answer, request, 2 * CALL, None)
        return int(response.use)

    def close(self) -> None:
        """Ends all calls, those that wait included."""
        self._ended.set()
        self._channel.close()

    def _who(self) -> "dict[str, Any]":
        return {"evaluator": self._identity, "search_id": self._search_id}

    def _call(self, method: Any, request: Callable[[], Any], deadline: float, until: Optional[float]) -> Any:
        """Asks, attaching again where the search has forgotten this evaluator: it was killed and resumed."""
        backoff = Backoff()
        while True:
            try:
                return self._repeat(lambda: self._ask(method, request(), deadline), until)
            except _Forgotten:
                self._ended.wait(backoff.next())
                self.attach(until)
                log.info("%s: attached again to the search at %s", self.id, self.learner)
                self.reattached.set()

    def _ask(self, method: Any, request: Any, deadline: float) -> Any:
        return method(request, timeout=deadline, metadata=self._metadata)

    def _repeat(self, ask: Callable[[], _T], until: Optional[float]) -> _T:
        backoff, began = Backoff(), time.monotonic()
        while True:
            self._check()
            try:
                answer = ask()
                self._heard()
                return answer
            except grpc.RpcError as error:
                self._check()
                reason = self._reason(error)
            except ValueError as error:
                # Closed by another thread between the check and the call.
                self._check()
                raise error
            self._remind(reason)
            now, pause = time.monotonic(), backoff.next()
            if until is not None and now + pause > until:
                raise TimeUp
            if self._patience is not None:
                # It gives up when the time is up, not before.
                if now - began >= self._patience:
                    raise Unreachable(f"no search answers at {self.learner} for {now - began:.0f} s: {reason}")
                pause = min(pause, began + self._patience - now)
            self._ended.wait(pause)

    def _check(self) -> None:
        if self._over:
            raise SearchOver("the search is over")
        if self._ended.is_set():
            raise Error("the connection to the search is closed")

    def _reason(self, error: Any) -> str:
        """Why an attempt failed, if another one may not."""
        code, details = error.code(), error.details() or ""
        if code is grpc.StatusCode.OUT_OF_RANGE:
            # Others must know: the search does not wait for all of them to ask.
            self._over = True
            self._ended.set()
            raise SearchOver(details)
        if code is grpc.StatusCode.NOT_FOUND:
            raise _Forgotten
        if code is grpc.StatusCode.UNIMPLEMENTED:
            who = "a web server" if "http2 header" in details else "who answers there asks no evaluators, as a learner"
            raise Refused(f"no search at {self.learner}: {who}; {USUAL}")
        if code in _REFUSALS or "CERTIFICATE_VERIFY_FAILED" in details:
            raise Refused(details or code.name)
        return f"{code.name}: {details}"

    def _remind(self, reason: str) -> None:
        now = time.monotonic()
        self._silent_since = self._silent_since or now
        if now - self._reminded >= REMIND:
            self._reminded = now
            log.warning("waiting for a search at %s: %s", self.learner, reason)
            other = misdirected(self.learner)
            if other is not None:
                raise Refused(f"no search at {self.learner}: {other}")

    def _heard(self) -> None:
        if self._silent_since is not None:
            log.info("the search at %s answers again", self.learner)
            self._silent_since = None


class _Forgotten(Exception):
    """The search does not know this evaluator any more."""
