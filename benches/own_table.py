#!/usr/bin/env python3
"""A table of what `examples/own` trains: 1,000 random architectures, each once, and how many weights each has.

    python3 benches/own_table.py DIR 2>/dev/null        # a minute; what trains says how it goes
    srnas bench import table DIR/spirals.csv --descriptor DIR/spirals.toml
    srnas compare --task spirals/own/loss --past untrained --method universal --method transfer-gp --budget 5,10,25,50 --seeds 200

With the table a comparison of what `--past untrained` is worth there takes seconds, and as many starts as it wants.
"""

import csv
import multiprocessing
import pathlib
import random
import sys
import tomllib

OWN = pathlib.Path(__file__).resolve().parent.parent / "examples" / "own"
sys.path.insert(0, str(OWN))
import train  # noqa: E402

ARCHITECTURES = 1000
DESCRIPTOR = """benchmark = "spirals"
space = "{space}"
provenance = "benches/own_table.py: {n} random architectures of examples/own, each trained once"
licence = "that of srnas"

[[metrics]]
name = "own/loss"
column = "loss"
direction = "minimise"

[[metrics]]
name = "own/weights"
column = "weights"
direction = "minimise"
untrained = true
"""


def architectures(decisions):
    """Random ones that differ in what counts and break no rule of the space."""
    rng, found = random.Random(1), {}
    while len(found) < ARCHITECTURES:
        choices = {decision["name"]: rng.choice(decision["choices"]) for decision in decisions}
        if choices["layers"] == 1:
            choices["width2"] = decisions[2]["choices"][0]
        elif choices["width1"] * choices["width2"] > 128:
            continue
        if not (choices["rate"] == 0.3 and choices["momentum"] == 0.9):
            found[tuple(choices.values())] = choices
    return list(found.values())


def measured(choices):
    return choices | train.train_network(choices, seed=1)


def main():
    if len(sys.argv) != 2:
        sys.exit(f"one folder is wanted, for the table and its descriptor\n\n{__doc__}")
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    space = tomllib.loads((OWN / "space.toml").read_text())
    with multiprocessing.Pool() as pool:
        rows = pool.map(measured, architectures(space["decisions"]), chunksize=10)
    with open(folder / "spirals.csv", "w", newline="") as file:
        columns = [decision["name"] for decision in space["decisions"]] + ["loss", "weights"]
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    (folder / "spirals.toml").write_text(DESCRIPTOR.format(space=OWN / "space.toml", n=ARCHITECTURES))


if __name__ == "__main__":
    main()
