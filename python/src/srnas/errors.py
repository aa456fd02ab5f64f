"""What can go wrong, for the search or for a trial."""

from typing import Dict, Tuple


class Infeasible(Exception):
    """Raise it in an evaluator: this architecture cannot be measured, and why. The search keeps away from the like."""


class StoppedEarly(Exception):
    """Raised by `Trial.report`: the training is surely worse than the others were as early, and ends here. An evaluator, and
    `Search.optimize`, take what it reported last for its answer."""

    def __init__(self, message: str, metrics: "Dict[str, float]") -> None:
        super().__init__(message)
        self.metrics = metrics
        """What it reported last, and `stopped_at`: how far it was."""

    def __reduce__(self) -> "Tuple[type, Tuple[str, Dict[str, float]]]":
        return type(self), (str(self), self.metrics)


class Error(Exception):
    """The search cannot be asked or told, or does not answer."""


class InputError(Error, ValueError):
    """Something was given that is not right: a space, a metric, a file, an option. The message says what and what to do."""


class Refused(Error):
    """The search will not do: another protocol, another search, a wrong token, another process of the same name."""


class Unreachable(Error):
    """Nobody has answered for as long as `patience` allows."""


class SearchOver(Error):
    """The search needs nothing any more."""
