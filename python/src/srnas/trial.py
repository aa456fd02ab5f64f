"""A trial: one architecture that a search wants measured."""

import enum
import math
from typing import Any, Mapping, Sequence, SupportsFloat, Tuple

from .errors import StoppedEarly

LONGEST_REASON = 2000
"""A search keeps no more of a reason, in characters."""


STOPPED_AT = "stopped_at"
"""By this name an answer says how far a training was when it was stopped early."""


class Use(enum.IntEnum):
    """What became of an answer."""

    UNKNOWN = 0
    """Something that this version of the package has no word for."""
    COUNTED = 1
    """It is in the ledger."""
    COUNTED_LATE = 2
    """It is in the ledger, although the search had given this evaluator up."""
    NOT_NEEDED = 3
    """Somebody else has answered before, or the search is over."""
    TRIED_AGAIN = 4
    """It was infeasible, and is tried again."""

    @classmethod
    def _missing_(cls, value: object) -> "Use":
        return cls.UNKNOWN


class Trial:
    """One architecture to measure, for a search in this process or one elsewhere."""

    search: Any
    """The search that asks."""
    architecture: "dict[str, Any]"
    """The decisions that count, by name."""
    notation: str
    """The same in the space's notation."""
    choices: Tuple[int, ...]
    """The index of each decision's choice."""
    fidelity: float
    """How much of a full training is asked for; 1 is all of it."""
    amount: float
    """The same in the unit of the search's `fidelities`, such as 3 where they are `epochs=3,27`."""
    again: bool
    """Whether it was given out before."""
    wanted: bool
    """False as soon as the search does not need it any more: the training may be broken off."""

    _last: "dict[str, float]" = {}
    """The newest report that could stand for an answer."""

    def tell(self, measured: object = None, /, **metrics: SupportsFloat) -> Use:
        """Says what was measured: metrics by name, or the bare number that is searched. Returns when the search has it in its ledger.
        Where a metric that is searched is not finite, the architecture is infeasible. `resumed_from=3` besides says that the
        training went on from where one of amount 3 had ended: only the rest is paid for."""
        raise NotImplementedError

    def infeasible(self, reason: str) -> Use:
        """Says that it cannot be measured, and why: that is an answer too."""
        raise NotImplementedError

    def report(self, at: SupportsFloat, measured: object = None, /, **metrics: SupportsFloat) -> None:
        """Says how far the training is (its epoch, step, or whatever the amount of training is counted in) and what was measured
        there: `report(epoch, loss=0.4)`, or the bare number that is searched. The search keeps a curve of it; nobody hears a trial
        that an executor took to another process. Where the search is to stop early what is surely worse than the others, this raises
        `StoppedEarly`: let it pass."""
        if self.search is None:
            return
        wanted, place = self.search.metrics, float(at)
        values = metrics_of(said(measured, metrics), wanted[:1])
        if not math.isfinite(place) or not math.isfinite(values[wanted[0]]):
            return
        if all(math.isfinite(values.get(metric, math.nan)) for metric in wanted):
            self._last = {**values, STOPPED_AT: place}
        if self._reported(place, values):
            raise StoppedEarly(f"{self.notation} was stopped early at {place:g}", self._last)

    def _reported(self, at: float, values: "dict[str, float]") -> bool:
        """Has the search hear it; whether it is to be stopped."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"Trial({self.notation})"


def said(measured: object, metrics: "Mapping[str, Any]") -> object:
    """What was measured, said as one thing or by name."""
    if measured is None:
        return metrics
    if metrics:
        raise TypeError("it takes metrics by name, or one thing that was measured, not both")
    return measured


def metrics_of(measured: object, wanted: "Sequence[str]") -> "dict[str, float]":
    """What was measured, as numbers by name: said so, or the bare number that is searched, where it is one."""
    if not isinstance(measured, Mapping):
        if isinstance(measured, (str, bytes)) or not hasattr(measured, "__float__"):
            kind = type(measured).__name__
            raise TypeError(f"it takes metrics by name, or the number that is `{wanted[0]}`, not a {kind}")
        measured = {wanted[0]: measured}
    for metric in wanted:
        if metric not in measured:
            known = ", ".join(f"`{name}`" for name in measured) or "nothing"
            raise ValueError(f"the search is for the metric `{metric}`, and there is {known}")
    return {str(name): float(value) for name, value in measured.items()}
