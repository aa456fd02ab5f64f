"""Tables of known functions of numbers and words, for `srnas compare`: docs/results.md says what was made of them.

    python3 benches/numbers.py DIR            writes spaces, tables and descriptors of three benchmarks for each number of levels
"""

import itertools
import json
import math
import sys
from pathlib import Path

A = [[10, 3, 17, 3.5], [0.05, 10, 17, 0.1], [3, 3.5, 1.7, 10], [17, 8, 0.05, 10]]
P = [[0.1312, 0.1696, 0.5569, 0.0124], [0.2329, 0.4135, 0.8307, 0.3736], [0.2348, 0.1451, 0.3522, 0.2883], [0.4047, 0.8828, 0.8732, 0.5743]]
WEIGHTS = [1, 1.2, 3, 3.2]
WORTH = {"a": 0.0, "b": 0.4, "c": 1.0}


def branin(x, y):
    return (y - 5.1 * x * x / (4 * math.pi**2) + 5 * x / math.pi - 6) ** 2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


def bowl(x, y):
    return (x - 1) ** 2 + (y - 11) ** 2


def ackley(x, y):
    x, y = x - 1, y - 4
    return -20 * math.exp(-0.2 * math.sqrt((x * x + y * y) / 2)) - math.exp((math.cos(x) + math.cos(y)) / 2)


def hartmann(*x):
    """The first four coordinates of Hartmann's function of six."""
    return -sum(w * math.exp(-sum(a * (v - p) ** 2 for a, v, p in zip(row, x, place))) for w, row, place in zip(WEIGHTS, A, P))


def rosenbrock(*x):
    z = [3 * v - 1 for v in x]
    return sum(100 * (z[i + 1] - z[i] ** 2) ** 2 + (1 - z[i]) ** 2 for i in range(len(z) - 1))


def bowl4(*x):
    return sum((v - 0.2 * i - 0.1) ** 2 * (i + 1) for i, v in enumerate(x))


def words(x, y, *ops):
    worth = sum(WORTH[op] for op in ops)
    return (x - 0.3) ** 2 + (y - 0.2 - 0.2 * worth) ** 2 + 0.15 * (2 - worth) ** 2 + 0.1 * math.sin(6 * x + 2 * worth)


def apart(x, y, *ops):
    return abs(x - 0.7) * 2 + (y - 0.5) ** 2 + (WORTH[ops[0]] - 0.4) ** 2 + 0.3 * (ops[1] == "c") + 0.2 * (ops[2] != "b")


def write(folder, name, numbers, others, functions):
    """`numbers` are name, ends and levels; `others` name and words; a level's value is its place between the ends."""
    decisions = [f'[[decisions]]\nname = "{n}"\nchoices = {list(range(levels))}\nordered = true\n' for n, _, levels in numbers]
    decisions += [f'[[decisions]]\nname = "{n}"\nchoices = {json.dumps(choices)}\n' for n, choices in others]
    (folder / f"{name}-space.toml").write_text("".join(decisions))
    axes = [[(i, low + (high - low) * i / (levels - 1)) for i in range(levels)] for _, (low, high), levels in numbers]
    axes += [[(choice, choice) for choice in choices] for _, choices in others]
    with open(folder / f"{name}.csv", "w") as table:
        table.write(",".join([n for n, *_ in numbers] + [n for n, _ in others] + [f.__name__ for f in functions]) + "\n")
        for row in itertools.product(*axes):
            values = [f"{f(*(value for _, value in row)):.7g}" for f in functions]
            table.write(",".join([str(choice) for choice, _ in row] + values) + "\n")
    lines = [f'benchmark = "{name}"', f'space = "{name}-space.toml"', 'provenance = "known functions"', 'licence = "none needed"']
    for f in functions:
        lines += ["[[metrics]]", f'name = "f/{f.__name__}"', f'column = "{f.__name__}"', 'direction = "minimise"']
    (folder / f"{name}.toml").write_text("\n".join(lines) + "\n")


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    ops = [(f"op{i}", ["a", "b", "c"]) for i in range(3)]
    for suffix, two, four, mixed in [("fine", 33, 13, 21), ("8", 8, 8, 8)]:
        write(folder, f"two-{suffix}", [("x", (-5, 10), two), ("y", (0, 15), two)], [], [branin, bowl, ackley])
        write(folder, f"four-{suffix}", [(f"x{i}", (0, 1), four) for i in range(4)], [], [hartmann, rosenbrock, bowl4])
        write(folder, f"mixed-{suffix}", [("x", (0, 1), mixed), ("y", (0, 1), mixed)], ops, [words, apart])


if __name__ == "__main__":
    main()
