"""Measure architectures for a search by srnas, on this or any other machine.

    @srnas.evaluator
    def train(architecture): ...

makes a function an evaluator, and `train.run(URL)` a program that works for a search until it is over. `connect(URL)`
is the same as ask and tell, for programs that have a loop of their own.
"""

import os

# Before grpc is imported. Data loaders and subprocesses fork while leases are renewed; gRPC's handlers for that would start
# its threads again in the child, which has no use for them and may be aborted by them.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

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
