"""Measure architectures for a search by srnas, on this or any other machine.

    @srnas.evaluator
    def train(architecture): ...

makes a function an evaluator, and `train.run(URL)` a program that works for a search until it is over. `connect(URL)`
is the same as ask and tell, for programs that have a loop of their own.
"""

from .errors import Error, Infeasible, Refused, SearchOver, Unreachable
from .evaluator import Evaluator, Measured, evaluator
from .search import Search, connect
from .trial import Trial, Use

__all__ = [
    "Error",
    "Evaluator",
    "Infeasible",
    "Measured",
    "Refused",
    "Search",
    "SearchOver",
    "Trial",
    "Unreachable",
    "Use",
    "connect",
    "evaluator",
]
