#!/usr/bin/env python3
"""Other people's optimisers as methods of `srnas compare`: `--method 'cmd:python3 benches/peers/solver.py tpe'`.

Every decision is a category without order, and every setting is its library's default (README.md names them).
"""

import argparse
import functools
import os
import shutil
import sys
import tempfile
import warnings

import protocol


class Optuna:
    """TPE, or a Gaussian process with `startup` random trials before it (the library's default is 10)."""

    def __init__(self, sizes, seed, budget, sampler="TPESampler", **settings):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.optuna = optuna
        self.space = {f"{i:03}": optuna.distributions.CategoricalDistribution(range(n)) for i, n in enumerate(sizes)}
        sampler = getattr(optuna.samplers, sampler)(seed=seed, **settings)
        self.study = optuna.create_study(direction="maximize", sampler=sampler)

    def ask(self):
        self.trial = self.study.ask(self.space)
        return [self.trial.params[name] for name in self.space]

    def tell(self, choices, value):
        self.study.tell(self.trial, value)

    def add(self, choices, value):
        params = dict(zip(self.space, choices))
        self.study.add_trial(self.optuna.create_trial(params=params, distributions=self.space, value=value))


class Smac:
    """SMAC3's facade for hyperparameters (random forest, expected improvement); it minimises."""

    def __init__(self, sizes, seed, budget):
        import smac
        from ConfigSpace import CategoricalHyperparameter, ConfigurationSpace
        from smac.runhistory.dataclasses import TrialInfo, TrialValue

        self.info, self.value = TrialInfo, TrialValue
        self.space = ConfigurationSpace(seed=seed)
        self.names = [f"d{i:03}" for i in range(len(sizes))]
        self.space.add([CategoricalHyperparameter(name, list(range(n))) for name, n in zip(self.names, sizes)])
        self.folder = tempfile.mkdtemp(prefix="smac-")
        # Deterministic: else it measures an architecture again, with other seeds.
        scenario = smac.Scenario(
            self.space, deterministic=True, n_trials=budget, seed=seed, output_directory=self.folder
        )
        self.facade = smac.HyperparameterOptimizationFacade(
            scenario, lambda config, seed: 0.0, logging_level=False, overwrite=True
        )

    def ask(self):
        from smac.main.exceptions import ConfigurationSpaceExhaustedException

        try:
            self.asked = self.facade.ask()
        except (StopIteration, ConfigurationSpaceExhaustedException):
            return None
        return [self.asked.config[name] for name in self.names]

    def tell(self, choices, value):
        self.facade.tell(self.asked, self.value(cost=-value), save=False)

    def add(self, choices, value):
        from ConfigSpace import Configuration

        config = Configuration(self.space, values=dict(zip(self.names, choices)))
        self.facade.tell(self.info(config=config, seed=0), self.value(cost=-value), save=False)

    def __del__(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class Hyperopt:
    """TPE as Hyperopt has it; it minimises."""

    def __init__(self, sizes, seed, budget):
        import hyperopt
        import numpy

        self.hyperopt = hyperopt
        self.names = [f"{i:03}" for i in range(len(sizes))]
        space = {name: hyperopt.hp.choice(name, list(range(n))) for name, n in zip(self.names, sizes)}
        self.domain = hyperopt.Domain(lambda choices: 0.0, space)
        self.trials = hyperopt.Trials()
        self.rng = numpy.random.default_rng(seed)

    def ask(self):
        number = self.trials.new_trial_ids(1)
        seed = int(self.rng.integers(2**31 - 1))
        [self.trial] = self.hyperopt.tpe.suggest(number, self.domain, self.trials, seed, verbose=False)
        return [self.trial["misc"]["vals"][name][0] for name in self.names]

    def tell(self, choices, value):
        self.trial["state"] = self.hyperopt.JOB_STATE_DONE
        self.trial["result"] = {"loss": -value, "status": self.hyperopt.STATUS_OK}
        self.trials.insert_trial_docs([self.trial])
        self.trials.refresh()

    def add(self, choices, value):
        [number] = self.trials.new_trial_ids(1)
        values = {name: [choice] for name, choice in zip(self.names, choices)}
        places = {name: [number] for name in self.names}
        misc = {"tid": number, "cmd": self.domain.cmd, "workdir": None, "idxs": places, "vals": values}
        [self.trial] = self.trials.new_trial_docs([number], [None], [self.domain.new_result()], [misc])
        self.tell(choices, value)


class Nevergrad:
    """Its wizard NGOpt, which chooses an algorithm by the space and the budget; it minimises."""

    def __init__(self, sizes, seed, budget):
        import nevergrad

        space = nevergrad.p.Instrumentation(*[nevergrad.p.Choice(list(range(n))) for n in sizes])
        space.random_state.seed(seed)
        self.optimiser = nevergrad.optimizers.NGOpt(space, budget=budget, num_workers=1)

    def ask(self):
        self.candidate = self.optimiser.ask()
        return self.candidate.args

    def tell(self, choices, value):
        self.optimiser.tell(self.candidate, -value)

    def add(self, choices, value):
        # What is suggested is asked for next, so that it counts as the optimiser's own.
        self.optimiser.suggest(*choices)
        assert tuple(self.ask()) == tuple(choices)
        self.tell(choices, value)


PEERS = {
    "tpe": Optuna,
    "optuna-gp": functools.partial(Optuna, sampler="GPSampler"),
    "optuna-gp-4": functools.partial(Optuna, sampler="GPSampler", n_startup_trials=4),
    "smac": Smac,
    "hyperopt": Hyperopt,
    "nevergrad": Nevergrad,
}


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("peer", choices=PEERS)
    name = arguments.parse_args().peer
    if os.environ.get("PYTHONHASHSEED") != "0":
        # SMAC goes through sets of strings, whose order is another in each process unless this is set before it starts.
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"PYTHONHASHSEED": "0"})
    warnings.simplefilter("ignore")
    protocol.serve(PEERS[name], name)
