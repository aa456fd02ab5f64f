"""A search elsewhere, as a program sees it that measures for it: ask, tell."""

import json
import logging
import math
import threading
import time
from types import TracebackType
from typing import Any, Iterator, Mapping, Optional, SupportsFloat, Type

from . import _wire as wire
from .errors import Error, SearchOver
from .security import PathLike, Security
from .session import PATIENCE, Backoff, Job, Session, TimeUp
from .trial import LONGEST_REASON, Trial, Use, metrics_of, said

log = logging.getLogger("srnas")

UNHEARD = 10.0
"""Where the search does not answer, a report waits for one that comes so many seconds later."""
MOST_UNHEARD = 4096
"""So many wait at most; later ones are left out."""
LARGEST_REPORTS = 1 << 20
"""Bytes of reports in one call; a larger report is left out."""
LARGEST_ANSWER = 4 << 20
"""Bytes of metrics that a search hears at most."""


def connect(
    learner: str,
    *,
    id: Optional[str] = None,
    patience: Optional[float] = PATIENCE,
    token_file: Optional[PathLike] = None,
    tls_ca: Optional[PathLike] = None,
    tls_cert: Optional[PathLike] = None,
    tls_key: Optional[PathLike] = None,
) -> "RemoteSearch":
    """Attaches to the search at an address such as `http://host:7778`, as an evaluator of the name `id` (by default the
    machine's name and the process number).

    It waits until the search answers, `patience` seconds at most (None: for ever); this holds for every later call as
    well. Raises `Refused`, `Unreachable`, `SearchOver`.
    """
    security = Security(token_file, tls_ca, tls_cert, tls_key)
    return RemoteSearch(Session(learner, security, id, patience))


class RemoteSearch:
    """A search to which this program is attached. Threads may share it; processes may not."""

    def __init__(self, session: Session) -> None:
        self._session = session
        try:
            attached = session.attach()
        except BaseException:
            session.close()
            raise
        self.id = session.id
        """The name of this evaluator."""
        self.metric = attached.metric
        """The metric without which an answer is infeasible; with several objectives the first of them."""
        self.metrics = (attached.metric, *attached.also)
        """All of those: further objectives, and what limits are on."""
        self.minimise = attached.minimise
        """Whether less of it is better."""
        self.seed = attached.seed
        """Seed of the search."""
        self.space = attached.space
        """The space: a name that srnas knows, or that of its file."""
        self.space_definition = attached.space_definition
        """What is in that file."""
        self.fidelities = attached.fidelities
        """How long it may ask to train, such as `epochs=3,27`, the last amount a full training; empty: full ones only."""
        self._hears_reports = attached.hears_reports
        self._held: "list[RemoteTrial]" = []
        self._lock = threading.Lock()
        self._taking = threading.Lock()
        self._closed = False
        heartbeat = max(attached.heartbeat_ms, 10) / 1000
        self._renewer = threading.Thread(target=self._renew, args=[heartbeat], name="srnas-renew", daemon=True)
        self._renewer.start()
        log.info("%s: attached to the search at %s for %s", self.id, session.learner, self.metric)

    def ask(self, timeout: Optional[float] = None) -> "Optional[RemoteTrial]":
        """The next architecture to measure; None if there is none within `timeout` seconds. Raises `SearchOver`."""
        until = None if timeout is None else time.monotonic() + timeout
        # One call at a time: the search gives again what it leased to this name and does not find among what is held,
        # such as what another thread's call is just bringing.
        if not self._taking.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
            return None
        try:
            while True:
                held = [trial._job() for trial in self._holds()]
                work = self._session.take(held, until)
                if work is not None:
                    trial = RemoteTrial(self, work)
                    with self._lock:
                        self._held.append(trial)
                    return trial
                if until is not None and time.monotonic() >= until:
                    return None
        except TimeUp:
            return None
        finally:
            self._taking.release()

    def __iter__(self) -> "Iterator[RemoteTrial]":
        """Architectures to measure, until the search is over."""
        while True:
            try:
                trial = self.ask()
            except SearchOver:
                return
            if trial is not None:
                yield trial

    def close(self) -> None:
        """Ends the connection. What was taken and not told goes to another evaluator when its lease runs out."""
        self._closed = True
        self._session.close()
        self._session.reattached.set()
        if threading.current_thread() is not self._renewer:
            self._renewer.join(timeout=1.0)

    def __enter__(self) -> "RemoteSearch":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def _holds(self) -> "list[RemoteTrial]":
        with self._lock:
            return list(self._held)

    def _release(self, trial: "RemoteTrial") -> None:
        trial.wanted = False
        with self._lock:
            if trial in self._held:
                self._held.remove(trial)

    def _answer(self, trial: "RemoteTrial", said: "dict[str, Any]") -> Use:
        try:
            use = Use(self._session.answer(trial._job(), said))
        except SearchOver:
            use = Use.NOT_NEEDED
        self._release(trial)
        return use

    def _report(self, trial: "RemoteTrial") -> bool:
        """Says what a trial has reported and the search has not heard. Whether it is to be stopped early."""
        points, size = [], 0
        for point in trial._unheard:
            size += point.ByteSize()
            if size > LARGEST_REPORTS:
                break
            points.append(point)
        try:
            wanted, stop = self._session.report(trial._job(), trial._begins, trial.again, points)
        except TimeUp:
            trial._quiet_until = time.monotonic() + UNHEARD
            return False
        except Error as error:
            # The training goes on; what it comes to is told, or not.
            if not isinstance(error, SearchOver):
                log.error("%s: its reports are not heard: %s", trial.notation, error)
            trial._quiet_until = math.inf
            return False
        trial._begins = False
        del trial._unheard[: len(points)]
        if not wanted and not trial._told:
            log.info("%s is not wanted any more", trial.notation)
            self._release(trial)
        return stop

    def _renew(self, heartbeat: float) -> None:
        """Renews all leases, every heartbeat and at once when a resumed search has to hear of them."""
        backoff, pause, wake = Backoff(), heartbeat, self._session.reattached
        while not self._closed:
            wake.wait(pause)
            wake.clear()
            try:
                for trial in self._holds():
                    if self._session.renew(trial._job()):
                        continue
                    # Or it is just being answered.
                    if not trial._told:
                        log.info("%s is not wanted any more", trial.notation)
                    self._release(trial)
                backoff, pause = Backoff(), heartbeat
            except TimeUp:
                pause = min(backoff.next(), heartbeat)
            except Error as error:
                if not self._closed and not isinstance(error, SearchOver):
                    log.error("leases cannot be renewed: %s", error)
                for trial in self._holds():
                    self._release(trial)
                return


class RemoteTrial(Trial):
    """One architecture to measure. Its lease is renewed in the background until it is told or not wanted any more."""

    def __init__(self, search: RemoteSearch, work: Any) -> None:
        self.search = search
        self.architecture = json.loads(work.architecture)
        self.notation = work.notation
        self.choices = tuple(work.choices)
        self.fidelity = work.fidelity
        self.amount = work.amount or work.fidelity
        self.again = work.again
        self.wanted = True
        self._told = False
        # What was reported and not heard yet, whether that is the first, and until when nobody is asked to hear it.
        self._unheard: "list[Any]" = []
        self._begins = True
        self._quiet_until = 0.0

    def tell(self, measured: object = None, /, **metrics: SupportsFloat) -> Use:
        values = metrics_of(said(measured, metrics), self.search.metrics)
        for name in self.search.metrics:
            if not math.isfinite(values[name]):
                return self.infeasible(f"its metric `{name}` is {values[name]}")
        for metric in [metric for metric, value in values.items() if not math.isfinite(value)]:
            log.warning("%s: its metric `%s` is %s, and is left out", self.notation, metric, values.pop(metric))
        answer = wire.Metrics(values=values)
        if answer.ByteSize() > LARGEST_ANSWER:
            size = f"its {len(values)} metrics take {answer.ByteSize()} bytes"
            return self.infeasible(f"{size}, and the search hears {LARGEST_ANSWER} at most")
        return self._say({"metrics": answer}, values)

    def infeasible(self, reason: str) -> Use:
        # What the wire cannot carry (a lone surrogate of a file's name) must not keep an answer from being given.
        reason = reason[:LONGEST_REASON].encode(errors="replace").decode()
        return self._say({"infeasible": reason}, f"infeasible: {reason}")

    def _say(self, answer: "Mapping[str, Any]", shown: object) -> Use:
        if self._told:
            raise ValueError(f"{self.notation} was told before")
        # What did not go into one call goes into the next, as long as that is heard.
        self._quiet_until = 0.0
        while self._unheard and time.monotonic() >= self._quiet_until:
            self.search._report(self)
        self._told = True
        try:
            use: Use = self.search._answer(self, dict(answer))
        except BaseException:
            # It may be said again.
            self._told = False
            raise
        log.info("%s · %s · %s", self.notation, shown, use.name.lower().replace("_", " "))
        return use

    def _reported(self, at: float, values: "dict[str, float]") -> bool:
        if not (self.search._hears_reports and self.wanted):
            return False
        point = wire.Point(at=at, values=values)
        if len(self._unheard) < MOST_UNHEARD and point.ByteSize() <= LARGEST_REPORTS:
            self._unheard.append(point)
        heard = bool(self._unheard) and time.monotonic() >= self._quiet_until
        return heard and self.search._report(self)

    def _job(self) -> Job:
        return bytes(self.choices), self.fidelity
