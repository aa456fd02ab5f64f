"""A trial: one architecture that a search wants measured."""

import enum
import json
import logging
import math
from typing import TYPE_CHECKING, Any, Mapping, Sequence, SupportsFloat

from ._wire import evaluate_pb2 as wire
from .session import Job

if TYPE_CHECKING:
    from .search import Search

log = logging.getLogger("srnas")

LONGEST_REASON = 2000
LARGEST_ANSWER = 4 << 20
"""Bytes of metrics that a search hears at most."""
"""The search keeps no more of a reason, in characters."""


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
    """One architecture to measure. Its lease is renewed in the background until it is told or not wanted any more."""

    def __init__(self, search: "Search", work: wire.Work) -> None:
        self.search = search
        """The search that asks."""
        self.architecture: "dict[str, Any]" = json.loads(work.architecture)
        """The decisions that count, by name."""
        self.notation = work.notation
        """The same in the space's notation."""
        self.choices = tuple(work.choices)
        """The index of each decision's choice."""
        self.fidelity = work.fidelity
        """How much of a full training is asked for; 1 is all of it."""
        self.amount = work.amount or work.fidelity
        """The same in the unit of the search's `fidelities`, such as 3 where they are `epochs=3,27`."""
        self.again = work.again
        """Whether it was given out before."""
        self.wanted = True
        """False as soon as the search does not need it any more: the training may be broken off."""
        self._told = False

    def tell(self, /, **metrics: SupportsFloat) -> Use:
        """Says what was measured; returns when the search has it in its ledger. Where a metric that is searched is
        not finite, the architecture is infeasible. `resumed_from=3` besides says that the training went on from where
        one of amount 3 had ended: only the rest is paid for."""
        values = metrics_of(metrics, self.search.metrics)
        for name in self.search.metrics:
            if not math.isfinite(values[name]):
                return self.infeasible(f"its metric `{name}` is {values[name]}")
        for metric in [metric for metric, value in values.items() if not math.isfinite(value)]:
            log.warning("%s: its metric `%s` is %s, and is left out", self.notation, metric, values.pop(metric))
        said = wire.Metrics(values=values)
        if said.ByteSize() > LARGEST_ANSWER:
            size = f"its {len(values)} metrics take {said.ByteSize()} bytes"
            return self.infeasible(f"{size}, and the search hears {LARGEST_ANSWER} at most")
        return self._say({"metrics": said}, values)

    def infeasible(self, reason: str) -> Use:
        """Says that it cannot be measured, and why: that is an answer too."""
        # What the wire cannot carry (a lone surrogate of a file's name) must not keep an answer from being given.
        reason = reason[:LONGEST_REASON].encode(errors="replace").decode()
        return self._say({"infeasible": reason}, f"infeasible: {reason}")

    def _say(self, said: "Mapping[str, Any]", shown: object) -> Use:
        if self._told:
            raise ValueError(f"{self.notation} was told before")
        self._told = True
        try:
            use = self.search._answer(self, dict(said))
        except BaseException:
            # It may be said again.
            self._told = False
            raise
        log.info("%s · %s · %s", self.notation, shown, use.name.lower().replace("_", " "))
        return use

    def _job(self) -> Job:
        return bytes(self.choices), self.fidelity

    def __repr__(self) -> str:
        return f"Trial({self.notation})"


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
