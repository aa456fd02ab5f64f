#!/usr/bin/env python3
"""One table of the folders of several comparisons (by `srnas compare`, by bandits.py): mean normalised regret after so much was paid.

Means are of the tasks' means; brackets are 95 % percentile bootstrap intervals over the starts of each task, as in the report
of `srnas compare`. A method that lacks one of the tasks is left out, and named.
"""

import argparse
import collections
import csv
import json
import pathlib
import re

import numpy

DRAWS = 2000


def named(method):
    """A peer by its own name, whatever the command was that started it."""
    peer = re.search(r"solver\.py (\S+)$", method)
    return peer[1] if peer else method


def read(folders):
    """By method, task and seed: what was spent and the normalised regret then, in order."""
    gaps = {}
    for summary in (pathlib.Path(folder, "summary.json") for folder in folders):
        if summary.exists():
            problems = json.loads(summary.read_text())["problems"]
            gaps.update({problem["report"]: abs(problem["best"] - problem["median"]) for problem in problems})
    searches = collections.defaultdict(lambda: collections.defaultdict(dict))
    for folder in folders:
        with open(pathlib.Path(folder, "results.csv"), newline="") as rows:
            for row in csv.DictReader(rows):
                search = searches[named(row["method"])][row["task"]].setdefault(int(row["seed"]), [])
                # The file has it in the unit of the metric.
                search.append((float(row["spent"]), float(row["regret"]) / gaps[row["task"]]))
    return searches


def after(search, budget):
    return [regret for spent, regret in search if spent <= budget + 1e-9][-1]


def interval(groups):
    """The mean of the groups' means, and its interval."""
    groups = [numpy.asarray(group) for group in groups]
    draw = numpy.random.default_rng(1).integers
    means = [group[draw(len(group), size=(DRAWS, len(group)))].mean(axis=1) for group in groups]
    low, high = numpy.quantile(numpy.mean(means, axis=0), [0.025, 0.975])
    return numpy.mean([group.mean() for group in groups]), low, high


def number(value):
    """Three decimals, four where there is little left: .0123."""
    digits = 3 if abs(value) >= 0.0995 else 4
    return re.sub(r"^(-?)0\.", r"\1.", f"{value:.{digits}f}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folders", nargs="+")
    arguments.add_argument("--task", action="append", help="only these [default: all that there are]")
    arguments.add_argument("--at", default="5,10,25,50,100", help="budgets")
    arguments.add_argument("--against", help="differences to this method from the same starts, in place of means")
    arguments = arguments.parse_args()
    searches, budgets = read(arguments.folders), [int(budget) for budget in arguments.at.split(",")]
    tasks = arguments.task or sorted({task for of in searches.values() for task in of})
    if arguments.against and arguments.against not in searches:
        raise SystemExit(f"there is no {arguments.against}; there are {', '.join(searches)}")

    print("| method | starts |" + "".join(f" {budget} |" for budget in budgets))
    print("|---|---:|" + "---|" * len(budgets))
    left_out = [method for method in searches if any(task not in searches[method] for task in tasks)]
    for method, of in searches.items():
        if method in left_out or method == arguments.against:
            continue
        cells, starts = [], 0
        for budget in budgets:
            # A search may end with less than one training left.
            reaches = all(search[-1][0] > budget - 1 for task in tasks for search in of[task].values())
            groups = [{seed: after(search, budget) for seed, search in of[task].items()} for task in tasks if reaches]
            if reaches and arguments.against:
                other = [searches[arguments.against][task] for task in tasks]
                groups = [
                    {seed: regret - after(like[seed], budget) for seed, regret in group.items() if seed in like}
                    for group, like in zip(groups, other)
                ]
            if not groups:
                cells.append(" |")
                continue
            starts = min(map(len, groups))
            mean, low, high = interval([list(group.values()) for group in groups])
            cells.append(f" {number(mean)} [{number(low)}, {number(high)}] |")
        print(f"| `{method}` | {starts} |" + "".join(cells))
    print(f"\n{len(tasks)} tasks: {', '.join(f'`{task}`' for task in tasks)}.")
    if left_out:
        print(f"Left out, since a task is missing: {', '.join(f'`{method}`' for method in left_out)}.")


if __name__ == "__main__":
    main()
