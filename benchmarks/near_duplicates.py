"""Plants copies among a folder's photographs and counts which pairs `kilnet data` would name as near-duplicates.

    python benchmarks/near_duplicates.py trashnet/ [--part 0.02] [--seed 0]

Copies are saved again (JPEG, quality 40), scaled to 0.6 of their sides, cropped by 5% at a random place, or 1.3 times
as bright, a quarter each, and then all saved as JPEG of quality 90.
"""

import argparse
import io
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from kilnet.data.near_duplicates import SIDE, near_duplicates

KINDS = ("saved again", "scaled", "cropped", "brighter")


def changed(image: Image.Image, kind: str, random: np.random.Generator) -> Image.Image:
    """Return a copy of a picture, changed in one way."""
    width, height = image.size
    if kind == "saved again":
        return saved(image, 40)
    if kind == "scaled":
        return image.resize((int(width * 0.6), int(height * 0.6)), Image.Resampling.BICUBIC)
    if kind == "brighter":
        return ImageEnhance.Brightness(image).enhance(1.3)
    left, top = random.integers(0, int(width * 0.05) + 1), random.integers(0, int(height * 0.05) + 1)
    return image.crop((left, top, left + int(width * 0.95), top + int(height * 0.95)))


def saved(image: Image.Image, quality: int) -> Image.Image:
    """Return what is left of a picture as JPEG."""
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    return Image.open(content).convert("RGB")


def main() -> None:
    """Plant, look, and print a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--part", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    random = np.random.default_rng(given.seed)
    images = [Image.open(path).convert("RGB") for path in sorted(given.folder.rglob("*.jpg"))]
    chosen = random.choice(len(images), int(given.part * len(images)), replace=False)
    kinds = [KINDS[number % len(KINDS)] for number in range(len(chosen))]
    copies = [saved(changed(images[i], kind, random), 90) for i, kind in zip(chosen, kinds, strict=True)]
    every = [*images, *copies]
    thumbnails = np.stack([np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX)) for image in every])
    start = time.process_time()
    named = {(int(one), int(other)) for one, other in near_duplicates(thumbnails)}
    seconds = time.process_time() - start
    planted = {(int(index), len(images) + place) for place, index in enumerate(chosen)}
    num_pairs = len(every) * (len(every) - 1) // 2 - len(planted)
    others = len(named - planted)
    print(
        f"{len(planted & named)} of {len(planted)} planted copies found; {others} of {num_pairs:,} other pairs named "
        f"({others / num_pairs:.4%}); {seconds:.1f} s of processor time"
    )
    for (_, place), kind in zip(sorted(planted, key=lambda pair: pair[1]), kinds, strict=True):
        if not any(pair[1] == place for pair in planted & named):
            print(f"not found: one that was {kind}")


if __name__ == "__main__":
    main()
