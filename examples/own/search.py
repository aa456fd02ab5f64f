"""The training of train.py searched in this process, with the Python package (`pip install ./python`): docs/python.md.

    python3 examples/own/search.py                    # half a minute on two cores; run again, it goes on
"""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import srnas
from train import train_network

SEED = 1


def train(architecture):
    """Tells two spirals apart."""
    return train_network(architecture, SEED)


if __name__ == "__main__":
    space = Path(__file__).with_name("space.toml")
    with srnas.Search(space, minimise="loss", ledger="spirals.sqlite", seed=SEED) as search:
        # In processes: the training is pure Python, of which one thread runs at a time.
        with ProcessPoolExecutor(2) as pool:
            best = search.optimize(train, budget=40, parallel=2, executor=pool)
        print(search)
        print(f"accuracy {best.metrics['accuracy']} %; what mattered: {search.importance()}")
