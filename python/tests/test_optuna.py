"""The sampler for studies of Optuna."""

import math
import pickle
import statistics

import pytest

optuna = pytest.importorskip("optuna")

import srnas  # noqa: E402
from srnas.optuna import Sampler, _Levels  # noqa: E402

optuna.logging.set_verbosity(optuna.logging.WARNING)
FINISHED = optuna.trial.TrialState


def objective(trial):
    x = trial.suggest_float("x", -10, 10)
    rate = trial.suggest_float("rate", 1e-5, 1, log=True)
    layers = trial.suggest_int("layers", 1, 6)
    units = trial.suggest_int("units", 16, 256, step=16)
    kind = trial.suggest_categorical("kind", ["a", "b", None, True])
    return (
        (x - 2.5) ** 2 / 10
        + (math.log10(rate) + 3) ** 2
        + abs(layers - 4)
        + abs(units - 96) / 64
        + {"a": 1, "b": 0, None: 2, True: 0.5}[kind]
    )


def study_by(sampler, n=40, function=objective, **options):
    study = optuna.create_study(sampler=sampler, **options)
    study.optimize(function, n_trials=n, catch=(ValueError,))
    return study


def test_one_line_of_a_study_changes_and_it_finds_more():
    ours = [study_by(srnas.optuna.Sampler(seed=seed)).best_value for seed in range(3)]
    random = [study_by(optuna.samplers.RandomSampler(seed=seed)).best_value for seed in range(3)]
    assert statistics.mean(ours) < statistics.mean(random) / 2, (ours, random)
    assert all(best < 1 for best in ours), ours


def test_a_seed_repeats_a_study():
    params = [[trial.params for trial in study_by(Sampler(seed=3), 12).trials] for _ in range(2)]
    assert params[0] == params[1]
    assert len({str(p) for p in params[0]}) == 12


def test_values_are_those_that_a_distribution_allows():
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    for distribution in [
        FloatDistribution(-1, 1),
        FloatDistribution(1e-6, 1e-1, log=True),
        FloatDistribution(0, 1, step=0.1),
        FloatDistribution(0, 1, step=0.001),
        FloatDistribution(0.1, 0.35, step=0.1),
        IntDistribution(1, 4),
        IntDistribution(0, 100_000),
        IntDistribution(1, 1000, log=True),
        IntDistribution(16, 250, step=16),
        IntDistribution(0, 100_000, step=7),
        CategoricalDistribution([None, 1, "x", 2.5, False]),
    ]:
        levels = _Levels("p", distribution, 33)
        assert 2 <= len(levels.values) <= 33
        for place, value in enumerate(levels.values):
            assert distribution._contains(distribution.to_internal_repr(value)), (distribution, value)
            assert levels.place(value) == place
        assert levels.values[0] == getattr(distribution, "low", None)
    assert _Levels("p", IntDistribution(1, 4), 33).values == [1, 2, 3, 4]
    assert _Levels("p", FloatDistribution(0, 10), 5).place(6.9) == 3
    with pytest.raises(srnas.InputError, match="255 are the most"):
        _Levels("p", CategoricalDistribution(range(256)), 33)
    with pytest.raises(srnas.InputError, match="levels=1"):
        Sampler(levels=1)


def test_what_has_no_value_and_what_only_some_trials_have():
    def sometimes(trial):
        x = trial.suggest_float("x", 0, 1)
        if trial.number % 3 == 0:
            trial.suggest_int("more", 0, 9)
        if trial.number % 4 == 1:
            raise ValueError("no")
        if trial.number % 4 == 2:
            trial.report(x, 1)
            raise optuna.TrialPruned
        return x

    study = study_by(Sampler(seed=1), 24, sometimes, direction="maximize")
    states = [trial.state for trial in study.trials]
    assert {states.count(state) for state in (FINISHED.FAIL, FINISHED.PRUNED)} == {6}
    assert study.best_value > 0.8


def test_several_directions_and_workers():
    def two(trial):
        x, n = trial.suggest_float("x", 0, 1), trial.suggest_int("n", 1, 5)
        return x * n, x + n / 5

    study = study_by(Sampler(seed=1), 25, two, directions=["minimize", "maximize"])
    assert len(study.best_trials) > 2
    study = optuna.create_study(sampler=Sampler(seed=1))
    study.optimize(objective, n_trials=30, n_jobs=4)
    assert len(study.trials) == 30 and study.best_value < 3


def test_a_stored_study_goes_on_and_is_shared(tmp_path):
    storage = f"sqlite:///{tmp_path}/one.db"
    first = study_by(Sampler(seed=1), 10, storage=storage, study_name="one")
    waiting = first.ask()
    waiting.suggest_float("x", -10, 10)
    second = optuna.load_study(study_name="one", storage=storage, sampler=Sampler(seed=2))
    second.enqueue_trial({"x": 2.5, "rate": 1e-3, "layers": 4, "units": 96, "kind": "b"})
    second.optimize(objective, n_trials=12)
    assert len(second.trials) == 23 and second.best_value == 0
    assert len({str(sorted(trial.params.items())) for trial in second.trials}) >= 22
    sampler = pickle.loads(pickle.dumps(second.sampler))
    assert len(study_by(sampler, 3).trials) == 3
    second.sampler.reseed_rng()
    second.optimize(objective, n_trials=1)


def test_a_space_that_is_measured_whole_is_no_error():
    def small(trial):
        return trial.suggest_int("a", 1, 2) + trial.suggest_categorical("b", [0, 1])

    study = study_by(Sampler(seed=1), 12, small)
    assert len(study.trials) == 12 and study.best_value == 1
    # Nothing to choose.
    assert len(study_by(Sampler(seed=1), 3, lambda trial: trial.suggest_int("a", 1, 1)).trials) == 3


def test_methods_by_name():
    assert len(study_by(Sampler(seed=1, method="evolution:population=5"), 12).trials) == 12
    with pytest.raises(srnas.InputError, match="unknown method"):
        Sampler(method="evolve")


def constrained(trial):
    x, y = trial.suggest_float("x", 0, 10), trial.suggest_float("y", 0, 10)
    over = x + y - 8
    if hasattr(trial, "set_constraint") and trial.study.user_attrs.get("by") == "trial":
        trial.set_constraint("sum of both", over)
    trial.set_user_attr("over", over)
    return -(x + 2 * y)


def feasible(study):
    return [trial for trial in study.trials if trial.user_attrs["over"] <= 0]


@pytest.mark.parametrize("by", ["trial", "function"])
def test_constraints_are_limits_of_the_search(by):
    if by == "trial" and not hasattr(optuna.trial.Trial, "set_constraint"):
        pytest.skip("Optuna 4 has constraints_func alone")

    def study_of(sampler):
        study = optuna.create_study(sampler=sampler)
        study.set_user_attr("by", by)
        study.optimize(constrained, n_trials=40)
        return study

    function = None if by == "trial" else (lambda trial: (trial.user_attrs["over"],))
    ours = study_of(Sampler(seed=1, constraints_func=function))
    best = min(trial.value for trial in feasible(ours))
    assert ours.best_trial.user_attrs["over"] <= 0 and ours.best_value == best
    # Without constraints it goes to where both are 10.
    free = optuna.create_study(sampler=Sampler(seed=1))
    free.optimize(constrained, n_trials=40)
    assert len(feasible(ours)) > 15 > len(feasible(free)), (len(feasible(ours)), len(feasible(free)))
    assert best < min(trial.value for trial in feasible(free))


def test_constraints_that_a_method_or_a_trial_has_not_are_said():
    with pytest.raises(srnas.InputError):
        Sampler(method="hyperband", constraints_func=lambda trial: (0.0,))
    study = optuna.create_study(sampler=Sampler(seed=1, constraints_func=lambda trial: (trial.params["x"] - 5,)))
    for x in [1.0, 6.0, 9.0]:
        distribution = optuna.distributions.FloatDistribution(0, 10)
        study.add_trial(optuna.trial.create_trial(params={"x": x}, distributions={"x": distribution}, value=x))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 10), n_trials=4)
    assert len(study.trials) == 7
