"""What a search may vary: a list or a range for any key of the run configuration."""

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial as OptunaTrial

from kilnet.errors import ConfigError
from kilnet.recipes.built_in import find
from kilnet.recipes.reading import parse_toml, parse_value, read_toml

Values = dict[str, Any]

_DECIDES_IMAGES = (
    "source",
    "dir",
    "root",
    "columns",
    "group",
    "near_duplicates",
    "channels",
    "split_seed",
    "validation_fraction",
    "test_fraction",
    "on_bad_image",
)
_SAME_IMAGES = "all trials must be validated on the same images; give it with `settings`"
_REFUSED = {
    **dict.fromkeys((f"data.{key}" for key in _DECIDES_IMAGES), _SAME_IMAGES),
    "seed": "the best seed is only the luckiest; `seeds` says with how many the finalists are trained again",
    "training.epochs": "trials are compared after the same epochs; give `epochs`",
    "training.initial_weights": "every trial begins with random weights; fine-tune the winner instead",
    "parent": "every trial begins with random weights; fine-tune the winner instead",
    "hardware.device": "all trials use the same device; give `device`",
    "hardware.threads": "threads are divided among the workers; give it with `settings`",
}


@dataclass(frozen=True)
class Dimension:
    """One key and what it may be.

    Attributes:
        key: dotted name in the run configuration.
        distribution: its values.
        when: it is only there while each of these keys has one of the values.
    """

    key: str
    distribution: CategoricalDistribution | IntDistribution | FloatDistribution
    when: Mapping[str, tuple[Any, ...]]

    def is_active(self, values: Values) -> bool:
        """Whether the conditions hold for the keys chosen so far."""
        return all(values.get(key) in allowed for key, allowed in self.when.items())

    def listed(self) -> tuple[Any, ...] | None:
        """Return all values in order, or None where there are infinitely many."""
        match self.distribution:
            case CategoricalDistribution(choices=choices):
                return choices
            case IntDistribution(low=low, high=high, step=step):
                return tuple(range(low, high + 1, step))
            case FloatDistribution(low=low, high=high, step=float(step)):
                return _steps(low, high, step)
        return None

    def extremes(self) -> tuple[Any, ...]:
        """Return every value of a list, the ends of a range."""
        if isinstance(self.distribution, CategoricalDistribution):
            return self.distribution.choices
        return tuple(dict.fromkeys((self.distribution.low, self.distribution.high)))


@dataclass(frozen=True)
class Space:
    """The dimensions of a search, in the order in which they were given.

    A dimension with conditions comes after those that it depends on.
    """

    dimensions: tuple[Dimension, ...]

    @classmethod
    def parse(cls, tree: Mapping[str, Any]) -> "Space":
        """Read a space from nested or dotted keys.

        A list holds the values themselves. A table `{low, high}` is a range, of integers if both ends are;
        `step` makes it countable, `log` spreads it evenly over orders of magnitude. `when`, a table from keys
        to values or lists of values, in a range or beside `values`, makes the key depend on others.

        Raises:
            ConfigError: a list is empty or repeats a value, a range is none, a condition names no earlier key,
                or the key cannot be searched over.
        """
        dimensions: dict[str, Dimension] = {}
        for key, leaf in flatten(tree):
            if key in _REFUSED:
                raise _wrong(f"{key}: {_REFUSED[key]}")
            if key in dimensions:
                raise _wrong(f"{key} is there twice")
            dimensions[key] = _dimension(key, leaf, dimensions)
        if not dimensions:
            raise ConfigError("the space is empty; for example model.c1=48,96")
        return cls(tuple(dimensions.values()))

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that are searched."""
        return tuple(dimension.key for dimension in self.dimensions)

    @property
    def endless(self) -> str | None:
        """The first key with infinitely many values, or None where the space is a grid."""
        return next((d.key for d in self.dimensions if d.listed() is None), None)

    def cells(self) -> list[Values]:
        """Return every combination once, the last key changing fastest.

        Raises:
            ConfigError: a range without a step has infinitely many values.
        """
        if self.endless is not None:
            raise _wrong(
                f"{self.endless}: a range without a step has infinitely many values; "
                "give a step or a list; or choose `strategy='random'` or `strategy='tpe'`"
            )
        return list(self._combinations([dimension.listed() or () for dimension in self.dimensions]))

    def corners(self, limit: int = 512) -> list[Values]:
        """Return combinations of every listed value and the ends of ranges.

        All of them, or, where there are more than `limit`, that many at random, in which each value of a key comes
        equally often.
        """
        columns = [dimension.extremes() for dimension in self.dimensions]
        corners = list(itertools.islice(self._combinations(columns), limit + 1))
        if len(corners) <= limit:
            return corners
        chance = random.Random(0)  # noqa: S311 no secret
        shuffled = [[column[index % len(column)] for index in range(limit)] for column in columns]
        for values in shuffled:
            chance.shuffle(values)
        rows = zip(*shuffled, strict=True)
        return [next(self._combinations([(value,) for value in row])) for row in rows]

    def suggest(self, trial: OptunaTrial) -> Values:
        """Let an Optuna sampler choose."""
        values: Values = {}
        for dimension in self.dimensions:
            if dimension.is_active(values):
                values[dimension.key] = _suggest(trial, dimension)
        return values

    def distributions(self, values: Values) -> dict[str, BaseDistribution]:
        """Return the distribution behind each of a trial's values, as Optuna keeps it."""
        return {d.key: d.distribution for d in self.dimensions if d.key in values}

    def _combinations(self, columns: Sequence[Sequence[Any]]) -> Iterator[Values]:
        def grow(values: Values, index: int) -> Iterator[Values]:
            if index == len(self.dimensions):
                yield values
                return
            dimension = self.dimensions[index]
            if not dimension.is_active(values):
                yield from grow(values, index + 1)
                return
            for value in columns[index]:
                yield from grow({**values, dimension.key: value}, index + 1)

        yield from grow({}, 0)


def read_space(words: str | Sequence[str]) -> dict[str, Any]:
    """Read words that say what to vary: TOML files, names of Kilnet's own spaces, and `key=values`; later ones win.

    Values are `48,96`, a range `16..64`, with a step `16..64:16`, or on a logarithmic scale `1e-4..1e-2:log`.

    Returns:
        Dotted key to list or range, as `Space.parse` takes it.

    Raises:
        ConfigError: a file cannot be read, or a word is neither.
    """
    tree: dict[str, Any] = {}
    for word in _listed(words):
        key, equals, text = word.partition("=")
        if equals:
            tree[key.strip()] = _parse_values(key.strip(), text.strip())
        else:
            path = find(word, "space")
            if not path.exists():
                raise ConfigError(f"`space={word!r}`: no such file, and no key=value1,value2")
            tree |= dict(flatten(read_toml(path)))
    return tree


def models_in(space: Mapping[str, Any] | str | Sequence[str]) -> list[str]:
    """Return the networks that the caller wrote into a space, not those of a file it is read from."""
    if not isinstance(space, Mapping):
        space = read_space([word for word in _listed(space) if "=" in word])
    names = dict(flatten(space)).get("model.name", ())
    names = names.get("values", ()) if isinstance(names, Mapping) else names
    return [name for name in names if isinstance(name, str)]


def _listed(words: str | Sequence[str]) -> Sequence[str]:
    return [words] if isinstance(words, str) else words


def _suggest(trial: OptunaTrial, dimension: Dimension) -> Any:
    key, domain = dimension.key, dimension.distribution
    if isinstance(domain, CategoricalDistribution):
        return trial.suggest_categorical(key, domain.choices)
    if isinstance(domain, IntDistribution):
        return trial.suggest_int(key, domain.low, domain.high, step=domain.step, log=domain.log)
    value = trial.suggest_float(key, domain.low, domain.high, step=domain.step, log=domain.log)
    # A multiple of the step, as it is listed, without the rounding error of the sum.
    return min(dimension.listed() or (value,), key=lambda listed: abs(listed - value))


def _parse_values(key: str, text: str) -> Any:
    low, dots, rest = text.partition("..")
    if dots:
        high, _, scale = rest.partition(":")
        leaf = {"low": parse_value(low), "high": parse_value(high)}
        if scale == "log":
            leaf["log"] = True
        elif scale:
            leaf["step"] = parse_value(scale)
        return leaf
    try:
        return parse_toml(f"values = [{text}]")["values"]
    except ValueError:
        words = [word.strip() for word in text.split(",")]
        if not all(words):
            raise ConfigError(f"`space={f'{key}={text}'!r}`: a value is missing") from None
        return [parse_value(word) for word in words]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each dotted key with its list or range."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value and not value.keys() & {"low", "high", "values"}:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _wrong(problem: str) -> ConfigError:
    return ConfigError(f"the space: {problem}")


def _dimension(key: str, leaf: Any, earlier: Mapping[str, Dimension]) -> Dimension:
    if isinstance(leaf, Mapping):
        when = _conditions(key, leaf.get("when", {}), earlier)
        if "values" in leaf:
            if unknown := leaf.keys() - {"values", "when"}:
                raise _wrong(f"{key}: values do not go with {', '.join(sorted(unknown))}")
            return Dimension(key, _choices(key, leaf["values"]), when)
        return Dimension(key, _range(key, leaf), when)
    return Dimension(key, _choices(key, leaf), {})


def _choices(key: str, values: Any) -> CategoricalDistribution:
    if not isinstance(values, list | tuple):
        raise _wrong(f"{key} = {values!r}: give a list or a range; give one value with `settings`")
    if not values:
        raise _wrong(f"{key}: the list is empty")
    for index, value in enumerate(values):
        if not isinstance(value, bool | int | float | str):
            raise _wrong(f"{key}: {value!r} is not a number, a word or true or false")
        if any(value == other and type(value) is type(other) for other in values[:index]):
            raise _wrong(f"{key}: {value!r} is listed twice")
    return CategoricalDistribution(tuple(values))


def _range(key: str, leaf: Mapping[str, Any]) -> IntDistribution | FloatDistribution:
    if unknown := leaf.keys() - {"low", "high", "step", "log", "when"}:
        raise _wrong(f"{key}: unknown {', '.join(sorted(unknown))}; a range has low, high, step, log")
    low, high, step, log = leaf.get("low"), leaf.get("high"), leaf.get("step"), leaf.get("log", False)
    numbers = [number for number in (low, high, step) if number is not None]
    is_number = all(
        isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n) for n in numbers
    )
    if low is None or high is None or not is_number or not isinstance(log, bool):
        raise _wrong(f"{key} = {dict(leaf)}: a range needs two numbers, low and high")
    if low >= high:
        raise _wrong(f"{key}: low {low} is not below high {high}")
    if log and (low <= 0 or step is not None):
        raise _wrong(f"{key}: a logarithmic range starts above 0 and has no step")
    if step is not None and step <= 0:
        raise _wrong(f"{key}: step {step} is not above 0")
    # The end is moved to the last step, which Optuna would do with a warning of its own.
    if all(isinstance(number, int) for number in numbers):
        step = step or 1
        return IntDistribution(low, high - (high - low) % step, log=log, step=step)
    top = _steps(low, high, step)[-1] if step else float(high)
    return FloatDistribution(float(low), top, log=log, step=float(step) if step else None)


def _steps(low: float, high: float, step: float) -> tuple[float, ...]:
    """Return low, low + step, ... up to high, as decimals: 0.1 + 0.2 is 0.3."""
    start, end, stride = (Decimal(str(number)) for number in (low, high, step))
    return tuple(float(start + index * stride) for index in range(int((end - start) / stride) + 1))


def _conditions(key: str, when: Any, earlier: Mapping[str, Dimension]) -> dict[str, tuple[Any, ...]]:
    if not isinstance(when, Mapping):
        raise _wrong(f"{key}: when = {when!r}: give a table from keys to values")
    conditions = {}
    for parent, allowed in flatten(when):
        if parent not in earlier:
            raise _wrong(f"{key}: when names {parent}, which is not an earlier key of the space")
        conditions[parent] = tuple(allowed) if isinstance(allowed, list | tuple) else (allowed,)
        known = earlier[parent].listed()
        for value in conditions[parent]:
            if known is not None and value not in known:
                raise _wrong(f"{key}: when names {parent} = {value!r}, which it never is")
    return conditions
