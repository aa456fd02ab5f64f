"""The training of train.py for a search on another machine, with the Python package (`pip install ./python`).

    srnas search --oracle remote --space examples/own/space.toml --minimise loss --budget 40
    python3 examples/own/worker.py --search http://localhost:7778        # three times, on any machines
"""

import srnas
from train import train_network


@srnas.evaluator
def train(architecture, trial):
    """Tells two spirals apart."""
    if not trial.search.fidelities:
        return train_network(architecture, trial.search.seed, report=trial.report)
    # Shorter trainings, as `--fidelity epochs=4,40` asks for them; on several machines each begins at its beginning.
    return train_network(architecture, trial.search.seed, int(trial.amount), report=trial.report)


if __name__ == "__main__":
    train.main()
