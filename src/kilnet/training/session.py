"""One training run in its folder: begun, gone on with, interrupted, finished."""

import platform
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Set
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

import torch

from kilnet import hardware, models
from kilnet.config import RunConfig, change, differences
from kilnet.data.dataset import ImageDataset
from kilnet.data.preprocess import Preprocessing
from kilnet.errors import InterruptedRunError, RunFolderError
from kilnet.hardware import Settings
from kilnet.inference.classifier import Classifier, load_classifier, save_classifier
from kilnet.seeding import derive, generator
from kilnet.storage import first_fitting
from kilnet.training import speed
from kilnet.training.loop import EpochRecord, StepRecord, TrainingLoop
from kilnet.training.plan import Plan, Speed, make_plan
from kilnet.training.resolution import refuse_other_sizes
from kilnet.training.run_folder import RunFolder
from kilnet.training.timer import Timer

_NUM_PREPARATION_IMAGES = 1024  # half a million patches of 32x32 pixels


class TrainingSession:
    """Trains into a run folder; iterate for the loop's records, each saved before it is yielded.

    Killed at any moment, the same session goes on from the last state that was saved; on a CPU it ends with the same
    weights and history, to the byte, as one that nobody interrupted.

    Args:
        dataset: the images; its test split is sealed here.
        config: what to train; "auto" is decided here and recorded.
        folder: where to; a run of the same configuration that is there goes on.
        started: since when the time of a budget counts, as `clock` tells it; by default since now.
        clock: seconds that never go back.
        own_models: see `kilnet.models.complete`.

    Attributes:
        config: with nothing left open.
        settings: what it computes with, and why.
        plan: how the time of a budget is to be filled; None without one.
        num_parameters: of the network.
        num_epochs_before: the last epoch of the history that was there already.

    Raises:
        RunFolderError: the folder holds a run of another configuration or other data.
        ConfigError, ModelError: the configuration cannot be trained.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        config: RunConfig,
        folder: Path,
        started: float | None = None,
        clock: Callable[[], float] = monotonic,
        own_models: Set[str] = frozenset(),
    ) -> None:
        started = clock() if started is None else started
        self.folder = RunFolder(folder)
        self._dataset = dataset.sealed()
        self._own_models = own_models
        normalise = Preprocessing.half if config.data.normalisation == "half" else Preprocessing.fit
        self._preprocessing = normalise(self._dataset)
        config = config.model_copy(update={"model": models.complete(config.model, own_models)})
        kept: RunConfig | None = None
        if self.folder.exists:
            kept = self.folder.config()
            self._refuse_another(kept, config)
            config = config.model_copy(update={"hardware": kept.hardware})
            config = change(config, {key: kept.flat()[key] for key in kept.budget.planned}, "the plan")
        settings: Settings | None = None
        self.plan: Plan | None = None
        if kept is None and config.budget.seconds:
            config, self.plan, settings = self._make_plan(config, lambda: clock() - started)
        elif config.budget.seconds:
            self.plan = self._kept_plan()
        torch.manual_seed(derive(config.seed, "weights"))
        model = models.build(config.model, dataset.image_shape, len(dataset.classes), own_models)
        refuse_other_sizes(model, config, dataset.image_shape, len(dataset.classes))
        if not self.folder.has_state:
            if config.training.initial_weights == "parent":
                self._start_from(config, model)
            else:
                models.prepare(model, self._some_images(config.seed))
        self.num_parameters = sum(parameter.numel() for parameter in model.parameters())
        self.settings = settings or self._choose(model, config)
        self.config = config.model_copy(update={"hardware": self.settings.record()})
        self._timer: Timer | None = None
        if self.plan and config.budget.seconds:
            steps = self.plan.step_seconds, self.plan.end_seconds
            self._timer = Timer(config.budget.seconds, *steps, started, clock)
        self._loop = TrainingLoop(
            model, self._dataset, self.config, self._preprocessing, self.settings, self._timer
        )
        self.num_epochs_before = 0
        if kept is not None:
            self._resume()

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train."""
        return self._loop.finished

    @property
    def stopped_early(self) -> bool:
        """Whether patience was spent before the last epoch."""
        return self._loop.stopped_early

    @property
    def history(self) -> list[EpochRecord]:
        """The epochs so far."""
        return self._loop.history

    @property
    def seconds_left(self) -> float | None:
        """What is left of the budget; None without one."""
        return self._timer.left if self._timer else None

    def __iter__(self) -> Iterator[StepRecord | EpochRecord]:
        with self.folder.locked(), _Interruption() as interruption:
            if self.folder.exists:
                self._resume()  # another process may have gone on since
            else:
                self.folder.begin(self.config, self._environment())
            yield from self._save_and_yield(interruption)

    def _save_and_yield(self, interruption: "_Interruption") -> Iterator[StepRecord | EpochRecord]:
        saved = epoch_start = monotonic()
        num_images = 0
        for record in self._loop:
            if isinstance(record, EpochRecord):
                if record.is_best:
                    self._save_weights(record)
                self._save_state()
                self.folder.write_history(self.history)
                seconds = monotonic() - epoch_start
                rate = num_images / seconds
                self.folder.add_timing(
                    {"epoch": record.epoch, "seconds": round(seconds, 3), "images_per_second": round(rate, 1)}
                )
                saved = epoch_start = monotonic()
                num_images = 0
            else:
                num_images += record.num_images
                if monotonic() - saved >= self.config.training.checkpoint_seconds:
                    self._save_state()
                    saved = monotonic()
            yield record
            if interruption.wanted and not self.finished:
                self._save_state()
                raise InterruptedRunError(f"stopped; the state is saved, go on with: {self.resume_command}")

    @property
    def resume_command(self) -> str:
        """The command that goes on with this run."""
        return shlex.join([*self.config.train_words(self.folder.config_path), "--out", str(self.folder.path)])

    def _refuse_another(self, kept: RunConfig, config: RunConfig) -> None:
        lines = differences(kept, config)
        if lines:
            raise RunFolderError(
                f"{self.folder.path} holds a run of another configuration ({'; '.join(lines)}); "
                "choose another --out, or train as it was begun"
            )
        fingerprint = self.folder.environment().get("data", {}).get("fingerprint")
        if fingerprint not in (None, self._dataset.fingerprint):
            raise RunFolderError(
                f"{self.folder.path}: the data is not what this run was begun with; choose another --out"
            )

    def _start_from(self, config: RunConfig, model: torch.nn.Module) -> None:
        parent = Path(config.parent or "")
        classifier = load_classifier(
            RunFolder(parent).weights_path, Settings("cpu", "fp32", "contiguous", 1), self._own_models
        )
        if classifier.classes != self._dataset.classes:
            raise RunFolderError(f"{parent}: its classes are not those of {self._dataset.name}")
        try:
            model.load_state_dict(classifier.model.state_dict())
        except RuntimeError as error:
            raise RunFolderError(
                f"{parent}: its weights do not fit this network: {str(error).splitlines()[-1].strip()}"
            ) from None

    def _some_images(self, seed: int) -> torch.Tensor:
        """Draw normalised training images for a network that wants to see some before its first step."""
        images = self._dataset.train.images
        num_images = min(len(images), _NUM_PREPARATION_IMAGES)
        chosen = generator(seed, "preparation").choice(len(images), num_images, replace=False)
        return self._preprocessing(torch.from_numpy(images[chosen]))

    def _make_plan(self, config: RunConfig, spent: Callable[[], float]) -> tuple[RunConfig, Plan, Settings]:
        """Measure the networks that come into question; returns what was chosen, and what it computes with."""
        chosen: dict[str, Settings] = {}

        def measure(candidate: RunConfig) -> Speed:
            shape, num_classes = self._dataset.image_shape, len(self._dataset.classes)
            network = models.build(candidate.model, shape, num_classes, self._own_models)
            settings = self._choose(network, candidate)
            chosen[candidate.model.model_dump_json()] = settings
            settings.apply()
            return speed.measure(candidate, network, settings, self._dataset, self._preprocessing)

        num_images = len(self._dataset.train)
        config, plan = make_plan(config, self._dataset.image_shape, num_images, measure, spent)
        return config, plan, chosen[config.model.model_dump_json()]

    def _kept_plan(self) -> Plan:
        try:
            return Plan(**self.folder.environment()["plan"])
        except (KeyError, TypeError):
            raise RunFolderError(
                f"{self.folder.environment_path}: the plan of this run is missing; train anew with another --out"
            ) from None

    def _choose(self, model: torch.nn.Module, config: RunConfig) -> Settings:
        batch_size = config.training.batch_size_for(len(self._dataset.train))
        batch = torch.from_numpy(self._dataset.train.images[:batch_size].copy())
        images = self._preprocessing(batch)
        num_classes = len(self._dataset.classes)
        return hardware.choose(config.hardware, model, config.model, images, num_classes)

    def _resume(self) -> None:
        state = self.folder.load_state()
        if state is not None:
            self._loop.load_state(*state)
            self.num_epochs_before = self.history[-1].epoch if self.history else 0
            self.folder.write_history(self.history)

    def _save_state(self) -> None:
        self.folder.save_state(*self._loop.state())

    def _save_weights(self, record: EpochRecord) -> None:
        classifier = Classifier(
            self._loop.validated_model,
            self.config.model,
            self._dataset.classes,
            self._preprocessing,
            self.settings,
            self.config.views,
        )
        notes = {"epoch": record.epoch, "validation_loss": record.validation_loss}
        save_classifier(self.folder.weights_path, classifier, notes)

    def _environment(self) -> dict[str, Any]:
        data = self._dataset
        return {
            "kilnet": version("kilnet"),
            "python": platform.python_version(),
            "packages": {name: version(name) for name in ("torch", "numpy", "pillow", "safetensors")},
            "system": platform.platform(),
            "machine": hardware.machine(self.settings.device),
            "settings": asdict(self.settings),
            "data": {
                "name": data.name,
                "classes": data.classes,
                "image_shape": data.image_shape,
                "num_train": len(data.train),
                "num_validation": len(data.validation),
                "fingerprint": data.fingerprint,
                "warnings": data.warnings,
            },
            "num_parameters": self.num_parameters,
            **({"plan": asdict(self.plan)} if self.plan else {}),
            "command": shlex.join(sys.argv),
        }


def free_folder(parent: Path, name: str, config: RunConfig) -> Path:
    """Return where a run of this configuration belongs: the folder that holds it already, else the first free name.

    Args:
        parent: the folder of runs.
        name: tried as it is, then with -2, -3 and so on.
        config: with the model's options completed.
    """

    def fits(path: Path) -> bool:
        folder = RunFolder(path)
        return not folder.exists or not differences(folder.config(), config)

    return first_fitting(parent, name, fits)


class _Interruption:
    """Turns Ctrl-C and SIGTERM into a wish that the session grants after the present step; a second Ctrl-C is final."""

    def __init__(self) -> None:
        self.wanted = False

    def __enter__(self) -> "_Interruption":
        self._previous: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.wanted = True
        signal.signal(number, self._previous[number])
