"""One training run in its folder: begun, resumed, interrupted, finished."""

from collections.abc import Callable, Iterator, Set
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import TypeAdapter
from torch import Tensor

from kilnet import hardware, models
from kilnet.config import RunConfig, is_foreign
from kilnet.data.dataset import ImageDataset
from kilnet.errors import ConfigError, InterruptedRunError, RunFolderError
from kilnet.inference.classifier import Classifier, save_classifier
from kilnet.inference.kept_tensors import write_tensors
from kilnet.recipes.changes import change, differences
from kilnet.storage import first_fitting, reading, remove
from kilnet.training.first_stage import FirstStage, fit_first
from kilnet.training.follower import Start
from kilnet.training.initial_model import begins_pretrained, choose_settings, initial_model, preprocessing_for
from kilnet.training.loop import TrainingLoop
from kilnet.training.plan import Basis, Plan, plan_run
from kilnet.training.ranks import ALONE, Ranks
from kilnet.training.records import EarlyRecord, EpochRecord, Record, StepRecord
from kilnet.training.run_folder import STATE_ADVICE, RunFolder, environment_of
from kilnet.training.schedule import NUM_FIRST_STEPS, BudgetSchedule, Schedule, training_seconds
from kilnet.training.signals import ALARM, noted_signals, set_alarm
from kilnet.training.speed import keep_speed, steps_ratio, with_end

_PLAN: TypeAdapter[Plan] = TypeAdapter(Plan)


class TrainingSession:
    """Trains into a run folder; iterate for the loop's records, each saved before it is yielded.

    Killed at any time, the same session resumes from the last state that was saved; on a CPU it ends with the same
    weights and history, to the byte, as one that nobody interrupted.

    Args:
        dataset: the images; its test split is sealed here.
        config: what to train; "auto" is decided here and recorded.
        folder: where to; a run of the same configuration in it is resumed.
        started: since when the time of a budget counts, as `clock` tells it; by default since now.
        clock: seconds that never go back.
        own_models: see `kilnet.models.complete`.
        answers: logits of a teacher for the training images, (num_images, num_classes), where `training.teacher_weight`
            is above 0.
        ranks: the processes that train together, this one the first of them; the others `follow`.
        stage: the first one, where the choice of this network has been through it.
        early: a part of the first epoch after which to validate too; the state is saved there.

    Attributes:
        config: with nothing left open.
        settings: what it computes with, and why.
        plan: how the time of a budget is to be filled; None without one.
        basis: what was measured for it, now or before; None without one, and of a run that is resumed.
        num_parameters: of the network.
        loop: what trains, with the history so far and notes for the user.

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
        answers: npt.NDArray[np.float32] | None = None,
        ranks: Ranks = ALONE,
        stage: FirstStage | None = None,
        early: float | None = None,
    ) -> None:
        hardware.use_huge_pages()
        self._clock, self._started = clock, clock() if started is None else started
        self.folder = RunFolder(folder)
        self._dataset = dataset.sealed()
        self._ranks, self._stage, self._early = ranks, stage, early
        config = config.model_copy(update={"model": models.complete(config.model, own_models)})
        self._preprocessing = preprocessing_for(config, self._dataset)
        self._own_models = own_models
        self.plan: Plan | None = None
        self.basis: Basis | None = None
        is_begun = self.folder.exists
        if not is_begun and (self.folder.has_state or self.folder.weights_path.exists()):
            where = self.folder.config_path
            raise RunFolderError(f"{where}: missing; choose another `out`, or put it there again")
        if is_begun:
            config = self._as_begun(config)
        self._softened_answers = _softened(answers, config)
        is_planned = config.budget.seconds and config.training.frozen != "features"
        if is_begun and is_planned:
            self.plan = self._kept_plan()
        self._prepare(self._planned(config) if is_planned and not is_begun else config)
        # Steps that were taken before the run began, and what follows them.
        self._first: list[Record] = []
        self._rest: Iterator[Record] | None = None
        if self.basis and self.basis.is_kept and ranks.size == 1 and not self._first_steps_agree(self.basis):
            self._first, self._rest = [], None
            self._prepare(self._planned(config, uses_kept=False))
        self._saved = self._epoch_start = monotonic()
        self._num_images = 0  # in this epoch
        if is_begun:
            self._resume()

    def _planned(self, config: RunConfig, uses_kept: bool = True) -> RunConfig:
        """Plan how to fill the budget, by what is kept of this machine or by new measurements."""
        spent = lambda: self._clock() - self._started  # noqa: E731
        try:
            found = plan_run(config, self._dataset, self._preprocessing, spent, self._own_models, uses_kept)
        except ConfigError:
            if self._stage is None:
                raise
            return change(config, {"training.frozen": "features"}, "the plan")  # no time to tune
        config, self.plan, self.basis = found
        return config

    def _prepare(self, config: RunConfig) -> None:
        """Make the network and what trains it."""
        dataset, ranks = self._dataset, self._ranks
        model = initial_model(config, dataset, self._preprocessing, self.folder.has_state, self._own_models)
        self.num_parameters = sum(parameter.numel() for parameter in model.parameters())
        decided = self.basis.settings if self.basis else None
        self.settings = decided or choose_settings(config, model, dataset, self._preprocessing)
        self.config = config.model_copy(update={"hardware": self.settings.record()})
        self._schedule = Schedule(config.training.epochs)
        if self.plan and config.budget.seconds:
            self._schedule = BudgetSchedule(
                num_epochs=config.training.epochs,
                budget_seconds=config.budget.seconds,
                step_seconds=self.plan.step_seconds,
                end_seconds=self.plan.end_seconds,
                started=self._started,
                clock=self._clock if ranks.size == 1 else ranks.clock,
                spare_seconds=self.plan.spare_seconds,
            )
        self.loop = TrainingLoop(
            model,
            dataset,
            self.config,
            self._preprocessing,
            self.settings,
            self._schedule,
            self._softened_answers,
            ranks,
            self._early,
        )

    def _first_steps_agree(self, basis: Basis) -> bool:
        """Take the first steps of the run; return whether they are as fast as what is kept of this machine says."""
        self._rest = iter(self.loop)
        while len(self._first) < NUM_FIRST_STEPS:
            self._first.append(record := next(self._rest))
            if not isinstance(record, StepRecord) or record.step == record.num_steps:
                break  # what comes next may be a validation, whose result has to be saved
        return basis.kept.agrees(self._ratio_of_first_steps(basis))

    def _ratio_of_first_steps(self, basis: Basis) -> float | None:
        num_images = len(self._dataset.train)
        return steps_ratio(basis.kept.speed, self.config.training, num_images, self._schedule.first_steps)

    def _keep_measurements(self) -> None:
        """Keep what this run has shown of the machine, for the plan of the next."""
        if self.basis and self.basis.key:
            ratio, end_seconds = self._ratio_of_first_steps(self.basis), self._schedule.end_seconds
            keep_speed(self.basis.key, with_end(self.basis.kept, ratio, end_seconds))

    def _left(self) -> float:
        """Return how much of the budget is left before the end of the run, which takes some seconds."""
        budget = self.config.budget.seconds or 0.0
        return training_seconds(budget, 0.0) - (self._clock() - self._started)

    @property
    def seconds_left(self) -> float | None:
        """What is left of the budget; None without one."""
        return self._schedule.seconds_left

    def _resuming_call(self) -> str:
        named = {"recipe": str(self.folder.config_path), "out": str(self.folder.path)}
        if is_foreign(self.config.model.name):
            named["model"] = self.config.model.name
        options = ", ".join(f"{key}={value!r}" for key, value in named.items())
        return f"kilnet.train({self.config.data.source!r}, {options})"

    def __iter__(self) -> Iterator[Record]:
        with self.folder.locked(), noted_signals() as signals:
            if self.folder.exists:
                if self.folder.has_state:
                    self._first, self._rest = [], None
                self._resume()  # another process may have continued since
                if not self.folder.has_state:  # it begins again
                    remove(self.folder.kept_history_path)
            else:
                self.folder.begin(self.config, self._environment(), self._dataset.corrections)
            self._saved, taken = monotonic(), sum(self._schedule.first_steps) if self._first else 0.0
            self._epoch_start = self._saved - taken
            self._num_images = 0
            try:
                yield from self._saved_records(signals)
            except KeyboardInterrupt:
                if ALARM not in signals:
                    raise
                told = "stopped in the middle of a step; what is saved resumes with"
                raise InterruptedRunError(f"{told}: `{self._resuming_call()}`") from None

    def _saved_records(self, signals: list[int]) -> Iterator[Record]:
        for record in self._records():
            self._save(record)
            yield record
            if signals and not self.loop.finished:
                set_alarm(0)
                self._save_state()
                told = f"stopped; the state is saved, resume with: `{self._resuming_call()}`"
                raise InterruptedRunError(told)

    def _records(self) -> Iterator[Record]:
        config, stage = self.config, None
        first, self._first = self._first, []
        rest, self._rest = self._rest, None
        if not self.loop.history and begins_pretrained(config):
            parts = self.loop.model, self._dataset, self._preprocessing, self.settings
            left = self._left if config.budget.seconds else None
            balanced, validated = config.training.balance != "none", self._dataset.validation
            fitting = fit_first(*parts, is_balanced=balanced, left=left, validated=validated)
            stage = self._stage or (yield from fitting)
            stage.put_into(self.loop.model)
        if self._ranks.size > 1:
            self._ranks.share(None if self.loop.finished else self._start(stage))
        if stage is not None:
            yield self.loop.start(stage)
        yield from first
        yield from rest or self.loop
        if self.loop.finished:
            self._keep_measurements()

    def _start(self, stage: FirstStage | None) -> Start:
        """Return what the other processes have to know."""
        return Start(
            config=self.config,
            settings=self.settings,
            fingerprint=self._dataset.fingerprint,
            schedule=self._schedule,
            clock=self._ranks.clock,
            answers=self._softened_answers,
            state=self.loop.state(),
            first=stage,
        )

    def _save(self, record: Record) -> None:
        if isinstance(record, StepRecord):
            self._num_images += record.num_images
            if monotonic() - self._saved >= self.config.training.checkpoint_seconds:
                self._save_state()
            return
        if isinstance(record, EarlyRecord):
            self._save_state()
            return
        if record.is_best:
            self._save_weights(record)
        self._save_state()
        self.folder.write_history(self.loop.history)
        self.folder.add_timing(record.epoch, monotonic() - self._epoch_start, self._num_images)
        self._saved = self._epoch_start = monotonic()
        self._num_images = 0

    def _save_state(self) -> None:
        # One file, so that its parts always belong together.
        write_tensors(self.folder.state_path, *self.loop.state())
        self._saved = monotonic()

    def _save_weights(self, record: EpochRecord) -> None:
        classifier = Classifier(
            model=self.loop.validated_model,
            model_config=self.config.model,
            classes=self._dataset.classes,
            preprocessing=self._preprocessing,
            settings=self.settings,
            views=self.config.views,
        )
        notes = {"epoch": record.epoch, "validation_loss": record.validation_loss}
        save_classifier(self.folder.weights_path, classifier, notes)

    def _resume(self) -> None:
        if (state := self.folder.load_state()) is not None:
            with reading(self.folder.state_path, STATE_ADVICE):
                self.loop.load_state(*state)
            self.folder.write_history(self.loop.history)

    def _as_begun(self, config: RunConfig) -> RunConfig:
        """Return the configuration with what was decided when the run in the folder began; refuse another run's."""
        kept = self.folder.config()
        lines = differences(kept, config)
        if lines:
            raise RunFolderError(
                f"{self.folder.path} holds a run of another configuration ({'; '.join(lines)}); "
                "choose another `out`, or train as it was begun"
            )
        fingerprint = self.folder.fingerprint()
        if fingerprint not in (None, self._dataset.fingerprint):
            raise RunFolderError(
                f"{self.folder.path}: the data is not what this run began with; choose another `out`"
            )
        config = config.model_copy(update={"hardware": kept.hardware})
        return change(config, {key: kept.flat()[key] for key in kept.budget.planned}, "the plan")

    def _kept_plan(self) -> Plan:
        kept = self.folder.environment().get("plan")
        if not kept:
            raise RunFolderError(
                f"{self.folder.environment_path}: the plan of this run is missing; "
                "choose another `out` and train again"
            )
        with reading(self.folder.environment_path, "choose another `out` and train again"):
            return _PLAN.validate_python(kept)

    def _environment(self) -> dict[str, Any]:
        packages = ("torch", "numpy", "pillow", "safetensors")
        return {
            **environment_of(self._dataset, packages, hardware.machine(self.settings.device)),
            "settings": asdict(self.settings),
            "num_parameters": self.num_parameters,
            **({"plan": asdict(self.plan)} if self.plan else {}),
        }


def _softened(answers: npt.NDArray[np.float32] | None, config: RunConfig) -> Tensor | None:
    if not config.training.teacher_weight:
        return None
    if answers is None:
        raise ConfigError(
            "`training.teacher_weight` asks for the answers of a teacher; `kilnet.distill('runs/a')` has one"
        )
    return torch.from_numpy(answers).float().div(config.training.temperature).softmax(1)


def free_folder(parent: Path, name: str, config: RunConfig, fingerprint: str | None) -> Path:
    """Return where a run of this configuration belongs: the folder that holds it already, else the first free name.

    Args:
        parent: the folder of runs.
        name: tried as it is, then with -2, -3 and so on.
        config: with the model's options completed.
        fingerprint: of the images; None, any will do.
    """

    def fits(path: Path) -> bool:
        folder = RunFolder(path)
        if not folder.exists:
            return True
        same_images = fingerprint is None or folder.fingerprint() in (None, fingerprint)
        return same_images and not differences(folder.config(), config)

    return first_fitting(parent, name, fits)
