"""Training a run, or the winner of a search, further at a lower learning rate."""

from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from kilnet import models
from kilnet.config import OptimizerConfig
from kilnet.data.sources import Data, elsewhere, located
from kilnet.errors import ConfigError, RunFolderError
from kilnet.inference.classifier import refuse_unnamed
from kilnet.recipes.changes import change
from kilnet.runs.listing import is_search
from kilnet.runs.run import Run, opened, refuse_moved
from kilnet.storage import given_path
from kilnet.verbs.keys import with_whole_keys
from kilnet.verbs.request import with_budget
from kilnet.verbs.train import joined_or_ended, train_as

# The tutorial's: 50 epochs at most, patience 6, and a learning rate of 0.0008 after one of 0.001.
EPOCHS = 50
PATIENCE = 6
LR = 0.0008
LR_FACTOR = 0.8
# Muon's rate is the part of its length by which a filter moves: 0.0008 would leave everything where it is
# (docs/experiments.md, 2026-11-23).
MUON_LR_FACTOR = 0.2


def finetune(
    run: Run | str | Path,
    *,
    epochs: int | None = None,
    budget: str | None = None,
    lr: float | None = None,
    patience: int | None = None,
    anew: bool = False,
    settings: Mapping[str, Any] | None = None,
    data: Data | None = None,
    model: str | None = None,
    out: str | Path | None = None,
    progress: bool = True,
    started: float | None = None,
) -> Run:
    """Train a run, or the winner of a search, further at a lower learning rate, until patience is spent.

    The result is a run of its own that names its parent; the same call again resumes it. Its seed is the parent's
    plus one, unless the settings say otherwise.

    Args:
        run: what `train` or `tune` returned, or the folder of a run or of a search.
        epochs: at most; by default 50.
        budget: such as "10m": how long this call may take, in place of `epochs`; see `train`.
        lr: by default 0.0008, or four fifths of the parent's if that is less; with Muon a fifth of the parent's. It
            falls to zero along a cosine.
        patience: epochs without a lower validation loss; by default 6; with a budget any number.
        anew: begin with random weights instead of the parent's.
        settings: other values by dotted key; they win over the parent's.
        data: if the parent's data cannot be loaded by its name, or has moved.
        model: as for `evaluate`.
        out: run folder; by default beside the parent, or `finetuned` in the search.
        progress: whether to show progress on standard error.
        started: as for `train`.

    Raises:
        KilnetError: see `kilnet.errors`.
    """
    started = monotonic() if started is None else started
    known = run.own_models if isinstance(run, Run) else ()
    ranks = joined_or_ended(data, model, (settings or {}).get("model.name"), *known)
    if epochs is not None and budget is not None:
        raise ConfigError("`epochs` and `budget` both say how long to train; give one of them")
    parent, beside, name = _parent(run, model)
    if data is None:
        refuse_moved(parent)
    settings = with_whole_keys(settings or {}, "the settings")
    own = parent.own_models | models.own_models(settings.get("model.name"))
    refuse_unnamed(parent.config.model, own, parent.files.config_path)
    lr = lr if lr is not None else _default_lr(parent.config.optimizer)
    changes: dict[str, Any] = {
        "training.epochs": EPOCHS if epochs is None else epochs,
        "training.keep": "best",  # which patience is about, whatever the parent kept
        "training.patience": PATIENCE if patience is None and budget is None else patience,
        "training.low_resolution": [],
        "budget": None,
        "training.initial_weights": "random" if anew else "parent",
        "optimizer.lr": lr,
        "optimizer.schedule": "cosine",
        "parent": str(parent.folder.resolve()),
        "seed": parent.config.seed + 1,  # the parent's order and augmentation again would be learned by heart
        "hardware.threads": 0,  # a trial had to share the machine
    }
    kept = parent.config
    if kept.training.frozen in ("early", "features"):  # now all of it learns, as in photos.toml
        changes["training.frozen"] = "statistics"
    if isinstance(data, str | Path):
        channels = "grey" if parent.classifier.image_shape[0] == 1 else "colour"
        moved = elsewhere(kept.data, data).model_copy(update={"channels": channels})
        kept = kept.model_copy(update={"data": moved})
    config = change(kept, {**changes, **settings}, "the settings")
    if budget is not None:
        # Its network knows the images at their full size; smaller ones would take it back.
        config = with_budget(config, budget, {"training.low_resolution": (), **settings})
    config = config.model_copy(update={"data": located(config.data)})
    place = given_path(out) if out is not None else (beside, name)
    return train_as(
        config, config.data.source if data is None else data, place, progress, started, own, ranks=ranks
    )


def _default_lr(parent: OptimizerConfig) -> float:
    lr = MUON_LR_FACTOR * parent.lr if parent.name == "muon" else min(LR, LR_FACTOR * parent.lr)
    return float(f"{lr:.10g}")  # 0.00024, where the product of floats is 0.00023999999999999998


def _parent(given: Run | str | Path, model: str | None) -> tuple[Run, Path, str]:
    """Return the run to start from, and in which folder the fine-tuned one belongs, by what name."""
    folder = given_path(given) if isinstance(given, str | Path) else given.folder
    if not is_search(folder):
        parent = opened(given if isinstance(given, Run) else folder, model)
        whole = folder if folder.name not in ("", "..") else folder.resolve()
        return parent, whole.parent, f"{whole.name}-finetuned"
    from kilnet.tuning.summary import summarise  # optuna, which fine-tuning a run needs not

    winner = summarise(folder)
    if not winner.is_complete or winner.winner_folder is None:
        raise RunFolderError(f"{folder}: the search is not finished; the command that began it resumes it")
    return Run(winner.winner_folder, model), folder, "finetuned"
