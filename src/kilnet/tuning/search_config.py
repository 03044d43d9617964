"""The configuration of a search: what is varied, how, and what stays the same."""

import tomllib
from collections.abc import Set
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field

from kilnet import models
from kilnet.config import Count, RunConfig, change
from kilnet.errors import ConfigError, KilnetError
from kilnet.training.resolution import refuse_other_sizes
from kilnet.tuning.space import Space, Values

StrategyName = Literal["grid", "random", "tpe"]


class SearchConfig(BaseModel):
    """Everything that decides which trials there are and how they end.

    Attributes:
        strategy: "grid" tries every combination, "random" draws them, "tpe" learns from the trials before.
        halving: train in rungs, after each of which only the best third goes on.
        num_trials: for random and tpe; the grid's number of cells.
        cohort: trials that are proposed together and compared with each other in the rungs.
        num_finalists: the best of the trials, which are trained again.
        num_seeds: how often; 0 takes the best trial as it is.
        space: dotted key to list or range; see `Space.parse`.
        run: what every trial has in common; its seed is the search's too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: StrategyName
    halving: bool
    num_trials: Count
    cohort: Count
    num_finalists: Count
    num_seeds: Annotated[int, Field(ge=0)]
    space: dict[str, Any]
    run: RunConfig

    def parsed_space(self) -> Space:
        """Return the space, ready to draw from."""
        return Space.parse(self.space)

    @property
    def seeds(self) -> range:
        """The seeds of the finalists: the search's own has helped to choose them and is left out."""
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
        return tomli_w.dumps(self.model_dump(exclude_none=True))

    def as_written(self) -> Self:
        """Return what is read back from `to_toml`: with its order of the space, and lists in place of tuples."""
        return self.model_validate(tomllib.loads(self.to_toml()))


def check(
    config: SearchConfig,
    image_shape: tuple[int, int, int],
    num_classes: int,
    own_models: Set[str] = frozenset(),
) -> None:
    """Refuse a search that holds a combination which cannot be trained.

    Lists are tried out in full, ranges at their ends; of more than 512 combinations a part.

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
    """Return values as people write them: `c1 48, c2 96`; the last part of each key is enough."""
    return ", ".join(f"{key.rpartition('.')[2]} {shown(value)}" for key, value in values.items())


def shown(value: Any) -> str:
    """Return one value as text, floats to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
