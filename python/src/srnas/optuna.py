"""A sampler for studies of Optuna: `optuna.create_study(sampler=srnas.optuna.Sampler())`."""

import math
import random
import threading
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

try:
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
    from optuna.samplers import BaseSampler, RandomSampler
    from optuna.search_space import IntersectionSearchSpace
    from optuna.study import Study, StudyDirection
    from optuna.trial import FrozenTrial, TrialState
except ImportError as error:
    raise ImportError("srnas.optuna needs Optuna: pip install 'optuna>=4'") from error

from .errors import InputError, SearchOver
from .search import LocalTrial, Search
from .space import Choice, Space

LEVELS = 33
"""A number has so many levels."""
MOST = 255
"""No decision has more choices."""


class _Levels:
    """The values that a parameter may be given, and which of them one is that it was given."""

    def __init__(self, name: str, distribution: BaseDistribution, levels: int) -> None:
        self._distribution = distribution
        self.ordered = not isinstance(distribution, CategoricalDistribution)
        if isinstance(distribution, CategoricalDistribution):
            self.values: "List[Any]" = list(distribution.choices)
            if len(self.values) > MOST:
                raise InputError(f"parameter `{name}` has {len(self.values)} choices, and {MOST} are the most")
            return
        if not isinstance(distribution, (FloatDistribution, IntDistribution)):
            raise InputError(f"parameter `{name}` is a {type(distribution).__name__}, which srnas does not know")
        self._log = distribution.log
        low, high, step = distribution.low, distribution.high, distribution.step
        steps = None if step is None else int(math.floor((high - low) / step + 1e-9))
        if step is not None and steps is not None and not self._log and steps < max(levels, 2):
            self.values = [min(low + i * step, high) for i in range(steps + 1)]
        else:
            ends = (math.log(low), math.log(high)) if self._log else (low, high)
            places = [ends[0] + (ends[1] - ends[0]) * i / (levels - 1) for i in range(levels)]
            values = [math.exp(place) if self._log else place for place in places]
            if step is not None and steps is not None:
                # Not that last step beyond which there is none.
                values = [low + step * min(round((value - low) / step), steps) for value in values]
            values[0] = low
            values = [min(max(value, low), high) for value in values]
            if isinstance(distribution, IntDistribution):
                values = [int(round(value)) for value in values]
            self.values = sorted(set(values))

    def place(self, value: Any) -> int:
        """Which of them is nearest to a value."""
        if isinstance(self._distribution, CategoricalDistribution):
            return int(self._distribution.to_internal_repr(value))
        scale: "Callable[[float], float]" = math.log if self._log else float
        return min(range(len(self.values)), key=lambda i: abs(scale(self.values[i]) - scale(value)))


class Sampler(BaseSampler):
    """Lets srnas propose the trials of a study: what is measured next is what its predictor, or `method`, would measure.

    The parameters that every finished trial has are proposed together; others (conditional ones, and all of the first trial) are drawn
    by `independent`, random by default. Numbers are proposed on `levels` levels. Pruned trials count with the last value that they
    reported, failed ones as infeasible. Threads (`n_jobs`) may share it, and processes may share a study's storage.

    A trial's constraints (`trial.set_constraint` of Optuna 5, or what `constraints_func` says of a finished trial) are limits of the search:
    a value above 0 breaks one. A finished trial that lacks one which others have counts as infeasible.
    """

    def __init__(
        self,
        *,
        seed: Optional[int] = None,
        method: Optional[str] = None,
        levels: int = LEVELS,
        independent: Optional[BaseSampler] = None,
        constraints_func: "Optional[Callable[[FrozenTrial], Sequence[float]]]" = None,
    ) -> None:
        if isinstance(levels, bool) or not isinstance(levels, int) or not 2 <= levels <= MOST:
            raise InputError(f"levels={levels!r}: 2 to {MOST}")
        if method is not None:
            # A name that is none is said now, and not by every trial.
            require = [] if constraints_func is None else ["constraint0 <= 0"]
            Search({"a": [0, 1]}, minimise="value", require=require, method=method)
        self._seed = random.randrange(1 << 32) if seed is None else seed
        self._method, self._levels = method, levels
        self._independent = independent or RandomSampler(seed=seed)
        self._constraints_func = constraints_func
        self._intersection = IntersectionSearchSpace(include_pruned=True)
        self._lock = threading.Lock()
        self._core: Optional[_Core] = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> "Dict[str, BaseDistribution]":
        with self._lock:
            space = self._intersection.calculate(study)
        return {name: distribution for name, distribution in space.items() if not distribution.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: "Dict[str, BaseDistribution]"
    ) -> "Dict[str, Any]":
        if not search_space:
            return {}
        with self._lock:
            constraints = _constraints(study)
            if self._core is None or not self._core.is_of(study, search_space, constraints):
                self._core = _Core(study, search_space, constraints, self._levels, self._method, self._seed)
            self._core.hear(study, trial.number)
            return self._core.ask(trial.number)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._independent.before_trial(study, trial)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: "Optional[Sequence[float]]"
    ) -> None:
        self._independent.after_trial(study, trial, state, values)
        if self._constraints_func is not None:
            # Where Optuna's own samplers keep them, so that best_trial and the dashboard know them.
            from optuna.samplers._base import _process_constraints_after_trial

            _process_constraints_after_trial(self._constraints_func, study, trial, state)

    def reseed_rng(self) -> None:
        self._independent.reseed_rng()
        with self._lock:
            self._seed, self._core = random.randrange(1 << 32), None

    def __getstate__(self) -> "Dict[str, Any]":
        return {**self.__dict__, "_lock": None, "_core": None}

    def __setstate__(self, state: "Mapping[str, Any]") -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()


def _constraints_of(trial: FrozenTrial) -> "Dict[str, float]":
    """A trial's constraints by name, those of `constraints_func` by number; above 0 is broken."""
    values = {str(i): value for i, value in enumerate(trial.system_attrs.get("constraints") or ())}
    for key, value in trial.system_attrs.items():
        if key.startswith("constraints:"):
            values[key[len("constraints:") :]] = value
    return values


def _constraints(study: Study) -> "List[str]":
    """The names of the constraints that finished trials have."""
    trials = study.get_trials(deepcopy=False)
    return sorted({name for trial in trials if trial.state.is_finished() for name in _constraints_of(trial)})


class _Core:
    """A search by srnas over the parameters of a study, within its constraints."""

    def __init__(
        self,
        study: Study,
        space: "Dict[str, BaseDistribution]",
        constraints: "List[str]",
        levels: int,
        method: Optional[str],
        seed: int,
    ) -> None:
        self._study, self._directions, self._space = study.study_name, list(study.directions), dict(space)
        self._levels = {name: _Levels(name, distribution, levels) for name, distribution in space.items()}
        names = [f"value{i}" for i in range(len(self._directions))]
        least = [direction == StudyDirection.MINIMIZE for direction in self._directions]
        self._metrics = names
        # Their names are anybody's: not every one is that of a metric.
        self._constraints = {name: f"constraint{i}" for i, name in enumerate(constraints)}
        decisions = {
            name: Choice(list(range(len(levels.values))), ordered=levels.ordered)
            for name, levels in self._levels.items()
        }
        self._search = Search(
            Space(decisions, name="study"),
            minimise=[name for name, less in zip(names, least) if less],
            maximise=[name for name, less in zip(names, least) if not less],
            require=[f"{metric} <= 0" for metric in self._constraints.values()],
            method=method,
            seed=seed,
        )
        self._heard: "set[int]" = set()
        self._asked: "Dict[int, LocalTrial]" = {}

    def is_of(self, study: Study, space: "Dict[str, BaseDistribution]", constraints: "List[str]") -> bool:
        """Whether it is for these parameters and constraints of this study."""
        mine = (self._study, self._directions, self._space, list(self._constraints))
        return mine == (study.study_name, list(study.directions), space, constraints)

    def hear(self, study: Study, me: int) -> None:
        """Takes in what has ended since, in the order in which it did, and what others measure now."""
        trials = study.get_trials(deepcopy=False)
        ended = [trial for trial in trials if trial.state.is_finished() and trial.number not in self._heard]
        for trial in sorted(ended, key=lambda trial: (trial.datetime_complete is None, trial.datetime_complete)):
            self._heard.add(trial.number)
            self._hear(trial)
        for trial in trials:
            unknown = trial.number not in self._asked and trial.number != me
            if trial.state == TrialState.RUNNING and unknown and self._has(trial):
                asked = self._search._asked(self._architecture(trial))
                if self._search._native.begun(asked):
                    self._asked[trial.number] = LocalTrial(self._search, asked)

    def ask(self, number: int) -> "Dict[str, Any]":
        """What a trial is to be; nothing where that is not known now."""
        try:
            asked = self._search.ask()
        except SearchOver:
            return {}
        if asked is None:
            return {}
        self._asked[number] = asked
        return {name: self._levels[name].values[place] for name, place in asked.architecture.items()}

    def _hear(self, trial: FrozenTrial) -> None:
        asked = self._asked.pop(trial.number, None)
        if not self._has(trial):
            if asked is not None:
                asked.give_up()
            return
        architecture = self._architecture(trial)
        if asked is not None and asked.architecture != architecture:
            # Somebody had it otherwise.
            asked.give_up()
        values, constraints = self._values(trial), _constraints_of(trial)
        lacks = [name for name in self._constraints if name not in constraints]
        if values is None:
            self._search.tell(architecture, infeasible="it was pruned" if trial.state == TrialState.PRUNED else "it failed")
        elif lacks:
            self._search.tell(architecture, infeasible=f"it does not say the constraint {lacks[0]}")
        else:
            limits = {metric: constraints[name] for name, metric in self._constraints.items()}
            self._search.tell(architecture, {**dict(zip(self._metrics, values)), **limits})

    def _values(self, trial: FrozenTrial) -> "Optional[List[float]]":
        if trial.state == TrialState.COMPLETE:
            return list(trial.values)
        if trial.state == TrialState.PRUNED and trial.last_step is not None and len(self._metrics) == 1:
            last = trial.intermediate_values[trial.last_step]
            return None if math.isnan(last) else [last]
        return None

    def _has(self, trial: FrozenTrial) -> bool:
        return all(name in trial.params and trial.distributions[name] == d for name, d in self._space.items())

    def _architecture(self, trial: FrozenTrial) -> "Dict[str, int]":
        return {name: levels.place(trial.params[name]) for name, levels in self._levels.items()}


__all__: "Tuple[str, ...]" = ("Sampler",)
