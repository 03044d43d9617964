"""What a search has found so far, read from its folder alone, even while it runs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from optuna.trial import create_trial

from kilnet.errors import RunFolderError
from kilnet.metrics.intervals import wilson_interval
from kilnet.seeding import generator
from kilnet.storage import write_csv, write_json
from kilnet.training.records import EpochRecord
from kilnet.training.run_folder import RunFolder
from kilnet.tuning.finalists import Correct, Final, choose_finalists, compare_finalists
from kilnet.tuning.halving import marks_of, standings
from kilnet.tuning.search_config import SearchConfig
from kilnet.tuning.search_folder import SearchFolder
from kilnet.tuning.space import Values
from kilnet.tuning.strategy import create_study
from kilnet.tuning.trial import Trial

MIN_TRIALS = 10
"""With fewer, no range of an importance means anything."""
_RESAMPLES = 10
_MOST_RESAMPLED = 60  # trials
_MOST_COMPARED = 500  # trials; the time to take a forest apart grows with the square of their number


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """One trial of a summary.

    Attributes:
        number: of the trial.
        values: of the searched keys.
        status: as from `Trial.status`.
        accuracy, accuracy_interval, loss: on validation, of the weights that were kept, or within the first epoch where
            it got no further; None before that.
        num_epochs: it was trained for, to two digits.
        seconds: of training.
        reason: why it failed, or had to be tried again; the latest.
    """

    number: int
    values: Values
    status: str
    accuracy: float | None
    accuracy_interval: tuple[float, float] | None
    loss: float | None
    num_epochs: float
    seconds: float
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a search has found.

    Attributes:
        folder: of the search.
        config: what was searched.
        trials: best first.
        finals: the finalists trained again, best first; empty before that.
        is_complete: whether nothing is left to train.
        winner: number of the best configuration so far; None before the first epoch.
        winner_folder: the run that stands for it.
        num_image_passes: images that went forward and backward, without those of the finalists.
        num_finalist_image_passes: those of the finalists.
        seconds: of training, added up over the workers.
    """

    folder: Path
    config: SearchConfig
    trials: tuple[TrialRow, ...]
    finals: tuple[Final, ...]
    is_complete: bool
    winner: int | None
    winner_folder: Path | None
    num_image_passes: int
    num_finalist_image_passes: int
    seconds: float
    _trials: tuple[Trial, ...] = field(repr=False)

    @cached_property
    def importance(self) -> dict[str, float]:
        """Each key's part in the variance of accuracy, most important first, adding up to 1.

        Empty for fewer than four trials. A forest is fitted to the trials and taken apart (fANOVA: Hutter, Hoos and
        Leyton-Brown, 2014, "An Efficient Approach for Assessing Hyperparameter Importance"). All are compared after
        the first rung, which each has reached. Of more than 500, that many are drawn. Keys with conditions are left
        out.
        """
        compared = self._compared()
        if len(compared) > _MOST_COMPARED:
            order = generator(self.config.run.seed, "importance of some").permutation(len(compared))
            compared = [compared[index] for index in sorted(order[:_MOST_COMPARED])]
        return self._importance_of(compared) if len(compared) >= 4 else {}

    @cached_property
    def importance_range(self) -> dict[str, tuple[float, float]]:
        """The lowest and highest importance of each key, over trials drawn again and again with replacement.

        What ranges widely is not known. Empty for fewer than ten trials: nothing is known there.
        """
        compared = self._compared()
        if len(compared) < MIN_TRIALS:
            return {}
        draws = generator(self.config.run.seed, "importance").integers(
            0, len(compared), (_RESAMPLES, min(len(compared), _MOST_RESAMPLED))
        )
        found = [self._importance_of([compared[index] for index in draw], num_trees=16) for draw in draws]
        found = [importance for importance in found if importance]
        keys = found[0] if found else {}
        return {key: (min(of[key] for of in found), max(of[key] for of in found)) for key in keys}

    @cached_property
    def histories(self) -> dict[int, tuple[EpochRecord, ...]]:
        """The epochs of each trial, by its number."""
        return {trial.number: trial.history for trial in self._trials}

    def _compared(self) -> list[tuple[Values, float]]:
        """Return values and accuracy of the trials after the first rung, which each of these has reached."""
        first = marks_of(self.config)[0]
        found = [(trial, trial.result(first)) for trial in self._trials if trial.reached(first)]
        return [(trial.values, result.validation_accuracy) for trial, result in found if result is not None]

    def _importance_of(
        self, compared: Sequence[tuple[Values, float]], num_trees: int = 64
    ) -> dict[str, float]:
        # They import scikit-learn, which takes as long as torch does: a search needs it when it ends.
        from optuna.importance import FanovaImportanceEvaluator, get_param_importances

        space = self.config.parsed_space()
        study = create_study()
        for values, accuracy in compared:
            there = space.distributions(values)
            study.add_trial(create_trial(params=values, distributions=there, value=accuracy))
        if len({accuracy for _, accuracy in compared}) < 2:
            return {}
        keys = [d.key for d in space.dimensions if not d.when]
        evaluator = FanovaImportanceEvaluator(n_trees=num_trees, seed=0)
        return dict(get_param_importances(study, evaluator=evaluator, params=keys))

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as JSON-able values."""
        return {
            "folder": str(self.folder),
            "is_complete": self.is_complete,
            "strategy": self.config.strategy,
            "halving": self.config.halving,
            "seed": self.config.run.seed,
            "space": self.config.space,
            "winner": self.winner,
            "winner_folder": str(self.winner_folder) if self.winner_folder else None,
            "finalists": [asdict(final) | {"is_tied": final.is_tied} for final in self.finals],
            "trials": [asdict(row) for row in self.trials],
            "importance": self.importance,
            "num_image_passes": self.num_image_passes,
            "num_finalist_image_passes": self.num_finalist_image_passes,
            "seconds": self.seconds,
        }


def summarise(path: Path) -> Summary:
    """Read a search, finished or not, running or not.

    Raises:
        RunFolderError: there is none, or a file is damaged.
    """
    folder = SearchFolder(path)
    config = folder.config()
    trials = folder.trials(config)
    marks = marks_of(config)
    ranked = choose_finalists(trials, marks, len(trials))
    are_ranked = {trial.number for trial in ranked}
    ranked += [trial for trial in trials if trial.number not in are_ranked]
    places = standings(trials, config)
    stopped = {number for place in places for number in place.stopped}
    through = len(trials) >= config.num_trials and not any(place.due for place in places)
    finalists = choose_finalists(trials, marks, config.num_finalists)
    finals, num_missing = _finals(folder, config, finalists) if through else ([], 1)
    winner = finals[0].number if finals else next((t.number for t in ranked if t.best() is not None), None)
    data = folder.environment().get("data", {})
    num_train, num_validation = data.get("num_train", 0), data.get("num_validation", 0)
    rows = tuple(_row(folder, trial, stopped, num_validation) for trial in ranked)
    trained_again = [(t, folder.run_folder(t.number, seed)) for t in trials for seed in config.seeds]
    return Summary(
        folder=path,
        config=config,
        trials=rows,
        finals=tuple(finals),
        is_complete=through and num_missing == 0,
        winner=winner,
        winner_folder=_winner_folder(folder, config, winner),
        num_image_passes=sum(
            round(trial.num_epochs_done * _num_train(config, trial.values, num_train)) for trial in trials
        ),
        num_finalist_image_passes=sum(
            len(folder.history(run)) * _num_train(config, trial.values, num_train)
            for trial, run in trained_again
        ),
        seconds=sum(row.seconds for row in rows) + sum(_seconds(run) for _, run in trained_again),
        _trials=tuple(trials),
    )


def write_summary(summary: Summary) -> None:
    """Write search.json and search.csv into the search's folder."""
    folder = SearchFolder(summary.folder)
    write_json(folder.summary_path, summary.to_dict())
    keys = summary.config.parsed_space().keys
    head = ["trial", "status", "accuracy", "accuracy_low", "accuracy_high", "loss"]
    rows = []
    for row in summary.trials:
        interval = row.accuracy_interval or (None, None)
        values = [row.values.get(key) for key in keys]
        numbers = [row.accuracy, *interval, row.loss, *values, row.num_epochs, row.seconds]
        rows.append([row.number, row.status, *numbers, row.reason])
    write_csv(folder.table_path, [*head, *keys, "epochs", "seconds", "reason"], rows, "\n")


def _num_train(config: SearchConfig, values: Values, num_there: int) -> int:
    return min(values.get("data.num_train", config.run.data.num_train) or num_there, num_there)


def _row(folder: SearchFolder, trial: Trial, stopped: set[int], num_validation: int) -> TrialRow:
    best = trial.result()
    if best and not num_validation:
        raise RunFolderError(
            f"{folder.environment_path}: missing, so nobody knows how many images were validated"
        )
    return TrialRow(
        number=trial.number,
        values=trial.values,
        status=trial.status(stopped),
        accuracy=best.validation_accuracy if best else None,
        accuracy_interval=wilson_interval(best.num_validation_correct, num_validation) if best else None,
        loss=best.validation_loss if best else None,
        num_epochs=round(trial.num_epochs_done, 2),
        seconds=_seconds(folder.run_folder(trial.number)),
        reason=trial.reasons[-1] if trial.reasons else None,
    )


def _finals(
    folder: SearchFolder, config: SearchConfig, finalists: Sequence[Trial]
) -> tuple[list[Final], int]:
    """Return the finalists as compared, empty while trainings are missing, and how many are."""
    correct: dict[int, dict[int, Correct]] = {trial.number: {} for trial in finalists}
    num_missing = 0
    for trial in finalists:
        for seed in config.seeds:
            run = folder.run_folder(trial.number, seed)
            found = folder.correct(run)
            if found is not None:
                correct[trial.number][seed] = found
            elif not folder.attempts(run).failed:
                num_missing += 1
    return (compare_finalists(correct) if num_missing == 0 else []), num_missing


def _winner_folder(folder: SearchFolder, config: SearchConfig, winner: int | None) -> Path | None:
    """Return the winner's training with the lowest validation loss; before the finals, its trial."""
    if winner is None:
        return None
    found = []
    for seed in config.seeds:
        run = folder.run_folder(winner, seed)
        kept = [record.validation_loss for record in folder.history(run) if record.is_best]
        if kept and folder.correct(run) is not None:
            found.append((kept[-1], run))
    return min(found)[1] if found else folder.run_folder(winner)


def _seconds(folder: Path) -> float:
    return sum(row["seconds"] for row in RunFolder(folder).timings())
