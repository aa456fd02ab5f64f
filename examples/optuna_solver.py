#!/usr/bin/env python3
"""Optuna's samplers as a search method of `srnas compare`.

    pip install optuna            # for --sampler gp also: pip install torch scipy
    srnas compare --task nb201/cifar10/val --method local \
        --method 'cmd:python3 examples/optuna_solver.py --sampler tpe' --budget 25,50 --out reports/tpe

The protocol is one JSON object a line, see docs/your-own-method.md.
"""

import argparse
import json
import sys

import optuna


def sampler(name, seed):
    """The sampler with its published settings, and this seed."""
    made = {
        "tpe": optuna.samplers.TPESampler,
        "gp": optuna.samplers.GPSampler,
        "nsga2": optuna.samplers.NSGAIISampler,
        "random": optuna.samplers.RandomSampler,
    }
    return made[name](seed=seed)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--sampler", choices=["tpe", "gp", "nsga2", "random"], default="tpe")
    arguments = arguments.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    study, names, distributions, asked = None, [], {}, None
    for line in sys.stdin:
        said = json.loads(line)
        if said["type"] == "space":
            names = [decision["name"] for decision in said["decisions"]]
            distributions = {
                decision["name"]: optuna.distributions.CategoricalDistribution(decision["choices"])
                for decision in said["decisions"]
            }
            study = optuna.create_study(
                directions=["maximize"] * said["objectives"],
                sampler=sampler(arguments.sampler, said["seed"]),
            )
        elif said["type"] == "tell":
            if asked is not None:
                study.tell(asked, said["values"])
                asked = None
            else:
                # The start, which was not asked for.
                study.add_trial(
                    optuna.trial.create_trial(
                        params=dict(zip(names, said["architecture"])),
                        distributions=distributions,
                        values=said["values"],
                    )
                )
        elif said["type"] == "ask":
            asked = study.ask(distributions)
            print(json.dumps({"architecture": [asked.params[name] for name in names]}), flush=True)
        elif said["type"] == "end":
            return


if __name__ == "__main__":
    main()
