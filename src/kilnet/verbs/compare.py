"""Two runs beside each other."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kilnet.data.dataset import one_split
from kilnet.data.sources import Data
from kilnet.errors import DataError
from kilnet.inspection.comparison import Disagreement, PairedOutcome, disagreements, paired_outcome
from kilnet.metrics import Evaluation
from kilnet.recipes.changes import differences
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
    with ProgressDisplay(enabled=progress) as display:
        dataset = runs[0].own_data(data, data_dir, display.advance)
        display.warn(dataset.warnings)
        if not runs[1].was_trained_on(dataset):
            raise DataError(
                f"{runs[0].folder} and {runs[1].folder} were not trained and validated on the same images, so they "
                "cannot be compared image by image; evaluate each, or train one of them on the other's data"
            )
        runs[1].own_data(dataset)
        found = [evaluated(run, split) for run in runs]
    return RunComparison(
        names=(str(runs[0].folder), str(runs[1].folder)),
        split=split,
        differences=changed,
        evaluations=(found[0].evaluation, found[1].evaluation),
        outcome=paired_outcome(*found),
        disagreements=disagreements(*found),
    )
