"""Images a second of a trained network: Kilnet in fp32 and bf16, its exports in ONNX Runtime in fp32 and int8, in turn.

    kilnet export RUN --format onnx; kilnet export RUN --format int8
    python benchmarks/inference.py RUN [--images N] [--rounds N] [--threads N] [--data-dir DIR]

From uint8 images in memory to probabilities; the images are training images of CIFAR-10. All four go in turn over the
same images in every round, each with the same number of threads; medians over the rounds are compared. Accuracies are
those of the exports' proofs.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

import kilnet
from kilnet import hardware
from kilnet.config import DataConfig
from kilnet.data.sources import load_dataset
from kilnet.exporting.onnx_file import OnnxFile

Classify = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]


def classifiers(run: Path, threads: int) -> dict[str, Classify]:
    """Return what is compared, by name."""
    exact = kilnet.load(run)
    rounded = replace(exact, settings=replace(exact.settings, precision="bf16"))
    exports = {
        name: OnnxFile((run / "exports" / name / "model.onnx").read_bytes(), name, threads)
        for name in ("onnx", "int8")
    }
    return {
        "kilnet fp32": exact.probabilities,
        "kilnet bf16": rounded.probabilities,
        "onnxruntime fp32": lambda images: exports["onnx"].answers(images)[0],
        "onnxruntime int8": lambda images: exports["int8"].answers(images)[0],
    }


def measure(
    compared: dict[str, Classify], images: npt.NDArray[np.uint8], rounds: int
) -> dict[str, list[float]]:
    """Return images a second by name, one a round."""
    speeds: dict[str, list[float]] = {name: [] for name in compared}
    for classify in compared.values():
        classify(images[:64])  # warm-up
    for _ in range(rounds):
        for name, classify in compared.items():
            start = time.perf_counter()
            classify(images)
            speeds[name].append(len(images) / (time.perf_counter() - start))
    return speeds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--data-dir", help="a copy of CIFAR-10; else KILNET_DATA, else it is fetched")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    hardware.keep_freed_memory()
    images = load_dataset(DataConfig(dir=options.data_dir)).train.images[: options.images]
    print(
        f"{hardware.machine()}; torch {torch.__version__}, onnxruntime {onnxruntime.__version__}; "
        f"{options.threads} threads; {len(images):,} images, {options.rounds} rounds"
    )
    speeds = measure(classifiers(options.run, options.threads), images, options.rounds)
    for name, values in speeds.items():
        print(f"{name:18} {median(values):8,.0f} images/s ({min(values):,.0f} to {max(values):,.0f})")
    for above, below in (("kilnet fp32", "onnxruntime fp32"), ("onnxruntime int8", "onnxruntime fp32")):
        ratios = [a / b for a, b in zip(speeds[above], speeds[below], strict=True)]
        print(f"{above} / {below}: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    proof = json.loads((options.run / "exports" / "int8" / "model.proof.json").read_text())["proof"]
    print(
        f"int8: {100 * proof['accuracy_lost']:.2f} points of accuracy lost on {proof['num_images']:,} images, "
        f"{proof['agreement']:.2%} the same class"
    )


if __name__ == "__main__":
    main()
