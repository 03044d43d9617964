"""Two runs beside each other, or any number."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from kilnet.data.dataset import one_split
from kilnet.data.sources import Data
from kilnet.errors import DataError, InputError
from kilnet.inspection.comparison import Disagreement, PairedOutcome, disagreements, holm, paired_outcome
from kilnet.metrics.classification import Evaluation
from kilnet.metrics.notebook import facts_html, interval
from kilnet.recipes.changes import differences
from kilnet.runs.evaluation import EvaluatedSplit
from kilnet.runs.run import Run, opened
from kilnet.terminal.progress import ProgressDisplay
from kilnet.verbs.evaluate import evaluated


@dataclass(frozen=True, eq=False)
class RunComparison:
    """How two runs of the same data differ.

    Attributes:
        names: their folders.
        split: on which images.
        differences: one line per setting, `key: first -> second`.
        evaluations: of both, with macro recall and what else accuracy does not show.
        outcome: counts, the difference in accuracy (second less first), its interval and p-value.
        disagreements: images that one got right and the other wrong.
    """

    names: tuple[str, str]
    split: str
    differences: tuple[str, ...]
    evaluations: tuple[Evaluation, Evaluation]
    outcome: PairedOutcome
    disagreements: tuple[Disagreement, ...]

    def __repr__(self) -> str:
        return f"RunComparison({self.names[0]!r}, {self.names[1]!r}, {self.split}: {self._difference})"

    def _repr_html_(self) -> str:
        accuracies = [
            f"{found.accuracy:.1%}, {interval(*found.accuracy_interval)}" for found in self.evaluations
        ]
        facts = dict(zip(self.names, accuracies, strict=True)) | {"difference": self._difference}
        return facts_html(
            f"two runs on {self.split}", facts | {"settings": "; ".join(self.differences) or "the same"}
        )

    @property
    def _difference(self) -> str:
        low, high = self.outcome.interval
        clear = "clear" if self.outcome.is_clear else "within the noise"
        points = f"{100 * self.outcome.difference:+.2f} points ({100 * low:+.2f} to {100 * high:+.2f})"
        return f"{points}, p = {self.outcome.p_value:.2g}: {clear}"

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the pixels as JSON-able values."""
        outcome = self.outcome
        return {
            "runs": list(self.names),
            "split": self.split,
            "differences": list(self.differences),
            "num_images": outcome.num_images,
            **asdict(outcome),
            "accuracies": [found.accuracy for found in self.evaluations],
            "macro_recalls": [found.macro_recall for found in self.evaluations],
            "macro_recall_intervals": [list(found.macro_recall_interval) for found in self.evaluations],
            "nums_never_predicted": [len(found.never_predicted) for found in self.evaluations],
            "majority_share": self.evaluations[0].majority_share,
            "difference": outcome.difference,
            "interval": list(outcome.interval),
            "p_value": outcome.p_value,
            "is_clear": outcome.is_clear,
            "disagreements": [
                {k: value for k, value in vars(found).items() if k != "image"} for found in self.disagreements
            ],
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class RunRanking:
    """How any number of runs of the same data compare, the most accurate first.

    Attributes:
        names: their folders.
        split: on which images.
        settings: that differ: the dotted key, and its value in each run, None where a run has no such setting.
        evaluations: of each.
        pairs: what was tested: the places of two runs in `names`, from 0, and on which images they were right.
        p_values: of the pairs, corrected for their number by Holm's method.
    """

    names: tuple[str, ...]
    split: str
    settings: dict[str, tuple[Any, ...]]
    evaluations: tuple[Evaluation, ...]
    pairs: tuple[tuple[int, int, PairedOutcome], ...]
    p_values: tuple[float, ...]

    def against_best(self) -> list[tuple[PairedOutcome, float]]:
        """Return for each run but the first how it compares with the first, and the corrected p-value."""
        tested = zip(self.pairs, self.p_values, strict=True)
        return [(outcome, p_value) for (one, _, outcome), p_value in tested if one == 0]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return {
            "runs": list(self.names),
            "split": self.split,
            "settings": {key: list(values) for key, values in self.settings.items()},
            "num_images": self.evaluations[0].num_images,
            "accuracies": [found.accuracy for found in self.evaluations],
            "accuracy_intervals": [list(found.accuracy_interval) for found in self.evaluations],
            "macro_recalls": [found.macro_recall for found in self.evaluations],
            "pairs": [
                {
                    "first": self.names[one],
                    "second": self.names[other],
                    **asdict(outcome),
                    "difference": outcome.difference,
                    "interval": list(outcome.interval),
                    "p_value": outcome.p_value,
                    "p_value_holm": p_value,
                    "is_clear": p_value < 0.05,
                }
                for (one, other, outcome), p_value in zip(self.pairs, self.p_values, strict=True)
            ],
        }


def compare(
    first: Run | str | Path,
    second: Run | str | Path,
    split: str = "validation",
    *,
    data: Data | None = None,
    data_dir: str | None = None,
    model: str | None = None,
    progress: bool = True,
) -> RunComparison:
    """Compare two runs image by image: settings, accuracies with a paired test, where one is right and the other wrong.

    On the validation split the epochs whose weights are kept were chosen, for both runs alike.

    Args:
        first, second: what `train` returned, or their folders.
        split: "validation", "train" or "test"; reading the test split is recorded for both as `evaluate` does.
        data: the runs' data, if it cannot be loaded by its name.
        data_dir: as for `evaluate`.
        model: as for `evaluate`.
        progress: whether to show progress on standard error.

    Raises:
        DataError: the runs were not trained on the same data.
        KilnetError: see `kilnet.errors`.
    """
    split = one_split(split)
    runs = (opened(first, model), opened(second, model))
    changed = tuple(differences(runs[0].config, runs[1].config))
    found = _evaluated(runs, split, data, data_dir, progress)
    return RunComparison(
        names=(str(runs[0].folder), str(runs[1].folder)),
        split=split,
        differences=changed,
        evaluations=(found[0].evaluation, found[1].evaluation),
        outcome=paired_outcome(*found),
        disagreements=disagreements(*found),
    )


def compare_all(
    runs: Sequence[Run | str | Path],
    split: str = "validation",
    *,
    data: Data | None = None,
    data_dir: str | None = None,
    model: str | None = None,
    progress: bool = True,
) -> RunRanking:
    """Rank any number of runs by accuracy, with a paired test of every two, corrected for the number of tests.

    Args:
        runs: two or more: what `train` returned, or their folders.
        split, data, data_dir, model, progress: as for `compare`.

    Raises:
        InputError: there are fewer than two, or one is there twice.
        DataError: the runs were not trained on the same data.
        KilnetError: see `kilnet.errors`.
    """
    split = one_split(split)
    opened_runs = [opened(run, model) for run in runs]
    if len(opened_runs) < 2:
        raise InputError("a comparison needs two runs or more")
    if len({run.folder.resolve() for run in opened_runs}) < len(opened_runs):
        raise InputError("a run is there twice; name each once")
    found = _evaluated(opened_runs, split, data, data_dir, progress)
    order = sorted(range(len(found)), key=lambda index: -found[index].evaluation.num_correct)
    configs = [opened_runs[index].config for index in order]
    changed = {line.partition(": ")[0] for config in configs[1:] for line in differences(configs[0], config)}
    flat = [config.flat() for config in configs]
    outcomes = [
        (one, other, paired_outcome(found[order[one]], found[order[other]]))
        for one, other in combinations(range(len(order)), 2)
    ]
    return RunRanking(
        names=tuple(str(opened_runs[index].folder) for index in order),
        split=split,
        settings={key: tuple(settings.get(key) for settings in flat) for key in sorted(changed)},
        evaluations=tuple(found[index].evaluation for index in order),
        pairs=tuple(outcomes),
        p_values=holm([outcome.p_value for _, _, outcome in outcomes]),
    )


def _evaluated(
    runs: Sequence[Run], split: str, data: Data | None, data_dir: str | None, progress: bool
) -> list[EvaluatedSplit]:
    """Evaluate runs on the same images; refuse those that were trained on others."""
    with ProgressDisplay(enabled=progress) as display:
        dataset = runs[0].own_data(data, data_dir, display.advance)
        display.warn(dataset.warnings)
        for other in runs[1:]:
            if not other.was_trained_on(dataset):
                raise DataError(
                    f"{runs[0].folder} and {other.folder} were not trained and validated on the same images, so they "
                    "cannot be compared image by image; evaluate each, or train one of them on the other's data"
                )
            other.own_data(dataset)
        return [evaluated(run, split) for run in runs]
