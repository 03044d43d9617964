"""The search itself: proposes trials, gives them to workers, stops the weaker ones, trains the best again."""

import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kilnet.config import DataConfig
from kilnet.data.dataset import ImageDataset
from kilnet.errors import InterruptedRunError, StorageError, WorkerError
from kilnet.tuning.backends.jobs import Notice, TrainingJob, WorkerEvent, Workers
from kilnet.tuning.backends.shared_images import is_shared, remove_damaged, share_images
from kilnet.tuning.cohorts import Cohorts
from kilnet.tuning.finalists import choose_finalists
from kilnet.tuning.halving import Standing, marks_of, standings
from kilnet.tuning.job_queue import JobQueue
from kilnet.tuning.search_config import SearchConfig
from kilnet.tuning.search_folder import Attempts, SearchFolder, free_up, num_bytes
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
        self.running: dict[str, tuple[TrainingJob, WorkerEvent | None]] = {}
        self._load = load
        self._workers = workers
        self._study = study
        self._study_answers = True
        self._disk_budget_bytes = disk_budget_bytes
        self._own_models = own_models
        self._marks = marks_of(self.config)
        self._cohorts = Cohorts(self.config)
        self._numbers: dict[Path, int] = {}  # of trials, by their folders
        self._sizes: dict[int, int] = {}  # of weights and state, by number of the trial, while there are any
        self._finalists: list[Trial] | None = None

    def __iter__(self) -> Iterator[WorkerEvent | Notice]:
        with self.folder.locked(), _termination_as_interruption():
            self._cohorts = Cohorts(self.config)
            self._begin_with(self.folder.trials(self.config))
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

    def num_epochs_left(self) -> float:
        """Return how many epochs are still to be trained, if nothing fails or stops early; finalists included."""
        config, epochs = self.config, self.config.run.training.epochs
        if left := self._cohorts.num_epochs_left():
            return left + min(config.num_finalists, config.num_trials) * config.num_seeds * epochs
        return sum(
            trial.num_epochs - len(self.folder.history(self.folder.run_folder(trial.number, seed)))
            for trial, seed in self._due_finalists()
        )

    @property
    def trials(self) -> list[Trial]:
        """All trials that have been proposed so far, in order."""
        return self._cohorts.trials

    def _begin_with(self, trials: list[Trial]) -> None:
        self._cohorts.extend(trials)
        self._numbers |= {self.folder.run_folder(trial.number): trial.number for trial in trials}
        for trial in trials:
            self._weigh(trial.number)

    def _run_trials(self) -> Iterator[WorkerEvent | Notice]:
        queue = JobQueue()
        while self._propose() or self._cohorts.has_due:
            yield from self._work(queue, self._is_due)
        yield from self._update_study()

    def _is_due(self, job: TrainingJob) -> bool:
        return self._cohorts.until(self.trials[self._numbers[job.folder]]) == job.until

    def _run_finalists(self) -> Iterator[WorkerEvent | Notice]:
        if all(trial.failed for trial in self.trials):
            reason = self.trials[0].reasons[-1]
            raise WorkerError(f"{self.folder.path}: every trial failed, the first with: {reason}")
        queue = JobQueue(self._job(trial, trial.num_epochs, seed) for trial, seed in self._due_finalists())
        yield from self._work(queue, lambda job: self._is_missing(job.folder))

    def _propose(self) -> bool:
        """Write the next cohort, or the rest of the newest one; returns whether there was any."""
        is_whole = len(self.trials) % self.config.cohort == 0
        if is_whole and self._cohorts.has_due:
            return False
        proposed = propose(self.config, self.trials)
        for number, values in enumerate(proposed, len(self.trials)):
            self.folder.add_trial(number, values)
        numbers = range(len(self.trials), len(self.trials) + len(proposed))
        self._begin_with([self.folder.trial(number, self.config) for number in numbers])
        return bool(proposed)

    def _due_finalists(self) -> list[tuple[Trial, int]]:
        """Return finalists and seeds that are still to be trained."""
        if self._finalists is None:
            self._finalists = choose_finalists(self.trials, self._marks, self.config.num_finalists)
        pairs = [(trial, seed) for trial in self._finalists for seed in self.config.seeds]
        return [pair for pair in pairs if self._is_missing(self.folder.run_folder(pair[0].number, pair[1]))]

    def _is_missing(self, finalist: Path) -> bool:
        return self.folder.correct(finalist) is None and not self.folder.attempts(finalist).failed

    def _job(self, trial: Trial, until: float, seed: int | None = None) -> TrainingJob:
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

    def _work(self, queue: JobQueue, is_due: Callable[[TrainingJob], bool]) -> Iterator[WorkerEvent | Notice]:
        """Keep the workers busy until nothing waits.

        Args:
            queue: what waits.
            is_due: whether a job is still, or again, to be done.
        """
        while True:
            for trial in self._cohorts.newly_due():
                queue.add(self._job(trial, self._cohorts.until(trial) or 0))
            while self._workers.num_idle and (waiting := queue.pop(self.running)):
                if is_due(waiting):
                    self._workers.start(waiting)
                    self.running[waiting.name] = (waiting, None)
            if not self.running and not queue:  # else there is no machine now
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
            if event.is_end and is_due(job):
                queue.add(job)
            yield event
            if event.kind == "done":
                self._free_up(self._numbers.get(job.folder))

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
        if (number := self._numbers.get(folder)) is not None:
            self._cohorts.update(self.folder.again(self.trials[number]))
            self._finalists = None
        yield from self._update_study()

    def _update_study(self) -> Iterator[Notice]:
        if self._study is None:
            return
        try:
            self._study.update(self.trials, self._cohorts.changed, self._cohorts.stopped)
            self._cohorts.changed.clear()
            self._study_answers = True
        except StorageError as error:
            if self._study_answers:
                yield Notice(f"warning: {error}; the search continues, and copies its trials there later")
            self._study_answers = False

    def _weigh(self, number: int) -> None:
        self._sizes[number] = num_bytes(self.folder.run_folder(number))
        if not self._sizes[number]:
            del self._sizes[number]

    def _free_up(self, number: int | None) -> None:
        """Keep to the budget of the disk after a run is done.

        Args:
            number: of the trial; None for a finalist.
        """
        if number is not None:
            self._weigh(number)
        if sum(self._sizes.values()) <= self._disk_budget_bytes:
            return
        busy = {job.folder for job, _ in self.running.values()}
        for standing in self.standings():
            if standing.due:  # the others of the rung may train on after it
                busy |= set(map(self.folder.run_folder, standing.alive))
        there = [self.trials[number] for number in self._sizes]
        ranked = choose_finalists(there, self._marks, len(there))
        folders = [self.folder.run_folder(trial.number) for trial in ranked]
        free_up([folder for folder in folders if folder not in busy], self._disk_budget_bytes)
        for trial in there:
            self._weigh(trial.number)


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
