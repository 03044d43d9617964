"""Searching for the best configuration."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack

from kilnet import hardware, models
from kilnet.config import DataConfig
from kilnet.data.dataset import ImageDataset
from kilnet.data.sources import Data, in_memory, load_dataset
from kilnet.errors import ConfigError, RunFolderError, StorageError
from kilnet.metrics.classification import Evaluation
from kilnet.metrics.notebook import facts_html, interval
from kilnet.runs.listing import is_search
from kilnet.runs.run import Run
from kilnet.runs.wording import counted
from kilnet.storage import given_path
from kilnet.terminal.progress import ProgressDisplay
from kilnet.terminal.search_progress import SearchDisplay
from kilnet.training.balance import advice
from kilnet.training.follower import refuse_torchrun
from kilnet.tuning.backends.cluster import workers_of
from kilnet.tuning.backends.jobs import Notice, WorkerEvent
from kilnet.tuning.backends.processes import LocalWorkers
from kilnet.tuning.search import SearchLoop
from kilnet.tuning.search_config import SearchConfig, StrategyName, check, search_config
from kilnet.tuning.search_folder import free_search_folder, open_search
from kilnet.tuning.space import models_in, read_space
from kilnet.tuning.study import StudyCopy
from kilnet.tuning.summary import Summary, summarise
from kilnet.verbs import finetune as finetuning
from kilnet.verbs.aim import with_aim
from kilnet.verbs.evaluate import evaluate
from kilnet.verbs.keys import with_whole_keys
from kilnet.verbs.request import folder_name, requested


class SearchOptions(TypedDict, total=False):
    """How to search; all of it has defaults.

    Attributes:
        strategy: "grid" tries all combinations of lists, the default; of these "effects" tries `trials`, the default
            where that is given, and "random" any. "tpe" is for ranges, and their default.
        halving: train in rungs, after each of which only the best third is trained further; on by default.
        trials: for all but the grid, 30 by default.
        finalists: how many of the best are trained again; 3 by default.
        seeds: with how many seeds each; 3 by default, 0 takes the best trial as it is.
        workers: processes that train at the same time; by default as measured. On a cluster, of each machine.
        cluster: train on the machines of a Ray cluster: host and port of its head, or "auto" for the one that this
            machine is in, or else one of this machine alone.
        wait: how long to wait when no machine of the cluster is there, such as "10m"; by default for ever.
        gpus_per_trial: on a cluster, how much of a GPU each trial has: 0.5 trains two at a time on each; 1 by default.
        optimise: as for `train`; with "macro-recall" trials are compared by it.
        model, recipe, settings, epochs, seed, device: what all trials have in common, as for `train`.
        out: search folder; by default a free name in `searches/`, or the search of this configuration there.
        storage: URL of an Optuna storage that gets a copy of the trials.
        dashboard: whether study.sqlite3 in the folder gets one, for optuna-dashboard.
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
    cluster: str | None
    wait: str | None
    gpus_per_trial: float | None
    optimise: str | None
    model: str | None
    recipe: str | Path | None
    settings: Mapping[str, Any] | None
    epochs: int | None
    seed: int | None
    device: str | None
    out: str | Path | None
    storage: str | None
    dashboard: bool
    disk_gb: float
    progress: bool


class HyperSearch:
    """A search for the best configuration, ready to run: `optimize`, or iterate for events; `tune` does it all.

    Making one checks the whole space and begins the search's folder, or resumes the one that is there. Everything is
    on disk before it is yielded, so that iteration may end at any time, and the same search resumes later.

    Args:
        data: as for `train`.
        space: dotted key to list or range, see `kilnet.tuning.space.Space.parse`; or the name of a space that
            comes with Kilnet, a TOML file, or `key=values` words. By default ConfigNet's grid in the tutorial.
        options: see `SearchOptions`.

    Attributes:
        folder: of the search.
        config: what is searched, complete.
        allocation: workers and their threads, with what was measured.
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
        refuse_torchrun("a search")
        names = ("model", "recipe", "settings", "epochs", "seed", "device")
        options["settings"] = with_aim(options.get("settings"), options.get("optimise"))
        base = requested(data, *(options.get(name) for name in names))  # type: ignore[arg-type]
        self._named, self._progress = isinstance(data, str | Path), options.get("progress", True)
        workers, storage = options.get("workers"), options.get("storage")
        asked = search_config(
            base,
            _with_whole_keys(space),
            strategy=options.get("strategy"),
            halving=options.get("halving", True),
            trials=options.get("trials"),
            finalists=options.get("finalists", 3),
            seeds=options.get("seeds", 3),
        )
        _refuse_clashes(asked, options, self._named)
        named = options.get("model"), (options.get("settings") or {}).get("model.name")
        self.own_models = models.own_models(*named, *models_in(space or ()))
        cluster = workers_of(options.get("cluster"), options.get("wait"), options.get("gpus_per_trial"))
        with ProgressDisplay(enabled=self._progress) as display:
            self.dataset = in_memory(data, base.data, display.advance)
            if self.dataset.corrections is not None:
                display.say(f"corrections: {self.dataset.corrections.told}")
            display.warn(self.dataset.warnings)
            if line := advice(self.dataset, base.training):
                display.warn([line])
            check(asked, self.dataset.image_shape, len(self.dataset.classes), self.own_models)
            name = folder_name(self.dataset, base)
            place = options.get("out") or _free_folder(name, asked, self.dataset.fingerprint, display)
            path = given_path(place)
            study = None
            if storage or options.get("dashboard"):
                study = StudyCopy(path, asked.parsed_space(), storage)
            if study and storage:
                try:
                    study.connect()  # before anything is written
                except StorageError as error:
                    if not is_search(path):
                        raise
                    display.say(f"warning: {error}; the search resumes, and copies its trials there later")
            try:
                folder, self.allocation = open_search(
                    path, asked, workers, self.dataset, self.own_models, cluster.allocate if cluster else None
                )
            except BaseException:
                if cluster:
                    cluster.close()
                raise
            self.config = folder.config()
            halving = ", halving" if self.config.halving else ""
            display.say(
                f"{path}: {self.config.strategy} search, {counted(self.config.num_trials, 'trial')}{halving}, "
                f"{counted(self.allocation.num_workers, 'worker')}"
            )
            display.detail(str(self.allocation))
        self.loop = SearchLoop(
            folder,
            self._load,
            cluster
            or LocalWorkers(self.allocation.num_workers, self.allocation.num_threads, folder.logs_path),
            disk_budget_bytes=round(options.get("disk_gb", 10.0) * 1e9),
            study=study,
            own_models=self.own_models,
        )

    @property
    def folder(self) -> Path:
        """The folder of the search."""
        return self.loop.folder.path

    def __iter__(self) -> Iterator[WorkerEvent | Notice]:
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

    def __repr__(self) -> str:
        return f"Search({str(self.folder)!r}, winner {str(self.winner)!r})"

    def _repr_html_(self) -> str:
        best = next(row for row in self.summary.trials if row.number == self.summary.winner)
        facts = {
            "folder": str(self.folder),
            "winner": f"trial {best.number} of {len(self.summary.trials)}, {self.winner}",
            **{key: str(value) for key, value in best.values.items()},
        }
        tied = [str(final.number) for final in self.summary.finals[1:] if final.is_tied]
        facts |= {"tied with it": ", ".join(tied)} if tied else {}
        test = f"{self.evaluation.accuracy:.1%}, {interval(*self.evaluation.accuracy_interval)}"
        return facts_html(f"search {self.folder.name}", facts | {"test accuracy": test})


def tune(
    data: Data = "cifar10",
    space: Mapping[str, Any] | str | Sequence[str] | None = None,
    *,
    finetune: bool = False,
    **options: Unpack[SearchOptions],
) -> Search:
    """Search for the best configuration; after an interruption the same call resumes.

    Trials are compared on the validation split. The best are trained again with other seeds; the winner of those is
    fine-tuned if that is asked for, and evaluated on the test split, once.

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
    run = Run(winner)
    run.own_models = search.own_models
    if finetune:
        name = run.config.model.name
        model = name if name in search.own_models else None
        run = finetuning.finetune(search.folder, data=search.data, model=model, progress=progress)
    if read := run.evaluations().get("test"):  # by the same call before
        evaluation = Evaluation.from_dict(read)
    else:
        evaluation = evaluate(run, "test", data=search.data, progress=progress)
    return Search(search.folder, summary, run.folder, evaluation)


def _with_whole_keys(space: Mapping[str, Any] | str | Sequence[str] | None) -> Mapping[str, Any] | None:
    if space is None:
        return None
    return with_whole_keys(space if isinstance(space, Mapping) else read_space(space), "the space")


def _free_folder(name: str, asked: SearchConfig, fingerprint: str, display: ProgressDisplay) -> Path:
    folder, begun = (free_search_folder(Path("searches"), name, asked, data) for data in (fingerprint, None))
    if begun != folder and not is_search(folder):
        display.say(f"{begun} was begun with other images; a new search begins")
    return folder


def _refuse_clashes(asked: SearchConfig, options: SearchOptions, named: bool) -> None:
    if asked.run.budget.seconds:
        raise ConfigError("a budget is for training and fine-tuning; `epochs` and `trials` bound a search")
    workers = options.get("workers")
    if workers is not None and workers < 1:
        raise ConfigError(f"`workers={workers}`: at least 1 is needed")
    if options.get("storage") and options.get("dashboard"):
        raise ConfigError("`storage` and `dashboard` both ask for a copy of the trials; give one of them")
    share = options.get("gpus_per_trial") if options.get("cluster") else None
    if share and asked.run.hardware.device == "auto" and hardware.resolve_device("auto") == "cpu":
        raise ConfigError(
            f"`gpus_per_trial={share}`: precision and layout are measured where a search begins, and this machine "
            "has no GPU; begin on one that has"
        )
    if not named and any(key.startswith("data.") for key in asked.space):
        raise ConfigError("the space: data.* needs the name of a data set or a folder, not images in memory")
