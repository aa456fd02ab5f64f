"""Search spaces written in Python, or in a file as the program `srnas` reads it."""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

from . import _native
from .errors import InputError

Value = Union[str, int, float, bool]
"""A choice: a word, a number or a truth value."""
Condition = Mapping[str, Union[Value, Sequence[Value]]]
"""Decisions by name, each with the choice or the choices that fit."""


@dataclass(frozen=True)
class Choice:
    """A decision with the choices that are listed."""

    choices: Sequence[Value]
    ordered: bool = False
    """Whether they stand in an order, as sizes do."""
    active_if: Optional[Condition] = None
    """When it counts: all of these must fit."""


@dataclass(frozen=True)
class Range:
    """A decision that is a number between two ends, both among its levels."""

    low: Union[int, float]
    high: Union[int, float]
    log: bool = False
    """Whether levels are equally far apart in the logarithm."""
    step: Union[int, float, None] = None
    levels: Optional[int] = None
    """How many, 2 to 255; by default as many, between 4 and 12, as give the shortest numbers."""
    ordered: bool = True
    active_if: Optional[Condition] = None


Decision = Union[Choice, Range, Sequence[Value]]
"""What may be decided: a list is a choice of what is in it."""
Spaced = Union["Space", Mapping[str, Decision], str, "os.PathLike[str]"]
"""What a search takes for a space: decisions by name, a file (TOML, or a ConfigSpace in JSON), or a name that srnas knows."""


class Space:
    """Decisions and rules. `Space.load` reads a file; `to_toml` is what to write into one for the program `srnas`."""

    def __init__(
        self,
        decisions: Mapping[str, Decision],
        *,
        require: Union[str, Iterable[str]] = (),
        forbid: Iterable[Condition] = (),
        interchangeable: Sequence[Sequence[Union[str, Sequence[str]]]] = (),
        name: str = "space",
    ) -> None:
        """`require` are formulas such as `"width1 * width2 <= 128"`; `forbid` are what must not be together, such as
        `{"rate": 0.3, "momentum": 0.9}`; `interchangeable` are decisions, or groups of them, whose exchange changes nothing."""
        if not isinstance(decisions, Mapping) or not decisions:
            raise InputError("a space is made of decisions by name: {'width': [8, 16], 'lr': srnas.Range(1e-4, 1e-1, log=True)}")
        formulas = [require] if isinstance(require, str) else list(require)
        self._native = _native.Space.read(_toml(name, decisions, formulas, list(forbid), interchangeable), name)

    @classmethod
    def load(cls, path: "str | os.PathLike[str]") -> "Space":
        """The space in a file, or the one of a name that srnas knows, such as `nb201`."""
        text = os.fspath(path)
        return cls._of(_native.Space.load(text) if Path(text).is_file() else _native.Space.named(text))

    @classmethod
    def of(cls, space: Spaced) -> "Space":
        """Whatever a search takes for a space, as one."""
        if isinstance(space, cls):
            return space
        if isinstance(space, Mapping):
            return cls(space)
        if isinstance(space, (str, os.PathLike)):
            return cls.load(space)
        raise InputError(f"a space is a dict of decisions, srnas.Space, a file or a name, not {type(space).__name__}")

    @classmethod
    def _of(cls, native: "_native.Space") -> "Space":
        space = cls.__new__(cls)
        space._native = native
        return space

    @property
    def name(self) -> str:
        """Its name."""
        return self._native.name

    @property
    def decisions(self) -> "Dict[str, List[Value]]":
        """The choices of each decision, by name; of a range its levels."""
        return {name: choices for name, choices in json.loads(self._native.decisions())}

    @property
    def size(self) -> Optional[int]:
        """The number of combinations of choices, where it can be counted."""
        return self._native.size

    @property
    def notice(self) -> Optional[str]:
        """What was read otherwise than it is written, in a line for a person."""
        return self._native.notice

    def to_toml(self) -> str:
        """As a file says it; a ConfigSpace is JSON. A space that is known by its name has no file."""
        return self._native.definition

    def __repr__(self) -> str:
        return f"Space({self.name}: {len(self.decisions)} decisions)"

    def __reduce__(self) -> Any:
        text, name = self._native.definition, self.name
        return (_again, (text, name))


def _again(text: str, name: str) -> Space:
    if not text:
        return Space.load(name)
    if text.lstrip().startswith("{"):
        raise InputError("a space of a ConfigSpace's file cannot be pickled: load it again")
    return Space._of(_native.Space.read(text, name))


def _toml(
    name: str,
    decisions: Mapping[str, Decision],
    require: Sequence[str],
    forbid: Sequence[Condition],
    interchangeable: Sequence[Sequence[Union[str, Sequence[str]]]],
) -> str:
    lines = [f"name = {_value(name, 'name')}"]
    if interchangeable:
        lines.append(f"interchangeable = {_value([list(groups) for groups in interchangeable], 'interchangeable')}")
    for decision, given in decisions.items():
        lines += ["", "[[decisions]]", f"name = {_value(str(decision), 'name')}"]
        lines += [f"{key} = {text}" for key, text in _decision(str(decision), given)]
    for formula in require:
        lines += ["", "[[constraints]]", f"require = {_value(formula, 'require')}"]
    for pattern in forbid:
        lines += ["", "[[constraints]]", f"forbid = {_table(pattern, 'forbid')}"]
    return "\n".join(lines) + "\n"


def _decision(name: str, given: Decision) -> "Iterable[Tuple[str, str]]":
    if isinstance(given, Range):
        yield "range", _value([given.low, given.high], name)
        if given.log:
            yield "log", "true"
        if given.step is not None:
            yield "step", _value(given.step, name)
        if given.levels is not None:
            yield "levels", _value(given.levels, name)
        if not given.ordered:
            yield "ordered", "false"
        active_if = given.active_if
    else:
        if isinstance(given, (str, bytes)) or not isinstance(given, (Choice, Sequence, range)):
            kind = type(given).__name__
            raise InputError(f"decision `{name}` is a list of choices, srnas.Choice or srnas.Range, not a {kind}")
        choice = given if isinstance(given, Choice) else Choice(given)
        yield "choices", _value(list(choice.choices), name)
        if choice.ordered:
            yield "ordered", "true"
        active_if = choice.active_if
    if active_if:
        yield "active_if", _table(active_if, f"active_if of `{name}`")


def _table(condition: Condition, where: str) -> str:
    if not isinstance(condition, Mapping):
        raise InputError(f"{where}: choices by the names of decisions, such as {{'layers': 2}}, not {condition!r}")
    of = (f"{_value(str(name), where)} = {_value(choice, where)}" for name, choice in condition.items())
    return "{ " + ", ".join(of) + " }"


def _value(value: Any, where: str) -> str:
    """A value as TOML has it."""
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        # A number of numpy.
        value = value.item()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"`{where}`: {value} is no choice")
        return repr(value)
    if isinstance(value, str):
        # What JSON escapes TOML does, but for one character.
        return json.dumps(value).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(item, where) for item in value) + "]"
    raise InputError(f"`{where}`: {value!r} is neither a number, a word nor a truth value")
