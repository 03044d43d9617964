"""The configuration of a search: what is varied, how, and what stays the same."""

import tomllib
from collections.abc import Mapping, Sequence, Set
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kilnet import models
from kilnet.config import Count, RunConfig
from kilnet.errors import ConfigError, KilnetError
from kilnet.recipes.built_in import TUTORIAL_SPACE
from kilnet.recipes.changes import change
from kilnet.training.resolution import refuse_other_sizes
from kilnet.tuning.space import Space, Values, flatten, read_space

StrategyName = Literal["grid", "random", "effects", "tpe"]
NUM_TRIALS = 30  # of all but the grid, where the user does not say


class SearchConfig(BaseModel):
    """Everything that decides which trials there are and how they end.

    Attributes:
        strategy: "grid" tries every combination, "random" draws them; "effects" and "tpe" learn from the trials before,
            see `kilnet.tuning.strategy`.
        halving: train in rungs, after each of which only the best third is trained further.
        num_trials: of the grid its number of cells.
        cohort: trials that are proposed together and compared with each other in the rungs.
        rungs: after how many epochs they are compared, the last being all; () for a search of an earlier version.
        num_finalists: the best of the trials, which are trained again.
        num_seeds: with how many seeds; 0 takes the best trial as it is.
        space: dotted key to list or range; see `Space.parse`.
        run: what every trial has in common; its seed is the search's too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: StrategyName
    halving: bool
    num_trials: Count
    cohort: Count
    rungs: tuple[float, ...] = ()
    num_finalists: Count
    num_seeds: Annotated[int, Field(ge=0)]
    space: dict[str, Any]
    run: RunConfig

    def parsed_space(self) -> Space:
        """Return the space, ready to draw from."""
        return Space.parse(self.space)

    @property
    def seeds(self) -> range:
        """The seeds of the finalists, without the search's own, which has helped to choose them."""
        return range(self.run.seed + 1, self.run.seed + 1 + self.num_seeds)

    def changed(self, values: Values) -> RunConfig:
        """Return the configuration of a trial as the values give it, to be read: its network is not looked up.

        Raises:
            ConfigError: the values are not allowed.
        """
        return change(self.run, values, "the space")

    def run_of(
        self, values: Values, seed: int | None = None, own_models: Set[str] = frozenset()
    ) -> RunConfig:
        """Return the configuration of a trial, every option of its network written out.

        Args:
            values: of the searched keys.
            seed: in place of the search's own.
            own_models: see `kilnet.models.complete`.

        Raises:
            ConfigError, ModelError: the values cannot be trained with.
        """
        config = self.changed(values)
        config = config.model_copy(update={"model": models.complete(config.model, own_models)})
        return config if seed is None else config.model_copy(update={"seed": seed})

    def to_toml(self) -> str:
        """Return the configuration as TOML, in which tables come last: ranges after lists."""
        return tomli_w.dumps(self.model_dump(exclude_none=True) | {"run": self.run.tree()})

    def as_written(self) -> Self:
        """Return what is read back from `to_toml`: with its order of the space, and lists in place of tuples."""
        return self.model_validate(tomllib.loads(self.to_toml()))


def search_config(
    run: RunConfig,
    space: Mapping[str, Any] | str | Sequence[str] | None,
    *,
    strategy: StrategyName | None,
    halving: bool,
    trials: int | None,
    finalists: int,
    seeds: int,
) -> SearchConfig:
    """Return the configuration of a search as a caller asks for it; see `kilnet.tune`.

    Raises:
        ConfigError: the space cannot be searched, or the choices do not go together.
    """
    if space is None and run.model.name.lower() != "confignet":
        raise ConfigError(
            f"there is no space for {run.model.name}; give a `space`, such as optimizer.lr=1e-4..1e-2:log"
        )
    space = TUTORIAL_SPACE if space is None else space
    tree = dict(space) if isinstance(space, Mapping) else read_space(space)
    parsed = Space.parse(tree)
    is_endless = parsed.endless is not None
    if strategy is None:
        strategy = "tpe" if is_endless else "grid" if trials is None else "effects"
    if strategy == "effects" and parsed.endless is not None:
        raise ConfigError(
            f"{parsed.endless} is a range, and `strategy='effects'` takes lists; choose `strategy='tpe'`"
        )
    if strategy == "grid":
        if trials is not None:
            raise ConfigError(
                f"`trials={trials}`: a grid tries every combination; choose `strategy='effects'` or `strategy='random'`"
            )
        num_trials = len(parsed.cells())
    else:
        num_trials = NUM_TRIALS if trials is None else trials
        num_trials = num_trials if is_endless else min(num_trials, len(parsed.cells()))
    try:
        return SearchConfig(
            strategy=strategy,
            halving=halving,
            num_trials=num_trials,
            cohort=num_trials,
            num_finalists=finalists,
            num_seeds=seeds,
            space=dict(flatten(tree)),
            run=run,
        ).as_written()
    except ValidationError as error:
        first = error.errors()[0]
        name, problem = str(first["loc"][0]).removeprefix("num_"), str(first["msg"])
        raise ConfigError(f"`{name}={first['input']!r}`: {problem[0].lower()}{problem[1:]}") from None


def check(
    config: SearchConfig,
    image_shape: tuple[int, int, int],
    num_classes: int,
    own_models: Set[str] = frozenset(),
) -> None:
    """Refuse a search that holds a combination which cannot be trained.

    Every value of a list is tried, and both ends of a range; of more than 512 combinations only a part.

    Args:
        image_shape: (channels, height, width), for spaces that leave `data.image_size` alone.
        num_classes: of the images.
        own_models: see `kilnet.models.complete`.

    Raises:
        ConfigError: the combination, and what is wrong with it.
    """
    space = config.parsed_space()
    built = set()
    for values in space.corners():
        try:
            run = config.run_of(values, own_models=own_models)
            side = run.data.image_size if "data.image_size" in space.keys else None
            shape = (image_shape[0], side, side) if side else image_shape
            key = (run.model.model_dump_json(), shape, run.training.low_resolution)
            if key not in built:
                network = models.build(run.model, shape, num_classes, own_models)
                refuse_other_sizes(network, run, shape, num_classes)
                built.add(key)
        except KilnetError as error:
            raise ConfigError(f"the space holds {describe(values)}: {error}") from None


def describe(values: Values) -> str:
    """Return values as people write them, `c1 48, c2 96`, with the last part of each key."""
    return ", ".join(f"{key.rpartition('.')[2]} {shown(value)}" for key, value in values.items())


def shown(value: Any) -> str:
    """Return one value as text, floats to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
