"""A function that measures architectures, made a program that works for a search."""

import functools
import logging
import queue
import threading
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Generic,
    List,
    Mapping,
    Optional,
    Sequence,
    SupportsFloat,
    TypeVar,
    Union,
)

from .errors import Infeasible, SearchOver, StoppedEarly
from .calling import trial_as
from .remote import RemoteSearch, connect
from .security import PathLike
from .session import PATIENCE
from .trial import Trial, Use, metrics_of

log = logging.getLogger("srnas")

Measured = Union[Mapping[str, SupportsFloat], SupportsFloat]
"""What an evaluator returns: metrics by name, or the one that is searched."""
F = TypeVar("F", bound=Callable[..., Any])


class Evaluator(Generic[F]):
    """A function that measures an architecture; still a function, that can also `run` for a search."""

    def __init__(self, function: F) -> None:
        self._function = function
        self._trial_as = trial_as(function)
        functools.update_wrapper(self, function)

    if TYPE_CHECKING:
        __call__: F
    else:

        def __call__(self, *args, **kwargs):
            return self._function(*args, **kwargs)

    def __reduce__(self) -> str:
        # As functions are: by name, so that pools of processes can be given it.
        return self._function.__qualname__

    def run(
        self,
        learner: str,
        *,
        id: Optional[str] = None,
        parallel: int = 1,
        patience: Optional[float] = PATIENCE,
        token_file: Optional[PathLike] = None,
        tls_ca: Optional[PathLike] = None,
        tls_cert: Optional[PathLike] = None,
        tls_key: Optional[PathLike] = None,
    ) -> int:
        """Measures for the search at `learner`, `parallel` at a time (in threads), until it is over or the keyboard
        interrupts. Returns how many answers counted. Raises `Refused` and `Unreachable`."""
        if parallel < 1:
            raise ValueError(f"parallel={parallel}: at least one at a time")
        security = {"token_file": token_file, "tls_ca": tls_ca, "tls_cert": tls_cert, "tls_key": tls_key}
        uses: List[Use] = []
        try:
            with connect(learner, id=id, patience=patience, **security) as search:
                self._work(search, parallel, uses)
        except SearchOver:
            log.info("the search is over")
        except KeyboardInterrupt:
            log.info("interrupted; what was begun goes to another evaluator")
        counted = sum(use in (Use.COUNTED, Use.COUNTED_LATE) for use in uses)
        log.info("%d measurements counted", counted)
        return counted

    def main(self, arguments: Optional[Sequence[str]] = None) -> None:
        """`run` with options from the command line, log lines on stderr, and exit code 1 where that fails."""
        from .command_line import main

        main(self, arguments)

    def _work(self, search: RemoteSearch, parallel: int, uses: List[Use]) -> None:
        if parallel == 1:
            # In this very thread, which may be the only one where signals and some libraries work.
            self._slot(search, uses)
            return
        ends: "queue.Queue[Optional[BaseException]]" = queue.Queue()

        def slot() -> None:
            try:
                self._slot(search, uses)
                ends.put(None)
            except BaseException as error:
                ends.put(error)

        for number in range(parallel):
            # Daemons: a training that hangs does not keep a program from ending.
            threading.Thread(target=slot, name=f"srnas-{number}", daemon=True).start()
        for _ in range(parallel):
            error = ends.get()
            if error is not None:
                raise error

    def _slot(self, search: RemoteSearch, uses: List[Use]) -> None:
        for trial in search:
            use = self._measure(trial)
            if use is not None:
                uses.append(use)

    def _measure(self, trial: Trial) -> Optional[Use]:
        """Measures and answers. Of a trial that is not wanted any more only metrics are said: what else its function
        did, it may have done because it broke off."""
        try:
            positional, named = self._trial_as(trial)
            measured = self._function(trial.architecture, *positional, **named)
            metrics = metrics_of(measured, trial.search.metrics)
        except StoppedEarly as stopped:
            return trial.tell(stopped.metrics)
        except Infeasible as error:
            reason = str(error) or "infeasible"
        except Exception as error:
            if trial.wanted:
                log.exception("%s: the evaluator failed", trial.notation)
            reason = f"{type(error).__name__}: {error}"
        else:
            return trial.tell(**metrics)
        if trial.wanted:
            return trial.infeasible(reason)
        log.info("%s dropped: it is not wanted any more", trial.notation)
        return None


def evaluator(function: F) -> Evaluator[F]:
    """Makes a function of an architecture (and, if it likes, of its trial) an evaluator.

    It returns metrics by name, or the number that is searched. Where it raises, or that number is not finite, the
    architecture is infeasible.
    """
    return Evaluator(function)
