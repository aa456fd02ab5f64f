"""What a proposal costs in Python: 300 measurements of a space of 60 decisions are known, and ten more are asked for and told.

    python benches/python_proposal.py                                   # beside: cargo bench -p srnas-search --bench proposal -- asked

The same in Rust is `asked and told` of search/benches/proposal.rs. With `--method random`, whose proposals cost next to nothing, what is
left is what Python costs at most. With `--ledger F` each is kept in a file, too.
"""

import argparse
import math
import random
import statistics
import time

import srnas

CHOICES = "abcde"
SPACE = {f"d{d}": list(CHOICES) for d in range(60)}


def measure(architecture):
    return sum(CHOICES.index(choice) * math.sin(d) for d, choice in enumerate(architecture.values()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--ledger", help="keep the measurements in this file, which must not be there yet")
    parser.add_argument("--method", help="who proposes [default: the predictor]")
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    draw = random.Random(1)
    known = [{name: draw.choice(choices) for name, choices in SPACE.items()} for _ in range(300)]
    spans, asks, tells = [], [], []
    for repeat in range(options.repeats):
        ledger = options.ledger and f"{options.ledger}.{repeat}"
        with srnas.Search(SPACE, maximise="sum", ledger=ledger, method=options.method) as search:
            for architecture in known:
                search.tell(architecture, sum=measure(architecture))
            first = search.ask()
            first.tell(measure(first.architecture))
            began = time.perf_counter()
            for _ in range(10):
                asked = time.perf_counter()
                trial = search.ask()
                told = time.perf_counter()
                trial.tell(measure(trial.architecture))
                asks.append(told - asked)
                tells.append(time.perf_counter() - told)
            spans.append(time.perf_counter() - began)
    shown = lambda times: f"{1000 * statistics.median(times):.2f} ms (least {1000 * min(times):.2f})"  # noqa: E731
    print(f"ten proposals: {shown(spans)}; to ask: {shown(asks)}; to measure and tell: {shown(tells)}")


if __name__ == "__main__":
    main()
