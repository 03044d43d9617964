"""Searches whose workers make up their records."""

import io
import random
import zlib

import numpy as np

from kilnet.data.dataset import ImageDataset, Split
from kilnet.recipes.reading import load_config
from kilnet.runs.listing import is_search
from kilnet.storage import write_bytes
from kilnet.training.records import EarlyRecord, EpochRecord
from kilnet.training.run_folder import RunFolder
from kilnet.training.schedule import EarlyStopping
from kilnet.tuning.backends.jobs import WorkerEvent
from kilnet.tuning.backends.shared_images import map_images
from kilnet.tuning.search import SearchLoop
from kilnet.tuning.search_config import SearchConfig
from kilnet.tuning.search_folder import SearchFolder, add_early, early_records
from kilnet.tuning.summary import summarise

NUM_TRAIN, NUM_VALIDATION = 30, 50
GRID = {"model.c1": [4, 8, 12], "model.c2": [4, 8, 12]}
THREE = {"model.c1": [4, 8, 12]}
RANGE = {"optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}, "model.c1": [4, 8, 12]}
WEIGHTS_BYTES, STATE_BYTES = 100, 300


class Killed(BaseException):
    """The power is gone."""


def make_dataset():
    def split(num_images):
        images = np.zeros((num_images, 1, 4, 4), np.uint8)
        return Split(images, np.arange(num_images) % 2, tuple(map(str, range(num_images))))

    return ImageDataset("made", ("a", "b"), split(NUM_TRAIN), split(NUM_VALIDATION), split(8))


def config_of(space=GRID, strategy="grid", num_trials=None, cohort=None, epochs=6, patience=None, **options):
    settings = {"training.epochs": epochs, **({"training.patience": patience} if patience else {})}
    standard = {"halving": True, "num_finalists": 2, "num_seeds": 2}
    config = SearchConfig(
        strategy=strategy,
        num_trials=1,
        cohort=1,
        space=space,
        run=load_config(settings=settings),
        **(standard | options),
    )
    num_trials = num_trials or len(config.parsed_space().cells())
    return config.model_copy(update={"num_trials": num_trials, "cohort": cohort or num_trials})


def luck(*things):
    """A number from 0 to 1 that follows from the things alone."""
    return np.random.default_rng(zlib.crc32(repr(things).encode())).random()


class MadeUpWorkers:
    """Writes what a training would write, with records that follow from configuration and epoch alone.

    Args:
        troubles: by name of the job, what happens when it has so many epochs: {"trial 3": [(1, "crashed"), ...]};
            each happens once, oldest first.
        seed: in which order workers report.
    """

    def __init__(self, num_workers=1, troubles=None, seed=0):
        self.num_workers = num_workers
        self.troubles = {name: list(events) for name, events in (troubles or {}).items()}
        self.chance = random.Random(seed)
        self.jobs, self.started, self.epochs, self.closed = [], [], [], False
        self.machines = ()

    @property
    def num_idle(self):
        return self.num_workers - len(self.jobs)

    def start(self, job):
        assert self.num_idle > 0
        assert job.folder not in [other.folder for other in self.jobs]
        assert len(map_images(job.images).train) == NUM_TRAIN
        self.jobs.append(job)
        self.started.append(job.name)

    def next_event(self, timeout_seconds):
        if self.chance.random() < 0.1:
            return None
        job = self.chance.choice(self.jobs)
        folder = RunFolder(job.folder)
        folder.state_path.parent.mkdir(parents=True, exist_ok=True)
        history = folder.history() if folder.state_path.is_file() else []
        events = self.troubles.get(job.name, [])
        if events and events[0][0] == len(history):
            kind = events.pop(0)[1]
            if kind == "epoch lost":  # died between writing it down and telling
                if job.until < 1:
                    self._train_part(job, folder)
                else:
                    self._train(job, folder, history)
                kind = "crashed"
            self.jobs.remove(job)
            return WorkerEvent(job=job, kind=kind, reason=f"{kind} on purpose")
        early = early_records(job.folder)
        if job.until < 1 and not history and not (early and early[-1].epoch >= job.until):
            self._train_part(job, folder)
            self.jobs.remove(job)
            return WorkerEvent(job=job, kind="done")
        if len(history) < job.until and not stopped_early(history, job.config):
            self._train(job, folder, history)
            return WorkerEvent(job=job, kind="epoch", record=history[-1])
        if job.score_validation:
            content = io.BytesIO()
            best = [record for record in history if record.is_best][-1]
            np.save(content, np.arange(NUM_VALIDATION) < best.num_validation_correct)
            write_bytes(job.folder / "correct.npy", content.getvalue())
        self.jobs.remove(job)
        return WorkerEvent(job=job, kind="done")

    def _train_part(self, job, folder):
        """Train a part of the first epoch."""
        who = (sorted(job.config.model.options.items()), job.config.optimizer.lr, job.config.seed, job.until)
        num_correct, loss = round(NUM_VALIDATION * luck(*who, "accuracy")), luck(*who, "loss")
        write_bytes(folder.state_path, bytes(STATE_BYTES))
        add_early(
            job.folder,
            EarlyRecord(job.until, loss, num_correct / NUM_VALIDATION, num_correct, NUM_VALIDATION),
        )
        self.epochs.append((job.name, job.until))

    def _train(self, job, folder, history):
        who = (sorted(job.config.model.options.items()), job.config.optimizer.lr, job.config.seed)
        losses = [record.validation_loss for record in history]
        epoch, loss = len(history) + 1, luck(*who, len(history), "loss")
        num_correct = round(NUM_VALIDATION * luck(*who, epoch, "accuracy"))
        is_best = all(loss < other for other in losses)
        accuracy = num_correct / NUM_VALIDATION
        history.append(
            EpochRecord(epoch, 0.1, 1.0, 0.5, loss, accuracy, num_correct, NUM_VALIDATION, is_best)
        )
        if is_best:
            write_bytes(folder.weights_path, bytes(WEIGHTS_BYTES))
        write_bytes(folder.state_path, bytes(STATE_BYTES))
        folder.write_history(history)
        self.epochs.append((job.name, epoch))

    def close(self):
        self.jobs.clear()
        self.closed = True


def stopped_early(history, config):
    stopping = EarlyStopping(config.training.patience)
    for record in history:
        stopping.step(record.validation_loss)
    return stopping.should_stop


def begin(path, config):
    folder = SearchFolder(path)
    path.mkdir(parents=True, exist_ok=True)
    folder.begin(config, {"data": {"num_train": NUM_TRAIN, "num_validation": NUM_VALIDATION}})
    return folder


def loop_of(path, config, workers=None, study=None, disk_budget_bytes=10**9):
    folder = SearchFolder(path)
    if not is_search(path):
        begin(path, config)
    return SearchLoop(folder, lambda _: make_dataset(), workers or MadeUpWorkers(), disk_budget_bytes, study)


def run(path, config, **options):
    return list(loop_of(path, config, **options))


def found(path):
    """All that a search has found, but for where it lies."""
    content = summarise(path).to_dict()
    assert str(path) == content.pop("folder")
    content["winner_folder"] = content["winner_folder"] and content["winner_folder"].removeprefix(str(path))
    return content


def events_told(events):
    return [event for event in events if isinstance(event, WorkerEvent)]
