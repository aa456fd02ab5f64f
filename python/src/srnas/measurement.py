"""What was measured of an architecture."""

from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Tuple


@dataclass(frozen=True)
class Measurement:
    """One measurement of a search."""

    number: int
    """Its place in the order in which they ended, from 1."""
    architecture: "Dict[str, Any]"
    """The decisions that count, by name."""
    notation: str
    """The same in the space's notation."""
    value: Optional[float]
    """Of the first objective; None where it is infeasible."""
    metrics: "Dict[str, float]"
    """Everything that was measured."""
    infeasible: Optional[str]
    """Why it has no value."""
    breaks: Optional[str]
    """The limits that it breaks, in words."""
    trained: float
    """How much was trained, in the unit of the search's fidelities; 1 where there are full trainings only."""
    full: bool
    """Whether that is a full training."""
    cost: float
    """What was paid, in full trainings."""
    elsewhere: bool
    """Whether it was measured elsewhere, and is not paid for here."""
    curve: "Tuple[Tuple[float, float], ...]" = ()
    """What it reported as it went: how far it was, and the first objective there."""

    @property
    def counts(self) -> bool:
        """Whether it has a value and keeps every limit."""
        return self.value is not None and self.breaks is None

    @classmethod
    def _of(cls, number: int, measured: "Mapping[str, Any]") -> "Measurement":
        row = measured["row"]
        return cls(
            number=number,
            architecture=row["decisions"],
            notation=row["architecture"],
            value=row.get("value"),
            metrics=row["metrics"],
            infeasible=row.get("infeasible"),
            breaks=row.get("broken"),
            trained=row["trained"],
            full=row["full"],
            cost=row["cost"],
            elsewhere=measured["elsewhere"],
            curve=tuple((at, value) for at, value in measured["curve"]),
        )
