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


BROKEN = "broken"


def sampler(name, seed, limits):
    """The sampler with its published settings, and this seed; where there are limits, it hears how far each is broken."""
    made = {
        "tpe": optuna.samplers.TPESampler,
        "gp": optuna.samplers.GPSampler,
        "nsga2": optuna.samplers.NSGAIISampler,
        "random": optuna.samplers.RandomSampler,
    }
    if limits and name == "random":
        limits = 0  # It looks at nothing.
    return made[name](seed=seed, **({"constraints_func": lambda trial: trial.user_attrs[BROKEN]} if limits else {}))


def is_number(choices):
    """Whether choices are numbers, each larger than the one before."""
    try:
        values = [float(choice) for choice in choices]
    except ValueError:
        return False
    return len(values) > 2 and all(a < b for a, b in zip(values, values[1:]))


class Parameter:
    """A decision as Optuna knows it: a number is its place in the order of its choices."""

    def __init__(self, choices, numbers):
        self.choices = choices
        self.number = numbers and is_number(choices)
        made = optuna.distributions
        self.distribution = (
            made.IntDistribution(0, len(choices) - 1) if self.number else made.CategoricalDistribution(choices)
        )

    def known(self, choice):
        return self.choices.index(choice) if self.number else choice

    def choice(self, known):
        return self.choices[known] if self.number else known


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--sampler", choices=["tpe", "gp", "nsga2", "random"], default="tpe")
    arguments.add_argument("--numbers", action="store_true", help="choices that are ascending numbers are told as numbers")
    arguments = arguments.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    study, parameters, distributions, objectives, asked = None, {}, {}, 1, None
    for line in sys.stdin:
        said = json.loads(line)
        if said["type"] == "space":
            parameters = {
                decision["name"]: Parameter(decision["choices"], arguments.numbers) for decision in said["decisions"]
            }
            distributions = {name: parameter.distribution for name, parameter in parameters.items()}
            study = optuna.create_study(
                directions=["maximize"] * said["objectives"],
                sampler=sampler(arguments.sampler, said["seed"], said.get("limits", 0)),
            )
            objectives = said["objectives"]
        elif said["type"] == "tell":
            values = said["values"][:objectives]
            # Optuna's are kept where they are at most 0.
            broken = [-slack for slack in said["values"][objectives:]]
            if asked is not None:
                asked.set_user_attr(BROKEN, broken)
                study.tell(asked, values)
                asked = None
            else:
                # The start, which was not asked for.
                study.add_trial(
                    optuna.trial.create_trial(
                        params={
                            name: parameter.known(choice)
                            for (name, parameter), choice in zip(parameters.items(), said["architecture"])
                        },
                        distributions=distributions,
                        values=values,
                        user_attrs={BROKEN: broken},
                        system_attrs={"constraints": broken} if broken else {},
                    )
                )
        elif said["type"] == "ask":
            asked = study.ask(distributions)
            choices = [parameter.choice(asked.params[name]) for name, parameter in parameters.items()]
            print(json.dumps({"architecture": choices}), flush=True)
        elif said["type"] == "end":
            return


if __name__ == "__main__":
    main()
