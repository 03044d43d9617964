"""Plants wrong labels in CIFAR-10's training images, and counts how many the ranking of suspected labels finds.

    python benchmarks/label_errors.py [--noise random|confusions] [--fraction F] [--drawn-by KEY=VALUE]...
                                       [--images N] [--folds K] [--recipe FILE] [--set KEY=VALUE]...
                                       [--epochs N] [--data-dir DIR] [--out DIR]

Labels become another class at random; or, as people err, by what a network takes a picture for that was trained on
other pictures with their true labels (--drawn-by is what it has other than the judge): a picture is chosen the more
often the less sure that network is, and gets one of the classes it finds likely. Networks trained on the images of the
other folds, with these labels, then judge each image. Printed are AUROC and the part that was planted of the images
ranked first, as many as were planted, for Kilnet's ranking and for cleanlab on the same predictions, if it is
installed; the share of wrong labels that each estimates; precision and recall of what each names. Interrupted, the
same command resumes where it writes into --out. CIFAR-10 has some wrong labels of its own; they count as mistakes.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

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


def plant_confusions(
    dataset: ImageDataset, probabilities: Probabilities, fraction: float, seed: int
) -> tuple[ImageDataset, npt.NDArray[np.bool_]]:
    """Give a part of the training images a class that they may be taken for; see the module's docstring."""
    random = generator(seed, "planted confusions")
    labels, each = dataset.train.labels.copy(), np.arange(len(dataset.train))
    others = probabilities.copy()
    others[each, labels] = 0
    doubt = others.sum(axis=1)
    chosen = random.choice(each, round(fraction * len(each)), replace=False, p=doubt / doubt.sum())
    for image in chosen:
        labels[image] = random.choice(len(dataset.classes), p=others[image] / doubt[image])
    return replace(dataset, train=replace(dataset.train, labels=labels)), np.isin(each, chosen)


def held_out_probabilities(
    dataset: ImageDataset, config: RunConfig, folder: Path, num_folds: int
) -> Probabilities:
    validation = CrossValidation(dataset, config, RunFolder(folder), num_folds)
    with ProgressDisplay() as display:
        for fold in validation:
            display.say(f"fold {fold.number} of {num_folds}: {len(fold.indices):,} images held out")
            display.follow(fold.session, config.training.epochs)
    return softmax(validation.logits())


@dataclass(frozen=True, eq=False)
class Ranking:
    """What one way of judging labels says.

    Attributes:
        name: of the way.
        order: all images, the most suspicious first.
        num_named: how many of them it names as wrong.
        share: of the labels, which it estimates to be wrong.
    """

    name: str
    order: Labels
    num_named: int
    share: float


def rankings(probabilities: Probabilities, labels: Labels) -> Iterator[Ranking]:
    """Yield what Kilnet and cleanlab say."""
    found = label_errors(probabilities, labels)
    yield Ranking("Kilnet", found.ranking, len(found.suspects), found.wrong.share)
    if find_spec("cleanlab") is None:
        print("cleanlab is not installed: no comparison")
        return
    from cleanlab.count import num_label_issues
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    share = num_label_issues(labels, probabilities, estimation_method="off_diagonal") / len(labels)
    for method in ("self_confidence", "normalized_margin"):
        issues = find_label_issues(labels, probabilities, return_indices_ranked_by=method, n_jobs=1)
        scores = get_label_quality_scores(labels, probabilities, method=method)
        rest = np.setdiff1d(np.argsort(scores, kind="stable"), issues, assume_unique=True)
        yield Ranking(f"cleanlab, {method}", np.concatenate([issues, rest]), len(issues), share)


def main(arguments: list[str] | None = None, show: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--images", type=int, help="use the first so many training images; default: all 45,000"
    )
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--recipe", help="how the folds' networks are trained; default: Kilnet's")
    parser.add_argument(
        "--set", action="append", default=[], help="KEY=VALUE, over the recipe; may be repeated"
    )
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--fraction", type=float, default=0.05, help="part of the labels that become wrong")
    parser.add_argument("--noise", choices=("random", "confusions"), default="random")
    parser.add_argument(
        "--drawn-by", action="append", default=[], help="KEY=VALUE, over the rest; may be repeated"
    )
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
    config = configured(given.recipe, settings)
    dataset = load_dataset(config.data)
    with nullcontext(given.out) if given.out else tempfile.TemporaryDirectory() as folder:
        if given.noise == "random":
            dataset, planted = plant(dataset, given.fraction, given.seed)
        else:
            other = configured(given.recipe, settings | parse_settings(given.drawn_by))
            drawn = held_out_probabilities(
                load_dataset(other.data), other, Path(folder) / "drawn", given.folds
            )
            dataset, planted = plant_confusions(dataset, drawn, given.fraction, given.seed)
        probabilities = held_out_probabilities(dataset, config, Path(folder) / "judge", given.folds)
    labels, num_planted = dataset.train.labels, int(planted.sum())
    show(
        f"{num_planted:,} of {len(labels):,} labels planted ({num_planted / len(labels):.1%}), {given.folds} folds, "
        f"{config.model.name}; accuracy on the other labels, held out: "
        f"{np.mean(probabilities.argmax(1)[~planted] == labels[~planted]):.1%}"
    )
    for ranking in rankings(probabilities, labels):
        order, named = ranking.order, ranking.order[: ranking.num_named]
        num_found, num_right = int(planted[order[:num_planted]].sum()), int(planted[named].sum())
        low, high = wilson_interval(num_found, num_planted)
        auroc = roc_auc_score(planted[order], -np.arange(len(order)))
        show(
            f"{ranking.name:29} AUROC {auroc:.1%}; {num_found / num_planted:.1%} ({low:.1%}–{high:.1%}) of the first "
            f"{num_planted:,}; share {ranking.share:.1%}; names {len(named):,}, precision "
            f"{num_right / max(1, len(named)):.1%}, recall {num_right / num_planted:.1%}"
        )


def configured(recipe: str | None, settings: dict[str, Any]) -> RunConfig:
    """Return a recipe's configuration with settings, the options of its network completed."""
    config = load_config(recipe, settings)
    return config.model_copy(update={"model": complete(config.model)})


if __name__ == "__main__":
    main()
