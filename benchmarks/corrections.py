"""Plants wrong labels in a folder of photographs, reviews them as `kilnet review` does, and trains before and after.

    python benchmarks/corrections.py trashnet/ --budget 60s --out runs/corrections

One label in twenty of training and validation becomes another class, at random, in a table of labels; the test keeps
its own. A network is trained on the table for the budget. Then come the pictures that `kilnet review` shows, the most
suspicious first, and each is answered by the label that the folder has, until `--answers` have been given.
The network is trained again with these corrections, for the same budget. Both are tested on the same pictures.
"""

import argparse
import csv
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import kilnet
from kilnet.config import DataConfig
from kilnet.data.answer_table import AnswerTable
from kilnet.data.dataset import SPLIT_NAMES
from kilnet.data.sources import load_dataset
from kilnet.inspection.review_run import RunReview
from kilnet.metrics.classification import Evaluation
from kilnet.seeding import generator
from kilnet.server.review_session import ReviewSession


def plant(photos: Path, table: Path, fraction: float, seed: int) -> tuple[dict[str, str], set[str]]:
    """Write a table of all pictures with some wrong labels; return the true labels and which pictures those are."""
    dataset = load_dataset(DataConfig(source=str(photos), split_seed=seed))
    truth, splits = {}, {}
    for split in SPLIT_NAMES:
        part = dataset.split(split)
        for name, label in zip(part.names, part.labels, strict=True):
            truth[name], splits[name] = dataset.classes[label], split
    random = generator(seed, "planted labels")
    names = sorted(name for name, split in splits.items() if split != "test")
    wrong = set(random.choice(names, round(fraction * len(names)), replace=False).tolist())
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        for name, label in truth.items():
            others = [other for other in dataset.classes if other != label]
            told = others[int(random.integers(len(others)))] if name in wrong else label
            writer.writerow([name, told, splits[name]])
    return truth, wrong


def answer_all(run: kilnet.Run, truth: Mapping[str, str], table: Path, most: int) -> list[str]:
    """Answer what the page shows by the truth, the most suspicious first; return the pictures in that order."""
    dataset = run.own_data()
    reviewed = RunReview(run, dataset, run.calibrated_classifier(), say=print)
    session = ReviewSession(dataset.classes, reviewed.items(), AnswerTable(table))
    order = session.order()[:most]
    for number in order:
        session.answer(number, "wrong", truth[session.items[number].image.name])
    print(f"{len(session.items)} pictures are shown, {len(order)} of them answered")
    return [session.items[number].image.name for number in order]


def main() -> None:
    """Plant, train, review, train again, and print the accuracies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--budget", default="60s")
    parser.add_argument(
        "--frozen",
        action="store_true",
        help="fit the last layer of a pretrained network, in place of the budget",
    )
    parser.add_argument("--fraction", type=float, default=0.05, help="part of the labels that become wrong")
    parser.add_argument("--answers", type=int, default=200, help="how many pictures a person looks at")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where the runs are kept; default: nowhere")
    given = parser.parse_args()
    with nullcontext(given.out) if given.out else tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        labels, answers = folder / "labels.csv", folder / "corrections.csv"
        truth, wrong = plant(given.photos, labels, given.fraction, given.seed)
        settings = {"data.root": str(given.photos.resolve())}
        found: list[Evaluation] = []
        for name in ("before", "after"):
            if name == "after":
                answers.unlink(missing_ok=True)
                shown = answer_all(kilnet.Run(folder / "before"), truth, answers, given.answers)
                for first in (len(wrong) // 2, len(wrong), len(shown)):
                    hits = len(wrong.intersection(shown[:first]))
                    print(
                        f"{hits} of {len(wrong)} planted labels are among the first {min(first, len(shown))}"
                    )
                settings["data.corrections"] = str(answers)
            run = kilnet.train(
                labels,
                settings=settings,
                budget=None if given.frozen else given.budget,
                frozen=given.frozen,
                seed=given.seed,
                out=folder / name,
            )
            found.append(kilnet.evaluate(run))
        for name, evaluation in zip(("before", "after"), found, strict=True):
            low, high = evaluation.accuracy_interval
            print(
                f"{name}: test accuracy {evaluation.accuracy:.2%} ({100 * low:.1f}-{100 * high:.1f}), macro recall "
                f"{evaluation.macro_recall:.2%}, {evaluation.num_images} images"
            )


if __name__ == "__main__":
    main()
