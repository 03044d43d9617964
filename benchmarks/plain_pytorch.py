"""The same network, batch size and augmentation, trained by a plain PyTorch loop and by Kilnet, in turn.

    python benchmarks/plain_pytorch.py [--rounds N] [--batches N] [--data-dir DIR]

The plain loop is what a tutorial has: fp32, a DataLoader with num_workers=0, Pillow augmenting one image at a time,
torch's own dropout, Adam. Each measurement is a process of its own, so that neither finds the other's threads,
allocator or caches; plain and Kilnet alternate, and medians over the rounds are compared. Prints images a second of
whole training steps and of augmentation alone (from a stored image to its place in a normalised batch, shuffled,
bilinear on both sides), the ratios, and augmentation's part of Kilnet's step.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from statistics import median

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from kilnet import hardware
from kilnet.data.augment import Augmentation
from kilnet.data.dataset import ImageDataset, Split
from kilnet.data.preprocess import Preprocessing
from kilnet.data.sources import load_dataset
from kilnet.models import build, complete
from kilnet.recipes.reading import load_config
from kilnet.training.loop import TrainingLoop
from kilnet.training.records import StepRecord
from processes import run_json

RECIPE = "tutorial-winner"


class PlainNet(nn.Module):
    """ConfigNet(48, 96, 256) on 32x32 pixels, as anybody would write it."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *(nn.Conv2d(3, 48, 3), nn.ReLU(), nn.Conv2d(48, 48, 3), nn.ReLU(), nn.Dropout(0.1)),
            *(nn.Conv2d(48, 96, 3), nn.ReLU(), nn.Conv2d(96, 96, 3, stride=2), nn.ReLU(), nn.Dropout(0.5)),
        )
        self.head = nn.Sequential(
            *(nn.Flatten(), nn.BatchNorm1d(13824), nn.ReLU()),
            *(nn.Linear(13824, 256), nn.ReLU(), nn.Linear(256, 10)),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.convolutions(images))  # type: ignore[no-any-return]


class PillowImages(Dataset[tuple[Tensor, int]]):
    """Augments one image at a time: rotation by up to 20 degrees, brightness 0.2, hue 0.1, horizontal flip."""

    def __init__(self, split: Split) -> None:
        self.images = [Image.fromarray(image.transpose(1, 2, 0)) for image in split.images]
        self.labels = split.labels.tolist()
        self.random = np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.images)

    def augmented(self, index: int) -> Image.Image:
        image = self.images[index].rotate(self.random.uniform(-20, 20), Image.Resampling.BILINEAR)
        image = ImageEnhance.Brightness(image).enhance(self.random.uniform(0.8, 1.2))
        hue, saturation, value = image.convert("HSV").split()
        shifted = np.asarray(hue) + np.uint8(int(self.random.uniform(-0.1, 0.1) * 255) % 256)
        image = Image.merge("HSV", (Image.fromarray(shifted), saturation, value)).convert("RGB")
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if self.random.random() < 0.5 else image

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        pixels = torch.from_numpy(np.array(self.augmented(index))).permute(2, 0, 1)
        return pixels.float().div(255).sub(0.5).div(0.5), self.labels[index]


def plain_batches(dataset: ImageDataset, batch_size: int) -> DataLoader[tuple[Tensor, int]]:
    return DataLoader(PillowImages(dataset.train), batch_size, shuffle=True, num_workers=0)


def plain_training(dataset: ImageDataset, batch_size: int) -> Iterator[int]:
    """Yield the images of one training step after another."""
    torch.manual_seed(0)
    model = PlainNet().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    while True:
        for images, labels in plain_batches(dataset, batch_size):
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield len(labels)


def plain_augmentation(dataset: ImageDataset, batch_size: int) -> Iterator[int]:
    """Yield the images of one augmented batch after another."""
    while True:
        for _, labels in plain_batches(dataset, batch_size):
            yield len(labels)


def kilnet_training(dataset: ImageDataset, batch_size: int) -> Iterator[int]:
    """Yield the images of one training step after another, settings measured first as `kilnet train` does."""
    config = load_config(RECIPE, {"training.batch_size": batch_size, "training.epochs": 100})
    model = build(config.model, dataset.image_shape, len(dataset.classes))
    preprocessing = Preprocessing.fit(dataset)
    batch = preprocessing(torch.from_numpy(dataset.train.images[:batch_size]))
    settings = hardware.choose(config.hardware, model, complete(config.model), batch, len(dataset.classes))
    print(settings.reason, file=sys.stderr)
    for record in TrainingLoop(model, dataset, config, preprocessing, settings):
        if isinstance(record, StepRecord):
            yield record.num_images


def kilnet_augmentation(dataset: ImageDataset, batch_size: int) -> Iterator[int]:
    """Yield the images of one augmented batch after another; the parameters of each epoch are drawn within the time."""
    hardware.keep_freed_memory()
    config = load_config(RECIPE)
    preprocessing = Preprocessing.fit(dataset)
    images = torch.from_numpy(dataset.train.images)
    epoch = 0
    while True:
        augmentation = Augmentation.draw(config.augment, len(images), 0, epoch)
        for indices in torch.randperm(len(images)).split(batch_size):
            preprocessing(augmentation(images[indices], indices))
            yield len(indices)
        epoch += 1


MEASUREMENTS: dict[str, Callable[[ImageDataset, int], Iterator[int]]] = {
    function.__name__: function
    for function in (plain_training, kilnet_training, plain_augmentation, kilnet_augmentation)
}


def measure(name: str, num_batches: int, batch_size: int, data_dir: str | None) -> float:
    """Return images a second over `num_batches` batches, after two to warm up."""
    settings = {"data.source": "cifar10", "data.num_train": (num_batches + 2) * batch_size}
    dataset = load_dataset(load_config(settings=settings | ({"data.dir": data_dir} if data_dir else {})).data)
    steps = MEASUREMENTS[name](dataset.sealed(), batch_size)
    next(steps), next(steps)
    start = time.perf_counter()
    num_images = sum(next(steps) for _ in range(num_batches))
    return num_images / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each kind")
    parser.add_argument("--batches", type=int, default=4, help="training steps a measurement")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--data-dir", help="a copy of CIFAR-10; else KILNET_DATA, else it is fetched")
    parser.add_argument("--only", choices=MEASUREMENTS, help="one measurement, in this process, as JSON")
    options = parser.parse_args()
    if options.only:
        speed = measure(options.only, options.batches, options.batch_size, options.data_dir)
        print(json.dumps({"images_per_second": speed}))
        return

    print(f"{hardware.machine()}; torch {torch.__version__}; batch size {options.batch_size}")
    speeds: dict[str, list[float]] = {name: [] for name in MEASUREMENTS}
    for number in range(options.rounds):
        for name in MEASUREMENTS:
            command = [sys.executable, __file__, "--only", name, "--batch-size", str(options.batch_size)]
            # Augmentation alone is quick: more batches, or the clock would see only its start.
            command += ["--batches", str(options.batches * (4 if "augmentation" in name else 1))]
            command += ["--data-dir", options.data_dir] if options.data_dir else []
            speeds[name].append(run_json(command)["images_per_second"])
        print(
            f"round {number + 1}: "
            + ", ".join(f"{name} {values[-1]:,.0f}" for name, values in speeds.items())
        )

    print()
    for what in ("training", "augmentation"):
        plain, ours = speeds[f"plain_{what}"], speeds[f"kilnet_{what}"]
        ratios = [b / a for a, b in zip(plain, ours, strict=True)]
        print(
            f"{what}: plain {median(plain):,.0f}, Kilnet {median(ours):,.0f} images/s; ratio {median(ratios):.2f} "
            f"(median of {len(ratios)} pairs, {min(ratios):.2f} to {max(ratios):.2f})"
        )
    part = median(speeds["kilnet_training"]) / median(speeds["kilnet_augmentation"])
    print(f"augmentation is {part:.1%} of Kilnet's step")


if __name__ == "__main__":
    main()
