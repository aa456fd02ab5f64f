"""How a function that measures is called, and what its answer means."""

import inspect
from typing import Any, Callable

from .trial import Trial


def trial_as(function: Callable[..., Any]) -> "Callable[[Trial], tuple[list[Trial], dict[str, Trial]]]":
    """How a function takes its trial: by this name, as a second argument that it cannot do without, or not at all."""
    parameters = inspect.signature(function).parameters
    if "trial" in parameters and parameters["trial"].kind is not inspect.Parameter.POSITIONAL_ONLY:
        return lambda trial: ([], {"trial": trial})
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p for p in parameters.values() if p.kind in kinds and p.default is p.empty]
    return lambda trial: ([trial] if len(needed) > 1 else [], {})
