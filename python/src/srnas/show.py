"""What a search found, for eyes: a line, a table, a frame of pandas, a plot."""

from html import escape
from typing import TYPE_CHECKING, Any, Dict, List

if TYPE_CHECKING:
    from .measurement import Measurement
    from .search import Search

SHOWN = 10
"""So many are in a table."""


def _number(value: float) -> str:
    return f"{value:.6g}"


def _goal(search: "Search") -> str:
    return " and ".join(f"{'minimise' if least else 'maximise'} {metric}" for metric, least in search.objectives)


def line(search: "Search") -> str:
    """It in a line."""
    found = search.measurements
    best = search.best
    said = f"{len(found)} measured"
    if best is not None and best.value is not None:
        said += f", best {_number(best.value)}: {best.notation}"
    return f"Search({search.space.name}, {_goal(search)}: {said})"


def _ordered(search: "Search", found: "List[Measurement]") -> "List[Measurement]":
    """Those that count, the best first."""
    sign = 1 if search.minimise else -1
    counted = [(sign * m.value, m.number, m) for m in found if m.value is not None and m.counts and m.full]
    return [m for _, _, m in sorted(counted)]


def html(search: "Search") -> str:
    """The best in a table."""
    found = search.measurements
    best = _ordered(search, found) if len(search.objectives) == 1 else search.front
    counted = len([m for m in found if m.value is not None])
    metrics = list(search.metrics)
    head = "".join(f"<th>{escape(name)}</th>" for name in ["", *metrics, "architecture"])
    rows = ""
    for m in best[:SHOWN]:
        values = "".join(f"<td>{_number(m.metrics[metric])}</td>" for metric in metrics)
        rows += f"<tr><td>{m.number}</td>{values}<td style='text-align:left'><code>{escape(m.notation)}</code></td></tr>"
    more = f"<p>… and {len(best) - SHOWN} more</p>" if len(best) > SHOWN else ""
    said = f"{len(found)} measured, {len(found) - counted} without a value, for the cost of {_number(search.spent)}"
    return (
        f"<div><p><b>{escape(search.space.name)}</b>: {escape(_goal(search))}; {said}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{more}</div>"
    )


def to_pandas(search: "Search") -> Any:
    """A frame: a row for each measurement, by its number."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError("to_pandas() needs pandas: pip install pandas") from error
    found = search.measurements
    decisions = list(search.space.decisions)
    metrics = list(dict.fromkeys([*search.metrics, *(name for m in found for name in m.metrics)]))
    columns: "Dict[str, List[Any]]" = {name: [m.architecture.get(name) for m in found] for name in decisions}
    for metric in metrics:
        # A metric that is called as a decision is.
        name = f"metric {metric}" if metric in columns else metric
        columns[name] = [m.metrics.get(metric, float("nan")) for m in found]
    others: "Dict[str, List[Any]]" = {
        "infeasible": [m.infeasible for m in found],
        "breaks": [m.breaks for m in found],
        "trained": [m.trained for m in found],
        "cost": [m.cost for m in found],
        "elsewhere": [m.elsewhere for m in found],
    }
    for name, values in others.items():
        columns[f"search {name}" if name in columns else name] = values
    return pandas.DataFrame(columns, index=pandas.Index([m.number for m in found], name="measurement"))


def plot(search: "Search", ax: Any = None) -> Any:
    """Axes with what was found."""
    if ax is None:
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ImportError("plot() needs matplotlib: pip install matplotlib") from error
        _, ax = pyplot.subplots()
    if len(search.objectives) > 1:
        return _front(search, ax)
    spent, best = 0.0, None
    points: "List[tuple[float, float]]" = []
    steps: "List[tuple[float, float]]" = []
    for m in search.measurements:
        spent += m.cost
        if not (m.counts and m.full) or m.value is None:
            continue
        points.append((spent, m.value))
        if best is None or (m.value < best if search.minimise else m.value > best):
            best = m.value
            steps.append((spent, best))
    if steps and best is not None:
        steps.append((spent, best))
    ax.plot([x for x, _ in points], [y for _, y in points], "o", alpha=0.5, label="measured")
    ax.step([x for x, _ in steps], [y for _, y in steps], where="post", label="best so far")
    ax.set_xlabel("paid for, in full trainings")
    ax.set_ylabel(search.metric)
    ax.set_title(f"{search.space.name}: {_goal(search)}")
    ax.legend()
    return ax


def _front(search: "Search", ax: Any) -> Any:
    (x, _), (y, _) = search.objectives[:2]
    counted = [m for m in search.measurements if m.value is not None and m.full]
    broken = [m for m in counted if m.breaks is not None]
    ax.plot([m.metrics[x] for m in counted], [m.metrics[y] for m in counted], "o", alpha=0.5, label="measured")
    if broken:
        ax.plot([m.metrics[x] for m in broken], [m.metrics[y] for m in broken], "x", label="breaks a limit")
    front = sorted(search.front, key=lambda m: m.metrics[x])
    ax.plot([m.metrics[x] for m in front], [m.metrics[y] for m in front], "o-", label="front")
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.set_title(f"{search.space.name}: {_goal(search)}")
    ax.legend()
    return ax
