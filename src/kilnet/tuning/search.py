"""The search itself: proposes trials, gives them to workers, stops the weaker ones, trains the best again."""

import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from kilnet import models
from kilnet.config import DataConfig, ModelConfig
from kilnet.data.dataset import ImageDataset
from kilnet.errors import InterruptedRunError, KilnetError, StorageError, WorkerError
from kilnet.tuning.backends.jobs import Notice, TrainingJob, WorkerEvent, Workers
from kilnet.tuning.backends.shared_images import is_shared, map_images, remove_damaged, share_images
from kilnet.tuning.finalists import choose_finalists
from kilnet.tuning.halving import Standing, cohort_epochs, rungs, standings
from kilnet.tuning.search_config import SearchConfig
from kilnet.tuning.search_folder import Attempts, SearchFolder, free_up
from kilnet.tuning.strategy import propose
from kilnet.tuning.study import StudyCopy
from kilnet.tuning.summary import summarise, write_summary
from kilnet.tuning.trial import Trial

# A run is given up when its worker has died so often without an epoch in between.
MAX_CRASHES = 5
_POLL_SECONDS = 0.5


class SearchLoop:
    """Runs a search that was begun; iterate for events and notices, each on disk before it is yielded.

    What comes next follows from the configuration and from the folder alone, so that a search that was killed at any
    time resumes as if it had not been: no epoch that was finished is trained again.

    Args:
        folder: of a search that was begun.
        load: gives the images for a configuration of the data.
        workers: train the runs; closed at the end.
        disk_budget_bytes: for weights and states of trials; beyond it those of the worst are deleted.
        study: copy for Optuna's tools, if one is wanted.
        own_models: see `kilnet.models.complete`.

    Attributes:
        config: what is searched.
        trials: all proposed so far, in order.
        running: by name of the job, what the workers do: the job, and its last event.
    """

    def __init__(
        self,
        folder: SearchFolder,
        load: Callable[[DataConfig], ImageDataset],
        workers: Workers,
        disk_budget_bytes: int,
        study: StudyCopy | None = None,
        own_models: frozenset[str] = frozenset(),
    ) -> None:
        self.folder = folder
        self.config: SearchConfig = folder.config()
        self.trials: list[Trial] = []
        self.running: dict[str, tuple[TrainingJob, WorkerEvent | None]] = {}
        self._load = load
        self._workers = workers
        self._study = study
        self._study_answers = True
        self._disk_budget_bytes = disk_budget_bytes
        self._own_models = own_models
        self._marks = rungs(self.config.run.training.epochs, self.config.halving)

    def __iter__(self) -> Iterator[WorkerEvent | Notice]:
        with self.folder.locked(), _termination_as_interruption():
            self.trials = self.folder.trials(self.config)
            remove_damaged(self.folder.images_path)
            try:
                yield from self._run_trials()
                yield from self._run_finalists()
            except KeyboardInterrupt:
                raise InterruptedRunError(
                    f"{self.folder.path}: stopped; everything is saved, and the same command resumes"
                ) from None
            finally:
                self._workers.close()
                self.running.clear()
                write_summary(summarise(self.folder.path))
            shutil.rmtree(self.folder.images_path, ignore_errors=True)

    @property
    def machines(self) -> Sequence[tuple[str, int]]:
        """The machines of a cluster that take part, each with how many runs it trains; empty without a cluster."""
        return self._workers.machines

    def standings(self) -> list[Standing]:
        """Return where each cohort is, oldest first."""
        return standings(self.trials, self.config)

    def num_epochs_left(self) -> int:
        """Return how many epochs are still to be trained, if nothing fails or stops early; finalists included."""
        config, epochs = self.config, self.config.run.training.epochs
        left = sum(standing.num_epochs_left(self._marks) for standing in self.standings())
        for start in range(len(self.trials), config.num_trials, config.cohort):
            left += cohort_epochs(min(config.cohort, config.num_trials - start), self._marks)
        if left:
            return left + min(config.num_finalists, config.num_trials) * config.num_seeds * epochs
        return sum(job.until - len(self.folder.history(job.folder)) for job in self._due_finalists())

    def _run_trials(self) -> Iterator[WorkerEvent | Notice]:
        while self._propose() or self._due_trials():
            yield from self._work(self._due_trials)
        yield from self._update_study()

    def _run_finalists(self) -> Iterator[WorkerEvent | Notice]:
        if all(trial.failed for trial in self.trials):
            reason = self.trials[0].reasons[-1]
            raise WorkerError(f"{self.folder.path}: every trial failed, the first with: {reason}")
        yield from self._work(self._due_finalists)

    def _propose(self) -> bool:
        """Write the next cohort, or the rest of the newest one; returns whether there was any."""
        is_whole = len(self.trials) % self.config.cohort == 0
        if is_whole and any(standing.due for standing in self.standings()):
            return False
        proposed = propose(self.config, self.trials)
        for number, values in enumerate(proposed, len(self.trials)):
            self.folder.add_trial(number, values)
        self.trials = self.folder.trials(self.config)
        return bool(proposed)

    def _due_trials(self) -> list[TrainingJob]:
        return [self._job(trial, standing.until) for standing in self.standings() for trial in standing.due]

    def _due_finalists(self) -> list[TrainingJob]:
        jobs: list[TrainingJob] = []
        for trial in choose_finalists(self.trials, self._marks, self.config.num_finalists):
            for seed in self.config.seeds:
                folder = self.folder.run_folder(trial.number, seed)
                if self.folder.correct(folder) is None and not self.folder.attempts(folder).failed:
                    jobs.append(self._job(trial, trial.num_epochs, seed))
        return jobs

    def _job(self, trial: Trial, until: int, seed: int | None = None) -> TrainingJob:
        """Return a trial as a job; with a seed, its training as a finalist."""
        config, number = self.config.run_of(trial.values, seed, self._own_models), trial.number
        images = self.folder.images_path / f"{config.data.image_size}-{config.data.num_train}"
        if not is_shared(images):
            share_images(self._load(config.data), images)
        return TrainingJob(
            name=f"trial {number}" if seed is None else f"finalist {number}, seed {seed}",
            config=config,
            folder=self.folder.run_folder(number, seed),
            images=images,
            until=until,
            score_validation=seed is not None,
            own_models=self._own_models,
        )

    def _work(self, due: Callable[[], list[TrainingJob]]) -> Iterator[WorkerEvent | Notice]:
        """Keep the workers busy until nothing is due."""
        while True:
            for job in longest_first(due()) if self._workers.num_idle else ():
                if self._workers.num_idle and job.name not in self.running:
                    self._workers.start(job)
                    self.running[job.name] = (job, None)
            if not self.running and not due():  # else there is no machine now
                return
            event = self._workers.next_event(_POLL_SECONDS)
            if event is None:
                continue
            if isinstance(event, Notice):
                yield event
                continue
            job, _ = self.running[event.job.name]
            if event.is_end:
                del self.running[job.name]
                self._note_end(job.folder, event)
            else:
                self.running[job.name] = (job, event)
            if event.kind != "step":
                yield from self._update(job.folder)
            yield event
            if event.kind == "done":
                self._free_up()

    def _note_end(self, folder: Path, event: WorkerEvent) -> None:
        """Write what went wrong with a run, if anything."""
        if event.kind == "blocked":
            raise StorageError(event.reason)
        if event.kind in ("done", "lost"):
            return
        old, num_epochs = self.folder.attempts(folder), len(self.folder.history(folder))
        nums_epochs = (*old.num_epochs, num_epochs)
        failed = event.kind == "failed" or nums_epochs.count(num_epochs) >= MAX_CRASHES
        self.folder.write_attempts(folder, Attempts((*old.reasons, event.reason), nums_epochs, failed))

    def _update(self, folder: Path) -> Iterator[Notice]:
        """Read a trial again after an event of its run, and copy it into the study."""
        for number in range(len(self.trials)):
            if self.folder.run_folder(number) == folder:
                self.trials[number] = self.folder.trial(number, self.config)
        yield from self._update_study()

    def _update_study(self) -> Iterator[Notice]:
        if self._study is None:
            return
        # Only of cohorts that are through: until then a trial may come back for one that fails.
        stopped = {n for standing in self.standings() if not standing.due for n in standing.stopped}
        try:
            self._study.update(self.trials, stopped)
            self._study_answers = True
        except StorageError as error:
            if self._study_answers:
                yield Notice(f"warning: {error}; the search continues, and copies its trials there later")
            self._study_answers = False

    def _free_up(self) -> None:
        busy = {job.folder for job, _ in self.running.values()}
        for standing in self.standings():
            if standing.due:  # the others of the rung may train on after it
                busy |= set(map(self.folder.run_folder, standing.alive))
        ranked = choose_finalists(self.trials, self._marks, len(self.trials))
        folders = [self.folder.run_folder(trial.number) for trial in ranked]
        free_up([folder for folder in folders if folder not in busy], self._disk_budget_bytes)


def longest_first(jobs: list[TrainingJob]) -> list[TrainingJob]:
    """Sort jobs of equal numbers of epochs by the arithmetic of one, the most first; equals keep their order.

    Workers that take the longest job that is left end within a third of the shortest possible time (Graham, 1969,
    "Bounds on multiprocessing timing anomalies"): no worker is left with a large network at the end.
    """

    def operations(job: TrainingJob) -> int:
        return _operations(job.config.model.model_dump_json(), job.images, job.own_models)

    return sorted(jobs, key=operations, reverse=True)


@cache
def _operations(model_json: str, folder: Path, own_models: frozenset[str]) -> int:
    images = map_images(folder)
    try:
        config = ModelConfig.model_validate_json(model_json)
        model = models.build(config, images.image_shape, len(images.classes), own_models)
    except KilnetError:
        return 0  # a worker will say why
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(torch.zeros(1, *images.image_shape))
    return int(counter.get_total_flops()) * len(images.train)


@contextmanager
def _termination_as_interruption() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
