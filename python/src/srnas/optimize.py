"""A function measures for a search in this process: one at a time, in threads, or by an executor."""

import logging
import queue
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional

from .calling import trial_as
from .errors import Error, Infeasible, InputError, SearchOver, StoppedEarly
from .trial import Use

if TYPE_CHECKING:
    from .search import LocalTrial, Search

log = logging.getLogger("srnas")

PULSE = 0.2
"""Whoever waits hears the keyboard this often, in seconds."""
PATIENCE = 2.0
"""And says after so long for what."""
BUG = 3
"""So many failures, and nothing else: the function does not work."""


@dataclass(frozen=True)
class Slots:
    """How many measure at a time, and where."""

    parallel: int
    executor: Optional[Executor]


class Waits:
    """Says once for what a search waits that this call does not measure."""

    def __init__(self) -> None:
        self._since, self._said = time.monotonic(), False

    def say(self, search: "Search", idle: bool) -> None:
        """Nothing can be asked for now; whether nothing of this call is under way."""
        if not idle:
            self._since = time.monotonic()
        elif not self._said and time.monotonic() - self._since > PATIENCE:
            self._said = True
            log.warning("waits for %d trials that were asked for elsewhere: tell them, or give them up", search.running)


class Tally:
    """What became of the measurements of a call: whether it goes on."""

    def __init__(self, search: "Search", max_failures: Optional[int]) -> None:
        self._max = max_failures
        self._lock = threading.Lock()
        self._without_value, self._raised = 0, 0
        self._has_value = search.best is not None

    def told(self, error: Optional[Exception], reason: Optional[str]) -> None:
        """A measurement ended, with an exception that nobody meant, or for another reason without a value, or with one."""
        with self._lock:
            if error is None and reason is None:
                self._has_value = True
                return
            self._without_value += 1
            self._raised += error is not None
            if error is not None and not self._has_value and self._raised == self._without_value == BUG:
                raise error
            if self._max is not None and self._without_value >= self._max:
                raise Error(
                    f"{self._without_value} measurements have no value, and no more are allowed (max_failures); the last: {reason}"
                )


def optimize(search: "Search", function: "Callable[..., Any]", slots: Slots, max_failures: Optional[int]) -> None:
    """Measures until the search is over."""
    if not callable(function):
        raise InputError(f"optimize measures by a function, not by {function!r}")
    tally = Tally(search, max_failures)
    if slots.executor is not None:
        _executed(search, function, slots, tally)
    elif slots.parallel == 1:
        # In this very thread, which may be the only one where signals and some libraries work.
        _slot(search, function, tally, threading.Event(), {})
    else:
        _threads(search, function, slots.parallel, tally)


def _slot(
    search: "Search",
    function: "Callable[..., Any]",
    tally: Tally,
    stop: threading.Event,
    under_way: "Dict[int, LocalTrial]",
) -> None:
    """Asks, measures and tells until there is nothing more to begin. `under_way` has what is measured now."""
    takes_trial, me, waits = trial_as(function), threading.get_ident(), Waits()
    while not stop.is_set():
        try:
            trial = search.ask(timeout=PULSE)
        except SearchOver as over:
            log.info("the search ends: %s", over)
            return
        if trial is None:
            waits.say(search, not under_way)
            continue
        under_way[me] = trial
        if stop.is_set():
            trial.give_up(take_up=True)
            return
        try:
            positional, named = takes_trial(trial)
            measured = function(trial.architecture, *positional, **named)
        except StoppedEarly as stopped:
            under_way.pop(me, None)
            _measured(trial, stopped.metrics, tally)
        except Exception as error:
            under_way.pop(me, None)
            _failed(trial, error, tally)
        except BaseException:
            # It is interrupted: it is taken up first when the search goes on.
            trial.give_up(take_up=True)
            raise
        else:
            under_way.pop(me, None)
            _measured(trial, measured, tally)


def _measured(trial: "LocalTrial", measured: Any, tally: Tally) -> None:
    if not trial.wanted:
        return
    try:
        _, reason = trial.search._values(measured)
    except (TypeError, ValueError) as error:
        _failed(trial, error, tally)
        return
    use = trial.tell(measured) if reason is None else trial.infeasible(reason)
    if use is Use.COUNTED:
        tally.told(None, reason or trial.reason)


def _failed(trial: "LocalTrial", error: Exception, tally: Tally) -> None:
    """An exception is an infeasible answer."""
    if not trial.wanted:
        log.info("%s dropped: it is not wanted any more", trial.notation)
        return
    if isinstance(error, Infeasible):
        reason = str(error) or "infeasible"
    else:
        log.warning("%s: the function failed", trial.notation, exc_info=error)
        reason = f"{type(error).__name__}: {error}"
    if trial.infeasible(reason) is Use.COUNTED:
        tally.told(None if isinstance(error, Infeasible) else error, reason)


def _threads(search: "Search", function: "Callable[..., Any]", parallel: int, tally: Tally) -> None:
    ends: "queue.Queue[Optional[BaseException]]" = queue.Queue()
    stop, under_way = threading.Event(), {}  # type: ignore[var-annotated]

    def slot() -> None:
        try:
            _slot(search, function, tally, stop, under_way)
            ends.put(None)
        except BaseException as error:
            ends.put(error)

    for number in range(parallel):
        # Daemons: a training that hangs does not keep a program from ending.
        threading.Thread(target=slot, name=f"srnas-{number}", daemon=True).start()
    try:
        left = parallel
        while left > 0:
            try:
                error = ends.get(timeout=PULSE)
            except queue.Empty:
                continue
            left -= 1
            if error is not None:
                raise error
    except BaseException:
        stop.set()
        # What is measured goes on in its thread, and nobody waits for it.
        for trial in list(under_way.values()):
            trial.give_up(take_up=True)
        raise


def _executed(search: "Search", function: "Callable[..., Any]", slots: Slots, tally: Tally) -> None:
    """The function is called wherever the executor has it; this thread asks and tells."""
    assert slots.executor is not None
    under_way: "Dict[Future[Any], LocalTrial]" = {}
    over, waits = False, Waits()
    try:
        while not over or under_way:
            while not over and len(under_way) < slots.parallel:
                try:
                    trial = search.ask()
                except SearchOver as reason:
                    log.info("the search ends: %s", reason)
                    over = True
                    break
                if trial is None:
                    break
                try:
                    under_way[slots.executor.submit(_call, function, trial)] = trial
                except BaseException:
                    trial.give_up(take_up=True)
                    raise
            if not under_way:
                waits.say(search, not over)
                time.sleep(0 if over else PULSE)
                continue
            done, _ = wait(under_way, timeout=PULSE, return_when=FIRST_COMPLETED)
            for future in done:
                trial = under_way.pop(future)
                _answered(future, trial, tally)
            # Something may be wanted again that was not before.
            over = over and not done
    except BaseException:
        for future, trial in under_way.items():
            future.cancel()
            trial.give_up(take_up=True)
        raise


def _answered(future: "Future[Any]", trial: "LocalTrial", tally: Tally) -> None:
    from concurrent.futures import BrokenExecutor

    try:
        measured = future.result()
    except BrokenExecutor:
        # Nothing can be measured any more, and this says nothing of the architecture.
        trial.give_up(take_up=True)
        raise
    except StoppedEarly as stopped:
        _measured(trial, stopped.metrics, tally)
    except Exception as error:
        _failed(trial, error, tally)
    else:
        _measured(trial, measured, tally)


def _call(function: "Callable[..., Any]", trial: "LocalTrial") -> Any:
    positional, named = trial_as(function)(trial)
    return function(trial.architecture, *positional, **named)
