"""Cross-validation: a run, and a network for each fold of its training images, which it has not seen."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kilnet.config import RunConfig
from kilnet.data.sources import Data
from kilnet.errors import InputError, InterruptedRunError, WorkerError
from kilnet.hardware import available_threads
from kilnet.runs.cross_validation import CrossValidated, record
from kilnet.runs.folds import CrossValidation
from kilnet.runs.run import Run
from kilnet.terminal.progress import ProgressDisplay
from kilnet.training.follower import refuse_torchrun
from kilnet.training.run_folder import RunFolder
from kilnet.tuning.backends.jobs import TrainingJob, WorkerEvent
from kilnet.tuning.backends.processes import LocalWorkers
from kilnet.tuning.backends.shared_images import is_shared, remove_damaged, share_images
from kilnet.verbs.train import train

_ATTEMPTS = 2  # of a fold whose worker died
_SECONDS_TO_WAIT = 0.5


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
            another device than the CPU.

    Raises:
        DataError: fewer than two folds, or more than images or groups.
        KilnetError: see `kilnet.errors`.
    """
    refuse_torchrun("cross-validation")
    if workers is not None and workers < 1:
        raise InputError(f"`workers={workers}`: must be at least 1")
    if folds < 2:
        raise InputError(f"`folds={folds}`: must be at least 2")
    options: dict[str, Any] = {"recipe": recipe, "settings": settings, "epochs": epochs, "budget": budget}
    options |= {"seed": seed, "out": out, "device": device, "progress": progress}
    run = train(data, model, **options)
    return validated(run, folds, data, workers, progress)


def validated(
    run: Run, num_folds: int, data: Data | None = None, workers: int | None = None, progress: bool = True
) -> CrossValidated:
    """Train the folds of a run, as far as they are not there, and record what they predict; see `cross_validate`."""
    with ProgressDisplay(enabled=progress) as display:
        dataset = run.own_data(None if isinstance(data, str | Path) else data)
        folds = CrossValidation(dataset, run.config, run.files, num_folds, run.own_models)
        is_alone = run.config.budget.seconds or run.config.hardware.device != "cpu"
        num_workers = min(num_folds, workers or (1 if is_alone else available_threads()))
        try:
            if num_workers == 1:
                _one_by_one(folds, num_folds, run.config, display)
            else:
                _side_by_side(folds, run, num_folds, num_workers, display)
        except (KeyboardInterrupt, InterruptedRunError):
            raise InterruptedRunError("stopped; the folds are saved; the same again resumes them") from None
        return record(run.files, dataset, folds.fold_of, folds.logits())


def _one_by_one(folds: CrossValidation, num_folds: int, config: RunConfig, display: ProgressDisplay) -> None:
    num_epochs = None if config.budget.seconds else config.training.epochs
    for fold in folds:
        if not fold.session.loop.finished:
            display.say(f"fold {fold.number} of {num_folds}: trains without {len(fold.indices):,} images")
        display.follow(fold.session, num_epochs)


def _side_by_side(
    folds: CrossValidation, run: Run, num_folds: int, num_workers: int, display: ProgressDisplay
) -> None:
    """Train folds in several processes, each on its part of the cores."""
    num_threads = max(1, available_threads() // num_workers)
    shared = run.files.folds_file(num_folds, "images")
    due = [number for number in range(1, num_folds + 1) if not _is_over(run.files.fold(number, num_folds))]
    if not due:
        return
    display.say(f"{len(due)} of {num_folds} folds to train, {min(num_workers, len(due))} at a time")
    attempts = dict.fromkeys(due, 0)
    num_epochs = run.config.training.epochs
    done = dict.fromkeys(due, 0)
    remove_damaged(shared)
    team = LocalWorkers(num_workers, num_threads, shared / "logs")
    try:
        running: dict[str, int] = {}
        while due or running:
            while due and team.num_idle:
                number = due.pop(0)
                job = _job(folds, run, number, num_folds, num_threads, shared / str(number))
                running[job.name] = number
                team.start(job)
            event = team.next_event(_SECONDS_TO_WAIT)
            if event is None:
                continue
            number = running[event.job.name]
            if event.record is not None:
                done[number] = event.record.epoch
                display.advance("folds, epochs", sum(done.values()), num_epochs * len(done))
            if event.is_end:
                del running[event.job.name]
                attempts[number] += 1
                if event.kind == "crashed" and attempts[number] < _ATTEMPTS:
                    due.append(number)
                else:
                    _refuse_failure(event)
    finally:
        team.close()
    shutil.rmtree(shared, ignore_errors=True)


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
