"""What can go wrong, for the search or for a trial."""


class Infeasible(Exception):
    """Raise it in an evaluator: this architecture cannot be measured, and why. The search keeps away from the like."""


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
