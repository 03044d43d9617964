"""Plants wrong labels in CIFAR-10's training images, and counts how many the ranking of suspected labels finds.

    python benchmarks/label_errors.py [--images N] [--folds K] [--recipe FILE] [--set KEY=VALUE]...
                                       [--epochs N] [--data-dir DIR] [--out DIR]

One label in twenty becomes another class, at random. Networks trained on the images of the other folds predict each
image; of the images ranked first, as many as were planted, the part that was planted is printed: for Kilnet's ranking,
for scores it could rank by, and for cleanlab on the same predictions, if it is installed. Interrupted, the same command
resumes where it writes into --out. CIFAR-10 has some wrong labels of its own, which count as mistakes here.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kilnet.config import RunConfig
from kilnet.data.dataset import ImageDataset
from kilnet.data.sources import load_dataset
from kilnet.inspection.label_errors import label_errors
from kilnet.metrics.intervals import wilson_interval
from kilnet.metrics.logits import softmax
from kilnet.models import complete
from kilnet.recipes.reading import load_config, parse_settings
from kilnet.runs.folds import CrossValidation
from kilnet.seeding import generator
from kilnet.terminal.progress import ProgressDisplay
from kilnet.training.run_folder import RunFolder

Probabilities = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def plant(dataset: ImageDataset, fraction: float, seed: int) -> tuple[ImageDataset, npt.NDArray[np.bool_]]:
    """Give a part of the training images another label; return the data and which images they are."""
    random = generator(seed, "planted labels")
    labels = dataset.train.labels.copy()
    chosen = random.choice(len(labels), round(fraction * len(labels)), replace=False)
    num_classes = len(dataset.classes)
    labels[chosen] = (labels[chosen] + random.integers(1, num_classes, len(chosen))) % num_classes
    planted = np.zeros(len(labels), bool)
    planted[chosen] = True
    return replace(dataset, train=replace(dataset.train, labels=labels)), planted


def held_out_probabilities(
    dataset: ImageDataset, config: RunConfig, folder: Path, num_folds: int
) -> Probabilities:
    validation = CrossValidation(dataset, config, RunFolder(folder), num_folds)
    with ProgressDisplay() as display:
        for fold in validation:
            display.say(f"fold {fold.number} of {num_folds}: {len(fold.indices):,} images held out")
            display.follow(fold.session, config.training.epochs)
    return softmax(validation.logits())


def rankings(probabilities: Probabilities, labels: Labels) -> Iterator[tuple[str, Labels]]:
    """Yield a name and all images, the most suspicious first, for each way of ranking."""
    found = label_errors(probabilities, labels)
    yield f"Kilnet (suspects {len(found.suspects):,}, estimates {found.num_wrong:,.0f})", found.ranking
    if find_spec("cleanlab") is None:
        print("cleanlab is not installed: no comparison")
        return
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    for method in ("self_confidence", "normalized_margin"):
        issues = find_label_issues(labels, probabilities, return_indices_ranked_by=method, n_jobs=1)
        scores = get_label_quality_scores(labels, probabilities, method=method)
        rest = np.setdiff1d(np.argsort(scores, kind="stable"), issues, assume_unique=True)
        yield f"cleanlab, {method} (suspects {len(issues):,} labels)", np.concatenate([issues, rest])


def main(arguments: list[str] | None = None, show: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--images", type=int, help="use the first so many training images; default: all 45,000"
    )
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--recipe", type=Path, help="how the folds' networks are trained; default: Kilnet's")
    parser.add_argument(
        "--set", action="append", default=[], help="KEY=VALUE, over the recipe; may be repeated"
    )
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--fraction", type=float, default=0.05, help="part of the labels that become wrong")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-dir", help="a copy of CIFAR-10; else KILNET_DATA, else it is fetched")
    parser.add_argument("--out", type=Path, help="where the folds' runs are kept; default: nowhere")
    given = parser.parse_args(arguments)
    settings = {
        "data.source": "cifar10",
        "data.dir": given.data_dir,
        "data.num_train": given.images,
        "training.epochs": given.epochs,
        "seed": given.seed,
        **parse_settings(given.set),
    }
    config = load_config(given.recipe, settings)
    config = config.model_copy(update={"model": complete(config.model)})
    dataset, planted = plant(load_dataset(config.data), given.fraction, given.seed)
    with nullcontext(given.out) if given.out else tempfile.TemporaryDirectory() as folder:
        probabilities = held_out_probabilities(dataset, config, Path(folder), given.folds)
    labels, num_planted = dataset.train.labels, int(planted.sum())
    show(
        f"{num_planted:,} of {len(labels):,} labels planted, {given.folds} folds, {config.model.name}, "
        f"{given.epochs} epochs; accuracy on the other labels, held out: "
        f"{np.mean(probabilities.argmax(1)[~planted] == labels[~planted]):.1%}"
    )
    for name, ranking in rankings(probabilities, labels):
        num_found = int(planted[ranking[:num_planted]].sum())
        low, high = wilson_interval(num_found, num_planted)
        show(f"{name:50} {num_found / num_planted:6.1%} ({low:.1%}–{high:.1%}) of the first {num_planted:,}")


if __name__ == "__main__":
    main()
