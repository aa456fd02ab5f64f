"""A search in this process: asked what to measure, told what came of it."""

import json
import logging
import math
import os
import threading
import time
from concurrent.futures import Executor
from types import TracebackType
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple, Type, Union

from . import _native, show
from .errors import InputError, SearchOver
from .measurement import Measurement
from .optimize import Slots, optimize
from .space import Space, Spaced
from .trial import LONGEST_REASON, Trial, Use, metrics_of, said

log = logging.getLogger("srnas")

Names = Union[str, Iterable[str]]
Paths = Union[str, "os.PathLike[str]", Iterable["str | os.PathLike[str]"]]


class Search:
    """A search for the architectures of `space` that are best in what is to be minimised or maximised.

    What was measured is kept in `ledger`, a file, before it counts: made again with it, the search goes on, also after a kill. What
    was asked for and not told is asked for again first. Without a ledger nothing outlives the process.

    Threads may share it; what is measured meanwhile is told from whichever thread, in whatever order.
    """

    def __init__(
        self,
        space: Spaced,
        *,
        minimise: Names = (),
        maximise: Names = (),
        require: Names = (),
        ledger: "str | os.PathLike[str] | None" = None,
        method: Optional[str] = None,
        fidelity: Optional[str] = None,
        seed: int = 1,
        budget: Optional[int] = None,
        start: Iterable[Union[str, Mapping[str, Any]]] = (),
        past: Paths = (),
        policy: "str | os.PathLike[str] | None" = None,
        stop_early: Optional[str] = None,
    ) -> None:
        """`minimise`, `maximise`: a metric, or several; `require`: limits such as `"latency_ms <= 12"`; `method`: one of those of
        `srnas compare`, with its options, such as `"evolution:population=20"`, else the predictor; `fidelity`: shorter trainings that
        may be asked for, such as `"epochs=3,27"`; `budget`: full trainings in all, after which `ask` raises `SearchOver`; `start`:
        architectures to be measured first; `past`: ledgers, or run directories, of earlier searches on the space, which guide this
        one; `policy`: a trained policy that does; `stop_early`: stop a training whose best report so far is worse than the median of
        the others' means up to the same place, `"median"` or `"median:after=3,of=5"` (`Trial.report`)."""
        self.space = Space.of(space)
        """The space."""
        self.seed = _whole("seed", seed, 0)
        """Seed of everything random. With one measurement at a time it determines the whole search."""
        self._budget = None if budget is None else _whole("budget", budget, 1)
        objectives = [(name, True) for name in _names("minimise", minimise)]
        objectives += [(name, False) for name in _names("maximise", maximise)]
        if self.space.notice:
            log.info("%s: %s", self.space.name, self.space.notice)
        self._native = _native.Search(
            self.space._native,
            objectives,
            _names("require", require),
            method=method,
            fidelity=fidelity,
            seed=self.seed,
            budget=self._budget,
            ledger=None if ledger is None else os.fspath(ledger),
            past=_paths(past),
            policy=None if policy is None else os.fspath(policy),
            stop_early=stop_early,
        )
        self.objectives: "Tuple[Tuple[str, bool], ...]" = tuple(objectives)
        """Each metric that is searched, and whether less of it is better."""
        self.metrics: "Tuple[str, ...]" = tuple(self._native.metrics)
        """Every metric that an answer must have."""
        self.metric: str = objectives[0][0]
        """The first objective."""
        self.minimise: bool = objectives[0][1]
        """Whether less of it is better."""
        self.fidelities: str = self._native.fidelities
        """How long it may ask to train, such as `epochs=3,27`, the last amount a full training; empty: full ones only."""
        self._changed = threading.Condition()
        try:
            self._native.want([self._asked(architecture) for architecture in start])
        except BaseException:
            self.close()
            raise

    # --- Ask and tell ---

    def ask(self, timeout: float = 0.0) -> "Optional[LocalTrial]":
        """What to measure next. None where that is not known before something that is measured now is told, within `timeout`
        seconds. Raises `SearchOver`."""
        until = time.monotonic() + timeout
        while True:
            # Before it is asked: what is told in between is not slept over.
            with self._changed:
                asked = self._native.ask()
                left = until - time.monotonic()
                if asked is None and left > 0:
                    self._changed.wait(min(left, 0.5))
                    continue
            if asked is None:
                return None
            return LocalTrial(self, asked)

    def __iter__(self) -> "Iterator[LocalTrial]":
        """Architectures to measure, one after the other, until the search is over."""
        while True:
            try:
                trial = self.ask(timeout=math.inf)
            except SearchOver:
                return
            if trial is not None:
                yield trial

    def tell(
        self,
        architecture: "Trial | str | Mapping[str, Any]",
        measured: object = None,
        /,
        *,
        trained: Optional[float] = None,
        infeasible: Optional[str] = None,
        **metrics: Any,
    ) -> Use:
        """Says what was measured of a trial, or of an architecture: by its decisions, or in the space's notation, and with shorter
        trainings how long it was `trained`. What was not asked for was measured elsewhere: it informs the search and is not counted
        in its budget. `infeasible` says why there is no value, and so does a metric that is None or not finite."""
        if isinstance(architecture, LocalTrial):
            trial = architecture
            return trial.tell(measured, **metrics) if infeasible is None else trial.infeasible(infeasible)
        asked = self._asked(architecture, trained)
        values, reason = self._values(said(measured, metrics)) if infeasible is None else ({}, infeasible)
        if reason is None:
            counted, _ = self._native.tell(asked, values)
        else:
            counted = self._native.infeasible(asked, reason)
        counted = counted or self._native.add(asked, values, reason)
        self._note()
        return Use.COUNTED if counted else Use.NOT_NEEDED

    def optimize(
        self,
        function: "Callable[..., Any]",
        budget: Optional[int] = None,
        *,
        parallel: int = 1,
        executor: Optional[Executor] = None,
        time_limit: Optional[float] = None,
        stop_when: Names = (),
        no_gain: Optional[int] = None,
        max_failures: Optional[int] = None,
    ) -> Optional[Measurement]:
        """Measures by a function of an architecture (and, if it likes, of its `trial`) until `budget` full trainings are paid for in
        all, earlier calls and processes included. Returns the best.

        The function returns metrics by name, or the number that is searched. Where it raises `Infeasible` or anything else, or that
        number is None or not finite, the architecture is infeasible; where the first three raise something else than `Infeasible`,
        so does this: it is a bug, most likely.

        `parallel` measurements are made at a time, in threads; in processes, or elsewhere, with an `executor` such as
        `concurrent.futures.ProcessPoolExecutor(4)`. It ends before its budget `time_limit` seconds after the call, when a full
        training keeps the limits of `stop_when` (`"loss <= 0.01"`), when `no_gain` full trainings have brought nothing, and raises
        `Error` when `max_failures` measurements of this call have no value. After Ctrl-C what is measured is given up, and is asked
        for first when it goes on."""
        budget = self._budget if budget is None else _whole("budget", budget, 1)
        reached = _names("stop_when", stop_when)
        if no_gain is not None:
            _whole("no_gain", no_gain, 1)
        if budget is None and time_limit is None and no_gain is None and not reached:
            raise InputError("say when it ends: optimize(f, budget=50), or time_limit=, stop_when=, no_gain=")
        slots = Slots(_whole("parallel", parallel, 1), executor)
        self._native.set_ends(time_limit, reached, no_gain)
        self._native.set_budget(budget)
        try:
            optimize(self, function, slots, max_failures)
            return self.best
        finally:
            # Whoever asks afterwards is bounded by nothing that was said of this call.
            self._native.set_ends()
            self._native.set_budget(self._budget)

    def retry(self, reason: str = "") -> int:
        """Has what has no value measured again, where its reason contains this text; it gives back what that cost. Returns how many
        these are."""
        count = self._native.retry(reason)
        self._note()
        return count

    def close(self) -> None:
        """Lets go of the ledger. What was asked for and not told is asked for again by whoever goes on."""
        self._native.close()
        self._note()

    def __enter__(self) -> "Search":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    # --- What was found ---

    @property
    def measurements(self) -> "List[Measurement]":
        """Every measurement, in the order in which they ended."""
        return [Measurement._of(number, row) for number, row in enumerate(self._report(curves=True)["rows"], 1)]

    @property
    def best(self) -> Optional[Measurement]:
        """The best full training in the first objective that keeps every limit, if there is one."""
        report = self._report()
        best = report["best_row"]
        return None if best is None else Measurement._of(best + 1, report["rows"][best])

    @property
    def front(self) -> "List[Measurement]":
        """The full trainings within the limits that no other is better than in every objective."""
        report = self._report()
        if len(self.objectives) == 1:
            best = self.best
            return [] if best is None else [best]
        found = {point["architecture"] for point in report["summary"].get("front") or []}
        return [m for m in self.measurements if m.full and m.counts and m.notation in found]

    @property
    def spent(self) -> float:
        """What was paid for, in full trainings."""
        return self._native.counts()[1]

    @property
    def running(self) -> int:
        """How many were asked for and not told."""
        return self._native.counts()[2]

    def importance(self) -> "Dict[str, float]":
        """How much of what is predicted over the space each decision explains by itself, the most first; for the first objective."""
        return dict(self._native.importance())

    def __len__(self) -> int:
        """How many were measured here."""
        return self._native.counts()[0]

    def __bool__(self) -> bool:
        return True

    def to_pandas(self) -> Any:
        """Every measurement as a `pandas.DataFrame`: a column for each decision, metric and what else is known of it."""
        return show.to_pandas(self)

    def plot(self, ax: Any = None) -> Any:
        """What was found over what it cost, or with several objectives the front of the first two, on axes of matplotlib."""
        return show.plot(self, ax)

    def __repr__(self) -> str:
        return show.line(self)

    def _repr_html_(self) -> str:
        return show.html(self)

    # --- Within the package ---

    def _report(self, curves: bool = False) -> "Dict[str, Any]":
        report: "Dict[str, Any]" = json.loads(self._native.report(curves))
        return report

    def _asked(self, architecture: "Trial | str | Mapping[str, Any]", amount: Optional[float] = None) -> "_native.Asked":
        if isinstance(architecture, Trial):
            raise InputError(f"{architecture.notation} is a trial of another search")
        if isinstance(architecture, Mapping):
            architecture = json.dumps({str(name): _plain(value) for name, value in architecture.items()})
        if not isinstance(architecture, str):
            raise InputError(f"an architecture is a dict of its decisions or its notation, not {architecture!r}")
        return self._native.parse(architecture, amount)

    def _values(self, measured: object) -> "Tuple[Dict[str, float], Optional[str]]":
        """What was measured as numbers, or why the search has no value of it."""
        named = dict(measured) if isinstance(measured, Mapping) else {self.metric: measured}
        for metric in self.metrics:
            if metric in named and named[metric] is None:
                return {}, f"its metric `{metric}` is None"
        return metrics_of({name: v for name, v in named.items() if v is not None} or measured, self.metrics), None

    def _note(self) -> None:
        """Whoever waits for a change looks again."""
        with self._changed:
            self._changed.notify_all()


class LocalTrial(Trial):
    """One architecture to measure. Pickled it goes without its search, to be measured elsewhere: there it cannot be told."""

    def __init__(self, search: Search, asked: "_native.Asked") -> None:
        self.search = search
        self.architecture = json.loads(asked.architecture)
        self.notation = asked.notation
        self.choices = tuple(asked.choices)
        self.fidelity = asked.fidelity
        self.amount = asked.amount
        self.again = asked.again
        self.wanted = True
        self.reason: Optional[str] = None
        """Why it has no value, once that was told."""
        self._asked = asked

    def tell(self, measured: object = None, /, **metrics: Any) -> Use:
        search = self._of_a_search()
        values, reason = search._values(said(measured, metrics))
        if reason is not None:
            return self.infeasible(reason)
        needed, reason = self._once(lambda: search._native.tell(self._asked, values))
        self.reason = reason
        shown = values if reason is None else f"infeasible: {reason}"
        return self._use(needed, shown)

    def infeasible(self, reason: str) -> Use:
        search = self._of_a_search()
        reason = str(reason)[:LONGEST_REASON].encode(errors="replace").decode()
        needed = self._once(lambda: search._native.infeasible(self._asked, reason))
        self.reason = reason
        return self._use(needed, f"infeasible: {reason}")

    def _reported(self, at: float, values: "Dict[str, float]") -> bool:
        search = self._of_a_search()
        return self.wanted and search._native.hear(self._asked, at, values)

    def give_up(self, *, take_up: bool = False) -> None:
        """Nobody measures it any more: it costs nothing. With `take_up` it is asked for again before anything else."""
        search = self._of_a_search()
        if self.wanted:
            self.wanted = False
            search._native.give_up(self._asked, take_up)
            search._note()

    def _of_a_search(self) -> Search:
        if self.search is None:
            raise InputError(f"{self.notation} is a copy in another process: return what was measured, to be told where it was asked")
        search: Search = self.search
        return search

    def _once(self, say: "Callable[[], Any]") -> Any:
        if not self.wanted:
            raise InputError(f"{self.notation} was told before, or given up")
        self.wanted = False
        try:
            return say()
        except BaseException:
            # It may be said again.
            self.wanted = True
            raise

    def _use(self, needed: bool, shown: object) -> Use:
        use = Use.COUNTED if needed else Use.NOT_NEEDED
        log.info("%s · %s · %s", self.notation, shown, use.name.lower().replace("_", " "))
        self.search._note()
        return use

    def __getstate__(self) -> "Dict[str, Any]":
        return {**self.__dict__, "search": None, "_asked": None}


def _names(what: str, given: Names) -> "List[str]":
    names = [given] if isinstance(given, str) else list(given)
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"{what}={given!r}: a text, or several")
    return names


def _paths(given: Paths) -> "List[str]":
    paths = [given] if isinstance(given, (str, os.PathLike)) else list(given)
    return [os.fspath(path) for path in paths]


def _whole(what: str, number: Any, least: int) -> int:
    if isinstance(number, bool) or not hasattr(number, "__index__") or not least <= number.__index__() < 1 << 64:
        raise InputError(f"{what}={number!r}: a whole number, at least {least}")
    whole: int = number.__index__()
    return whole


def _plain(value: Any) -> Any:
    """A number of numpy as one of Python."""
    return value.item() if hasattr(value, "item") else value
