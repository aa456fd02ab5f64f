"""Search architectures in Python, or measure them for a search elsewhere.

    search = srnas.Search({"width": [8, 16], "lr": srnas.Range(1e-4, 1e-1, log=True)}, minimise="loss", ledger="run.sqlite")
    search.optimize(train, budget=50)

is a search in this process, by `ask` and `tell` where a program has a loop of its own. `srnas.optuna.Sampler` lets it propose the trials
of a study of Optuna.

    @srnas.evaluator
    def train(architecture): ...

makes a function an evaluator, and `train.run(URL)` a program that works for a search by the program `srnas` on this or any other
machine until it is over; `connect(URL)` is the same as ask and tell.
"""

import os
from typing import TYPE_CHECKING, Any

# Before grpc is imported. Data loaders and subprocesses fork while leases are renewed; gRPC's handlers for that would start
# its threads again in the child, which has no use for them and may be aborted by them.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

from .errors import Error, Infeasible, InputError, Refused, SearchOver, StoppedEarly, Unreachable  # noqa: E402
from .measurement import Measurement  # noqa: E402
from .search import Search  # noqa: E402
from .space import Choice, Range, Space  # noqa: E402
from .trial import Trial, Use  # noqa: E402

if TYPE_CHECKING:
    from .evaluator import Evaluator, Measured, evaluator
    from .remote import RemoteSearch, connect

__all__ = [
    "Choice",
    "Error",
    "Evaluator",
    "Infeasible",
    "InputError",
    "Measured",
    "Measurement",
    "Range",
    "Refused",
    "RemoteSearch",
    "Search",
    "SearchOver",
    "Space",
    "StoppedEarly",
    "Trial",
    "Unreachable",
    "Use",
    "connect",
    "evaluator",
]

# Searches elsewhere need gRPC, whose import takes longer than everything else here.
_ELSEWHERE = {
    "Evaluator": "evaluator",
    "Measured": "evaluator",
    "RemoteSearch": "remote",
    "connect": "remote",
    "evaluator": "evaluator",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _ELSEWHERE:
        # All of them, and for good: the function `evaluator` stands where the import left the module of that name.
        for other, module in _ELSEWHERE.items():
            globals()[other] = getattr(import_module(f".{module}", __name__), other)
        return globals()[name]
    if name == "optuna":
        return import_module(".optuna", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
