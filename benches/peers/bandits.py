#!/usr/bin/env python3
"""Syne Tune's ASHA and BOHB on tasks that have a shorter training: rows like those in the `results.csv` of `srnas compare`.

A program that `srnas compare` asks is asked for full trainings alone, so these two read the table themselves. Starts and the
best of a task are taken from a comparison on the same tasks (`--like`), a training costs what it costs there, and a search
ends where the next training does not fit into what is left.

Both of Syne Tune's schedulers stop a trial or let it go on: an architecture is trained for short, and at once in full if it is
among the best third so far (reduction factor 3, the default). The first trial is the start, and always goes on. A full
training begins anew, as the table's did, and is paid in full; what was trained before is known, and free.
"""

import argparse
import csv
import datetime
import json
import logging
import pathlib
import random
import subprocess
import warnings

import numpy

from protocol import REPEATS

# Epochs, of which the schedulers hear: the shorter training is their first and only rung.
SHORT, FULL = 12, 200


def table(srnas, metric):
    """The value of each architecture by its notation, and the choices of each by decision."""
    command = [srnas, "bench", "best", *metric.split("/", 1), "--limit", "1000000", "--json"]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    rows = [json.loads(line) for line in said.splitlines()]
    if rows[0]["direction"] != "maximise":
        raise SystemExit(f"{metric} is not to be maximised")
    return {row["architecture"]: row["value"] for row in rows}, {
        tuple(row["choices"].values()): row["architecture"] for row in rows
    }, list(rows[0]["choices"])


def comparison(folder, task):
    """The start of each seed, and the best value of the task."""
    with open(pathlib.Path(folder, "results.csv"), newline="") as rows:
        firsts = [row for row in csv.DictReader(rows) if row["task"] == task and row["query"] == "1"]
    if not firsts:
        raise SystemExit(f"{folder} has nothing on {task}")
    problems = json.loads(pathlib.Path(folder, "summary.json").read_text())["problems"]
    [best] = [problem["best"] for problem in problems if problem["problem"] == task]
    return {int(row["seed"]): row["architecture"] for row in firsts}, best


def search(make, space, start, seed, budget, cost, short, full):
    """Rows of (architecture, cost, spent, best full value): until the budget is spent."""
    from syne_tune.backend.trial_status import Trial
    from syne_tune.config_space import choice
    from syne_tune.optimizer.scheduler import SchedulerDecision

    # Some of what Syne Tune draws comes from the global generators.
    random.seed(seed)
    numpy.random.seed(seed)
    names, notation = space
    choices = {name: sorted({c[i] for c in notation}) for i, name in enumerate(names)}
    points = [next(dict(zip(names, c)) for c, written in notation.items() if written == start)]
    scheduler = make(
        config_space={name: choice(of) for name, of in choices.items()},
        metric="value", do_minimize=False, time_attr="time", grace_period=SHORT, max_t=FULL,
        random_seed=seed, points_to_evaluate=points,
    )
    paid, spent, incumbent, trials, repeats = set(), 0.0, None, 0, 0
    while True:
        config, before = scheduler.suggest().config, spent
        if repeats >= REPEATS:
            config, repeats = {name: random.choice(of) for name, of in choices.items()}, 0
        architecture = notation[tuple(config[name] for name in names)]
        trial = Trial(trial_id=trials, config=config, creation_time=datetime.datetime.now())
        trials += 1
        scheduler.on_trial_add(trial)
        for time, price, values in (SHORT, cost, short), (FULL, 1.0, full):
            if (architecture, time) not in paid:
                if spent + price > budget + 1e-9:
                    return
                paid.add((architecture, time))
                spent += price
                if time == FULL:
                    incumbent = max(values[architecture], incumbent or values[architecture])
                yield architecture, price, spent, incumbent
            said = scheduler.on_trial_result(trial, {"value": values[architecture], "time": time})
            if said != SchedulerDecision.CONTINUE:
                break
        repeats = repeats + 1 if spent == before else 0


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("bandit", choices=["asha", "bohb"])
    arguments.add_argument("--srnas", default="target/release/srnas")
    arguments.add_argument("--task", action="append", required=True, help="such as nb201/cifar10/val; may be repeated")
    arguments.add_argument("--shorter", default="_12", help="what follows the name of the metric in its shorter form")
    arguments.add_argument("--cost", type=float, default=0.06, help="of a shorter training, in full ones")
    arguments.add_argument("--like", required=True, help="folder of a comparison on these tasks")
    arguments.add_argument("--budget", type=float, default=100)
    arguments.add_argument("--out", required=True, help="folder for results.csv")
    arguments = arguments.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    from syne_tune.optimizer.baselines import ASHA, BOHB

    make = {"asha": ASHA, "bohb": BOHB}[arguments.bandit]
    pathlib.Path(arguments.out).mkdir(parents=True, exist_ok=True)
    with open(pathlib.Path(arguments.out, "results.csv"), "w", newline="") as file:
        out = csv.writer(file)
        out.writerow("method task seed query architecture incumbent regret cost spent".split())
        for task in arguments.task:
            full, notation, names = table(arguments.srnas, task)
            short, _, _ = table(arguments.srnas, task + arguments.shorter)
            starts, best = comparison(arguments.like, task)
            for seed, start in starts.items():
                rows = search(
                    make, (names, notation), start, seed, arguments.budget, arguments.cost, short, full
                )
                for query, (architecture, cost, spent, incumbent) in enumerate(rows, 1):
                    shown = ("NaN", "NaN") if incumbent is None else (incumbent, best - incumbent)
                    out.writerow(
                        [f"syne-{arguments.bandit}", task, seed, query, architecture, *shown, f"{cost:.4f}", f"{spent:.4f}"]
                    )


if __name__ == "__main__":
    main()
