"""Cross-validation: a run, and a network for each fold of its training images, which it has not seen."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kilnet.config import RunConfig
from kilnet.data.sources import Data
from kilnet.errors import ConfigError, InputError, InterruptedRunError, WorkerError
from kilnet.hardware import available_threads
from kilnet.runs.cross_validation import CrossValidated, record
from kilnet.runs.folds import CrossValidation
from kilnet.runs.run import Run
from kilnet.terminal.progress import ProgressDisplay
from kilnet.training.follower import refuse_torchrun
from kilnet.training.run_folder import RunFolder
from kilnet.tuning.allocation import SECONDS_PER_SPEED
from kilnet.tuning.backends.cluster import ClusterWorkers, workers_of
from kilnet.tuning.backends.jobs import Notice, SpeedJob, TrainingJob, WorkerEvent, Workers
from kilnet.tuning.backends.processes import LocalWorkers
from kilnet.tuning.backends.shared_images import is_shared, remove_damaged, share_images
from kilnet.verbs.train import train

_ATTEMPTS = 2  # of a fold whose worker died
_SECONDS_TO_WAIT = 0.5
_NO_BUDGET = "a budget is one machine's time; give `epochs`, or train the folds without a cluster"


def cross_validate(
    data: Data = "cifar10",
    model: str | None = None,
    *,
    folds: int = 5,
    workers: int | None = None,
    recipe: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    epochs: int | None = None,
    budget: str | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    device: str | None = None,
    progress: bool = True,
    cluster: str | None = None,
    wait: str | None = None,
) -> CrossValidated:
    """Train a run, and once more for each part of its training images, without that part; or resume that.

    Each training image is then predicted by a network that has not seen it, nor an image of its group. The epoch
    that is kept is chosen on the run's own validation images, and its test split is not read. `kilnet.inspect` checks
    labels by the same networks.

    Args:
        data, model, recipe, settings, epochs, budget, seed, out, device, progress: as for `train`. With a budget each
            fold has as much time again.
        folds: how many parts.
        workers: processes that train folds at the same time; by default one for each core, and one with a budget or
            another device than the CPU. On a cluster, of each machine, and by default as measured there.
        cluster, wait: train the folds on the machines of a Ray cluster, as `tune` does its trials.

    Raises:
        DataError: fewer than two folds, or more than images or groups.
        KilnetError: see `kilnet.errors`.
    """
    refuse_torchrun("cross-validation")
    if workers is not None and workers < 1:
        raise InputError(f"`workers={workers}`: must be at least 1")
    if folds < 2:
        raise InputError(f"`folds={folds}`: must be at least 2")
    team = cluster_of_folds(cluster, wait, folds, budget)
    options: dict[str, Any] = {"recipe": recipe, "settings": settings, "epochs": epochs, "budget": budget}
    options |= {"seed": seed, "out": out, "device": device, "progress": progress}
    run = train(data, model, **options)
    return validated(run, folds, data, workers, progress, team)


def cluster_of_folds(
    cluster: str | None, wait: str | None, folds: int | None, budget: str | None
) -> ClusterWorkers | None:
    """Return the workers of a cluster for folds, before anything is trained; None without a cluster.

    Raises:
        ConfigError: nobody answers there, or what was asked for is nothing for a cluster.
    """
    if cluster is not None and folds is None:
        raise ConfigError(
            f"`cluster={cluster!r}`: one network trains on this machine; a cluster trains `folds`"
        )
    if cluster is not None and budget is not None:
        raise ConfigError(f"`cluster={cluster!r}`: {_NO_BUDGET}")
    return workers_of(cluster, wait)


def validated(
    run: Run,
    num_folds: int,
    data: Data | None = None,
    workers: int | None = None,
    progress: bool = True,
    team: ClusterWorkers | None = None,
) -> CrossValidated:
    """Train the folds of a run, as far as they are not there, and record what they predict; see `cross_validate`.

    Args:
        team: of a cluster that trains them; it is closed at the end.
    """
    with ProgressDisplay(enabled=progress) as display:
        dataset = run.own_data(None if isinstance(data, str | Path) else data)
        folds = CrossValidation(dataset, run.config, run.files, num_folds, run.own_models)
        is_alone = run.config.budget.seconds or run.config.hardware.device != "cpu"
        num_workers = min(num_folds, workers or (1 if is_alone else available_threads()))
        try:
            if team:
                _on_cluster(folds, run, num_folds, team, workers, display)
            elif num_workers == 1:
                _one_by_one(folds, num_folds, run.config, display)
            else:
                num_threads = max(1, available_threads() // num_workers)
                local = LocalWorkers(num_workers, num_threads, _shared(run, num_folds) / "logs")
                _side_by_side(folds, run, num_folds, local, num_threads, display)
        except (KeyboardInterrupt, InterruptedRunError):
            raise InterruptedRunError("stopped; the folds are saved; the same again resumes them") from None
        return record(run.files, dataset, folds.fold_of, folds.logits())


def _one_by_one(folds: CrossValidation, num_folds: int, config: RunConfig, display: ProgressDisplay) -> None:
    num_epochs = None if config.budget.seconds else config.training.epochs
    for fold in folds:
        if not fold.session.loop.finished:
            display.say(f"fold {fold.number} of {num_folds}: trains without {len(fold.indices):,} images")
        display.follow(fold.session, num_epochs)


def _on_cluster(
    folds: CrossValidation,
    run: Run,
    num_folds: int,
    team: ClusterWorkers,
    workers: int | None,
    display: ProgressDisplay,
) -> None:
    """Train folds on machines each of which has measured how many it trains at once, with how many threads."""
    if run.config.budget.seconds:
        raise ConfigError(f"`cluster`: {_NO_BUDGET}")
    if not _due(run, num_folds):
        return
    dataset = folds.without(1)
    job = SpeedJob(
        name="speed",
        config=_with_free_threads(run.config),
        image_shape=dataset.image_shape,
        num_classes=len(dataset.classes),
        seconds=SECONDS_PER_SPEED,
        own_models=run.own_models,
    )
    try:
        allocation = team.allocate(workers, job, _shared(run, num_folds) / "logs")
        display.detail(str(allocation))
        _side_by_side(folds, run, num_folds, team, 0, display)
    finally:
        team.close()


def _side_by_side(
    folds: CrossValidation,
    run: Run,
    num_folds: int,
    team: Workers,
    num_threads: int,
    display: ProgressDisplay,
) -> None:
    """Train folds in several processes, each on its part of the cores; 0 threads are those of each machine."""
    shared, due = _shared(run, num_folds), _due(run, num_folds)
    if not due:
        return
    at_once = min(team.num_idle, len(due))  # there may be no machine yet
    display.say(f"{len(due)} of {num_folds} folds to train" + (f", {at_once} at a time" if at_once else ""))
    attempts = dict.fromkeys(due, 0)
    num_epochs = run.config.training.epochs
    done = dict.fromkeys(due, 0)
    remove_damaged(shared)
    try:
        running: dict[str, int] = {}
        while due or running:
            while due and team.num_idle:
                number = due.pop(0)
                job = _job(folds, run, number, num_folds, num_threads, shared / str(number))
                running[job.name] = number
                team.start(job)
            event = team.next_event(_SECONDS_TO_WAIT)
            if isinstance(event, Notice):
                display.say(event.line)
            if not isinstance(event, WorkerEvent):
                continue
            number = running[event.job.name]
            if event.record is not None:
                done[number] = event.record.epoch
                display.advance("folds, epochs", sum(done.values()), num_epochs * len(done))
            if event.is_end:
                del running[event.job.name]
                attempts[number] += event.kind != "lost"
                if event.kind == "lost" or (event.kind == "crashed" and attempts[number] < _ATTEMPTS):
                    due.append(number)
                else:
                    _refuse_failure(event)
    finally:
        team.close()
    shutil.rmtree(shared, ignore_errors=True)


def _shared(run: Run, num_folds: int) -> Path:
    return run.files.folds_file(num_folds, "images")


def _due(run: Run, num_folds: int) -> list[int]:
    return [number for number in range(1, num_folds + 1) if not _is_over(run.files.fold(number, num_folds))]


def _with_free_threads(config: RunConfig) -> RunConfig:
    hardware = config.hardware.model_copy(update={"threads": 0})
    return config.model_copy(update={"hardware": hardware})


def _job(
    folds: CrossValidation, run: Run, number: int, num_folds: int, num_threads: int, images: Path
) -> TrainingJob:
    if not is_shared(images):
        share_images(folds.without(number), images)
    files = run.files.fold(number, num_folds)
    return TrainingJob(
        name=f"fold {number} of {num_folds}",
        config=folds.config_of(files, num_threads),
        folder=files.path,
        images=images,
        until=run.config.training.epochs,
        own_models=run.own_models,
    )


def _is_over(files: RunFolder) -> bool:
    return False if not files.exists else files.config().training.epochs <= len(files.history())


def _refuse_failure(event: WorkerEvent) -> None:
    if event.kind != "done":
        raise WorkerError(f"{event.job.name}: {event.reason}; the same again resumes the folds")
