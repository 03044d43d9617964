"""Searching for the best configuration, and what can be done with a search."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch
from pydantic import ValidationError

from kilnet import hardware, models
from kilnet.config import DataConfig, RunConfig
from kilnet.data.dataset import ImageDataset
from kilnet.data.sources import Data, in_memory, load_dataset
from kilnet.errors import ConfigError, RunFolderError
from kilnet.metrics import Evaluation
from kilnet.recipes.built_in import TUTORIAL_SPACE
from kilnet.runs.evaluation_files import read_evaluations
from kilnet.terminal.progress import ProgressDisplay
from kilnet.terminal.search_progress import SearchDisplay
from kilnet.training.run_folder import RunFolder
from kilnet.tuning.backends.processes import LocalWorkers, Report
from kilnet.tuning.crew import choose_crew
from kilnet.tuning.halving import MAX_DECISIONS, REDUCTION
from kilnet.tuning.mirror import STUDY_FILE, Mirror, sqlite_url
from kilnet.tuning.opening import free_search_folder, open_search
from kilnet.tuning.search import Notice, SearchLoop
from kilnet.tuning.search_config import SearchConfig, StrategyName, check
from kilnet.tuning.space import Space, flatten, read_space
from kilnet.tuning.summary import Summary, summarise
from kilnet.verbs import finetune as finetuning
from kilnet.verbs.evaluate import evaluate
from kilnet.verbs.request import requested

NUM_TRIALS = 30  # of random and tpe, where the user does not say


class SearchOptions(TypedDict, total=False):
    """How to search; all of it has defaults.

    Attributes:
        strategy: "grid" (the default for spaces of lists), "random" or "tpe" (the default otherwise).
        halving: train in rungs, after each of which the best third goes on; on by default.
        trials: for random and tpe, 30 by default.
        finalists: how many of the best are trained again; 3 by default.
        seeds: how often each; 3 by default, 0 takes the best trial as it is.
        workers: processes that train at the same time; by default as measured.
        model, recipe, settings, epochs, seed, device: what all trials have in common, as for `train`.
        out: search folder; by default a free name in `searches/`, or the search of this configuration there.
        storage: URL of an Optuna storage for the trials; by default study.sqlite3 in the folder.
        disk_gb: for weights and states of trials, in 10^9 bytes, 10 by default; beyond it those of the worst are
            deleted.
        progress: whether to show progress on standard error; on by default.
    """

    strategy: StrategyName | None
    halving: bool
    trials: int | None
    finalists: int
    seeds: int
    workers: int | None
    model: str | None
    recipe: str | Path | None
    settings: Mapping[str, Any] | None
    epochs: int | None
    seed: int | None
    device: str | None
    out: str | Path | None
    storage: str | None
    disk_gb: float
    progress: bool


class HyperSearch:
    """A search for the best configuration, ready to run: `optimize`, or iterate for what happens; `tune` does it all.

    Making one checks the whole space and begins the search's folder, or goes on with the one that is there. Everything
    is written down before it is yielded, so that iteration may end at any moment, and the same search goes on later.

    Args:
        data: as for `train`.
        space: dotted key to list or range, see `kilnet.tuning.space.Space.parse`; or the name of a space that
            comes with Kilnet, a TOML file, or `key=values` words. By default ConfigNet's grid in the tutorial.
        options: see `SearchOptions`.

    Attributes:
        folder: of the search.
        config: what is searched, complete.
        crew: workers and their threads, with what was measured.
        dataset: what the trials train on.
        own_models: networks that the caller has named, see `kilnet.models.complete`.

    Raises:
        KilnetError: see `kilnet.errors`.
    """

    def __init__(
        self,
        data: Data = "cifar10",
        space: Mapping[str, Any] | str | Sequence[str] | None = None,
        **options: Unpack[SearchOptions],
    ) -> None:
        names = ("model", "recipe", "settings", "epochs", "seed", "device")
        base = requested(data, *(options.get(name) for name in names))  # type: ignore[arg-type]
        if base.budget.seconds:
            raise ConfigError(
                "a budget goes with train and finetune; a search is bounded by --epochs and --trials"
            )
        asked = _search_config(base, space, options)
        named = options.get("model"), (options.get("settings") or {}).get("model.name")
        self.own_models = models.own_models(*named, *_written_names(space))
        num_workers = options.get("workers")
        if num_workers is not None and num_workers < 1:
            raise ConfigError(f"--workers {num_workers}: at least 1 is needed")
        if not isinstance(data, str | Path) and any(key.startswith("data.") for key in asked.space):
            raise ConfigError(
                "the space: data.* needs the name of a data set or a folder, not images in memory"
            )
        with ProgressDisplay(enabled=options.get("progress", True)) as display:
            self.dataset = in_memory(data, base.data, display.advance)
            display.warn(self.dataset.warnings)
            shape, num_classes = self.dataset.image_shape, len(self.dataset.classes)
            check(asked, shape, num_classes, self.own_models)
            path = Path(options.get("out") or free_search_folder(Path("searches"), self._name(asked), asked))
            storage = options.get("storage")
            mirror = (
                Mirror(storage, path, asked.parsed_space()) if storage else None
            )  # before anything is written
            self._folder = open_search(path, asked, self.dataset, lambda new: self._decide(new, num_workers))
            self.config = config = self._folder.config()
            self.crew = choose_crew(num_workers, self._first(config), shape, num_classes, self.own_models)
            display.say(
                f"{path}: {config.strategy} search, {config.num_trials} trials{', halving' if config.halving else ''}; "
                f"{self.crew}"
            )
        mirror = mirror or Mirror(sqlite_url(path / STUDY_FILE), path, config.parsed_space())
        workers = LocalWorkers(self.crew.num_workers, self.crew.num_threads, self._folder.logs_path)
        budget_bytes = round(options.get("disk_gb", 10.0) * 1e9)
        self._named = isinstance(data, str | Path)
        self._progress = options.get("progress", True)
        self.loop = SearchLoop(self._folder, self._load, workers, mirror, budget_bytes, self.own_models)

    @property
    def folder(self) -> Path:
        """The folder of the search."""
        return self._folder.path

    def __iter__(self) -> Iterator[Report | Notice]:
        return iter(self.loop)

    def optimize(self) -> Summary:
        """Search to the end, showing how far that is, and return what was found; the test split is not read."""
        with SearchDisplay(self.loop, enabled=self._progress) as display:
            display.follow()
        return self.summary()

    def summary(self) -> Summary:
        """Return what has been found so far."""
        return summarise(self.folder)

    @property
    def data(self) -> ImageDataset | None:
        """The images, where they cannot be loaded by their name."""
        return None if self._named else self.dataset

    def _load(self, config: DataConfig) -> ImageDataset:
        if config == self.config.run.data or not self._named:
            return self.dataset
        return load_dataset(config)

    def _name(self, config: SearchConfig) -> str:
        name = f"{self.dataset.name}-{config.run.model.name}"
        return re.sub(r"[^\w.-]+", "-", name).strip("-.")

    def _first(self, config: SearchConfig) -> RunConfig:
        """Return the trial that stands for all where something is measured."""
        return config.run_of(config.parsed_space().corners()[0], own_models=self.own_models)

    def _decide(self, config: SearchConfig, num_workers: int | None) -> SearchConfig:
        """Settle precision, layout and threads for all trials at once, so that they can be compared and repeated."""
        shape, num_classes = self.dataset.image_shape, len(self.dataset.classes)
        first = self._first(config)
        network = models.build(first.model, shape, num_classes, self.own_models)
        images = torch.rand(first.training.batch_size, *shape)
        decided = hardware.choose(first.hardware, network, first.model, images, num_classes).record()
        decided = decided.model_copy(update={"threads": first.hardware.threads})
        trial = first.model_copy(update={"hardware": decided})
        crew = choose_crew(num_workers, trial, shape, num_classes, self.own_models)
        decided = decided.model_copy(update={"threads": crew.num_threads})
        cohort = config.cohort
        if config.strategy == "tpe":
            cohort = REDUCTION**MAX_DECISIONS if config.halving else crew.num_workers
        run = config.run.model_copy(update={"hardware": decided})
        return config.model_copy(update={"run": run, "cohort": cohort})


@dataclass(frozen=True, eq=False)
class Search:
    """A finished search.

    Attributes:
        folder: of the search.
        summary: its trials, finalists and winner.
        winner: the run that stands for the best configuration, fine-tuned if that was asked for.
        evaluation: of that run on the test split.
    """

    folder: Path
    summary: Summary
    winner: Path
    evaluation: Evaluation


def tune(
    data: Data = "cifar10",
    space: Mapping[str, Any] | str | Sequence[str] | None = None,
    *,
    finetune: bool = False,
    **options: Unpack[SearchOptions],
) -> Search:
    """Search for the best configuration, or go on with a search that was interrupted; the same call again goes on.

    Trials are chosen on the validation split. The best are trained again with other seeds, the winner of those is
    fine-tuned if wanted, and evaluated on the test split, once.

    Args:
        data, space, options: as for `HyperSearch`.
        finetune: whether to fine-tune the winner before the test, see `kilnet.finetune`.

    Raises:
        KilnetError: see `kilnet.errors`; nothing that was trained is lost.
    """
    progress = options.get("progress", True)
    search = HyperSearch(data, space, **options)
    summary = search.optimize()
    winner = summary.winner_folder
    if winner is None:
        raise RunFolderError(f"{search.folder}: the search has no winner")
    name = RunFolder(winner).config().model.name
    model = name if name in search.own_models else None
    if finetune:
        winner = finetuning.finetune(search.folder, data=search.data, model=model, progress=progress).folder
    read = read_evaluations(RunFolder(winner)).get("test")  # by the same call before
    evaluation = (
        Evaluation.from_dict(read)
        if read
        else evaluate(winner, "test", data=search.data, model=model, progress=progress)
    )
    return Search(search.folder, summary, winner, evaluation)


def _search_config(
    base: RunConfig, space: Mapping[str, Any] | str | Sequence[str] | None, options: SearchOptions
) -> SearchConfig:
    if space is None and base.model.name.lower() != "confignet":
        raise ConfigError(
            f"there is no space for {base.model.name}; for example --space optimizer.lr=1e-4..1e-2:log"
        )
    words = [TUTORIAL_SPACE] if space is None else [space] if isinstance(space, str) else space
    tree = dict(words) if isinstance(words, Mapping) else read_space(words)
    parsed = Space.parse(tree)
    trials, strategy = options.get("trials"), options.get("strategy")
    if strategy is None:
        strategy = "grid" if parsed.endless is None and trials is None else "tpe"
    if strategy == "grid":
        if trials is not None:
            raise ConfigError("--trials goes with --strategy random or tpe; a grid tries every combination")
        num_trials = len(parsed.cells())
    else:
        num_trials = NUM_TRIALS if trials is None else trials
        if parsed.endless is None:
            num_trials = min(num_trials, len(parsed.cells()))
    try:
        return SearchConfig(
            strategy=strategy,
            halving=options.get("halving", True),
            num_trials=num_trials,
            cohort=num_trials,
            num_finalists=options.get("finalists", 3),
            num_seeds=options.get("seeds", 3),
            space=dict(flatten(tree)),
            run=base,
        ).as_written()
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).removeprefix("num_")
        raise ConfigError(
            f"--{option} {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}"
        ) from None


def _written_names(space: Mapping[str, Any] | Sequence[str] | None) -> list[str]:
    """Return the networks that the caller wrote into a space, not those of a file it is read from."""
    if not isinstance(space, Mapping):
        space = read_space([word for word in space or () if "=" in word])
    names = dict(flatten(space)).get("model.name", ())
    names = names.get("values", ()) if isinstance(names, Mapping) else names
    return [name for name in names if isinstance(name, str)]
