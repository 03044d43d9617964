"""The search itself: proposes trials, gives them to workers, stops the worse, trains the best again."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kilnet.config import DataConfig, RunConfig
from kilnet.data.dataset import ImageDataset
from kilnet.errors import InterruptedRunError, StorageError, WorkerError
from kilnet.tuning.backends.processes import Job, Report, Workers
from kilnet.tuning.cost import longest_first
from kilnet.tuning.finalists import choose_finalists
from kilnet.tuning.halving import Standing, cohort_epochs, rungs, standings
from kilnet.tuning.mirror import Mirror
from kilnet.tuning.search_config import SearchConfig
from kilnet.tuning.search_folder import Attempts, SearchFolder, free_up
from kilnet.tuning.shared_images import is_shared, share_images
from kilnet.tuning.strategy import propose
from kilnet.tuning.summary import summarise, write_report
from kilnet.tuning.trial import Trial

# A run whose worker dies so often without an epoch in between is given up.
MAX_CRASHES = 5
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Notice:
    """A line for the user about what the search does."""

    line: str


class SearchLoop:
    """Runs a search that was begun; iterate for reports and notices, each written down before it is yielded.

    What comes next follows from the configuration and from what the folder holds alone, so that a search which was
    killed at any moment goes on as if it had not been: no epoch that was finished is trained again.

    Args:
        folder: of a search that was begun.
        load: gives the images for a configuration of the data.
        workers: who trains; closed at the end.
        mirror: told of every trial.
        disk_budget_bytes: for weights and states of trials; beyond it those of the worst are deleted.
        own_models: see `kilnet.models.complete`.

    Attributes:
        config: what is searched.
        trials: all proposed so far, in order.
        running: by name of the job, what the workers do: the job, and the last that was heard of it.
    """

    def __init__(
        self,
        folder: SearchFolder,
        load: Callable[[DataConfig], ImageDataset],
        workers: Workers,
        mirror: Mirror,
        disk_budget_bytes: int,
        own_models: frozenset[str] = frozenset(),
    ) -> None:
        self.folder = folder
        self.config: SearchConfig = folder.config()
        self.trials: list[Trial] = []
        self.running: dict[str, tuple[Job, Report | None]] = {}
        self._load = load
        self._workers = workers
        self._mirror = mirror
        self._mirror_answers = True
        self._disk_budget_bytes = disk_budget_bytes
        self._own_models = own_models
        self._marks = rungs(self.config.run.training.epochs, self.config.halving)

    def __iter__(self) -> Iterator[Report | Notice]:
        with self.folder.locked(), _termination_as_interruption():
            self.trials = self.folder.trials(self.config)
            try:
                yield from self._run_trials()
                yield from self._run_finalists()
            except KeyboardInterrupt:
                raise InterruptedRunError(
                    f"{self.folder.path}: stopped; all is saved, the same command goes on"
                ) from None
            finally:
                self._workers.close()
                self.running.clear()
                write_report(summarise(self.folder.path))
            self.folder.remove_images()

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

    def _run_trials(self) -> Iterator[Report | Notice]:
        while self._propose() or self._due_trials():
            yield from self._work(self._due_trials)
        yield from self._update_mirror()

    def _run_finalists(self) -> Iterator[Report | Notice]:
        if all(trial.failed for trial in self.trials):
            reason = self.trials[0].reasons[-1]
            raise WorkerError(f"{self.folder.path}: every trial failed, the first with: {reason}")
        yield from self._work(self._due_finalists)

    def _propose(self) -> bool:
        """Write the next cohort down, or what is missing of the newest; returns whether there was any."""
        is_whole = len(self.trials) % self.config.cohort == 0
        if is_whole and any(standing.due for standing in self.standings()):
            return False
        proposed = propose(self.config, self.trials)
        for number, values in enumerate(proposed, len(self.trials)):
            self.folder.add_trial(number, values)
        self.trials = self.folder.trials(self.config)
        return bool(proposed)

    def _due_trials(self) -> list[Job]:
        return [
            Job(
                f"trial {trial.number}",
                self._run_of(trial),
                self.folder.trial_folder(trial.number),
                self._images(self._run_of(trial)),
                standing.until,
                own_models=self._own_models,
            )
            for standing in self.standings()
            for trial in standing.due
        ]

    def _due_finalists(self) -> list[Job]:
        jobs = []
        for trial in choose_finalists(self.trials, self._marks, self.config.num_finalists):
            for seed in self.config.seeds:
                folder = self.folder.finalist_folder(trial.number, seed)
                if self.folder.correct(folder) is None and not self.folder.attempts(folder).failed:
                    config = self._run_of(trial, seed)
                    name = f"finalist {trial.number}, seed {seed}"
                    images, until = self._images(config), config.training.epochs
                    jobs.append(Job(name, config, folder, images, until, True, self._own_models))
        return jobs

    def _run_of(self, trial: Trial, seed: int | None = None) -> RunConfig:
        return self.config.run_of(trial.values, seed, self._own_models)

    def _images(self, config: RunConfig) -> Path:
        folder = self.folder.images_path / f"{config.data.image_size}-{config.data.num_train}"
        if not is_shared(folder):
            share_images(self._load(config.data), folder)
        return folder

    def _work(self, due: Callable[[], list[Job]]) -> Iterator[Report | Notice]:
        """Keep the workers busy until nothing is due."""
        while True:
            for job in longest_first(due()) if self._workers.num_idle else ():
                if self._workers.num_idle and job.name not in self.running:
                    self._workers.start(job)
                    self.running[job.name] = (job, None)
            if not self.running:
                return
            report = self._workers.next_report(_POLL_SECONDS)
            if report is None:
                continue
            if report.kind in ("step", "epoch"):
                self.running[report.job.name] = (report.job, report)
            else:
                del self.running[report.job.name]
                self._note_end(report)
            if report.kind != "step":
                yield from self._update(report.job.folder)
            yield report
            if report.kind == "done":
                self._free_up()

    def _note_end(self, report: Report) -> None:
        """Write down what went wrong, if anything."""
        if report.kind == "blocked":
            raise StorageError(report.reason)
        if report.kind == "done":
            return
        folder = report.job.folder
        old, num_epochs = self.folder.attempts(folder), len(self.folder.history(folder))
        nums_epochs = (*old.num_epochs, num_epochs)
        failed = report.kind == "failed" or nums_epochs.count(num_epochs) >= MAX_CRASHES
        self.folder.write_attempts(folder, Attempts((*old.reasons, report.reason), nums_epochs, failed))

    def _update(self, folder: Path) -> Iterator[Notice]:
        """Read a run's trial anew, if it is one, and tell the mirror."""
        self.trials = [
            self.folder.trial(trial.number, self.config)
            if self.folder.trial_folder(trial.number) == folder
            else trial
            for trial in self.trials
        ]
        yield from self._update_mirror()

    def _update_mirror(self) -> Iterator[Notice]:
        # Of whole cohorts alone: until then a trial may come back for one that fails.
        stopped = {n for standing in self.standings() if not standing.due for n in standing.stopped}
        try:
            self._mirror.update(self.trials, stopped)
            self._mirror_answers = True
        except StorageError as error:
            if self._mirror_answers:
                yield Notice(f"warning: {error}; the search goes on without it and tells it later")
            self._mirror_answers = False

    def _free_up(self) -> None:
        busy = {job.folder for job, _ in self.running.values()}
        for standing in self.standings():
            if standing.due:  # the others of the rung may go on after it
                busy |= {self.folder.trial_folder(number) for number in standing.alive}
        ranked = choose_finalists(self.trials, self._marks, len(self.trials))
        folders = [self.folder.trial_folder(trial.number) for trial in ranked]
        free_up([folder for folder in folders if folder not in busy], self._disk_budget_bytes)


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
