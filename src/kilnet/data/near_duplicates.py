"""Pairs of pictures that show nearly the same: saved again, scaled, cropped a little, brighter, or from one burst.

Pictures are compared as vectors of small pixels, each colour about its own mean: their correlation does not change with
contrast, and hardly with size and compression. The nearest neighbours by 8 x 8 pixels are compared again with 16 x 16,
cropped and brightened against each other. What counts as near depends on how alike two pictures of the data are anyway.
"""

import hashlib
from contextlib import suppress

import numpy as np
import numpy.typing as npt
from PIL import Image
from safetensors.numpy import load

from kilnet.data.groups import joined_groups
from kilnet.data.tensor_files import sealed_tensors, unsealed_tensors
from kilnet.errors import RunFolderError, StorageError
from kilnet.seeding import generator
from kilnet.storage import cache_folder, make_folder, read_bytes, reading, write_bytes

SIDE = 32
"""Of the thumbnails that pictures are compared by."""
MAX_ALL_PAIRS = 60_000
"""All pairs of more pictures would take minutes; of these, pictures are compared that are near the same few."""
VERSION = 2
"""Raise it when the same pictures give other pairs, so that those in the cache are looked for again."""
# Chosen on TrashNet with planted copies (docs/results.md): 1 - correlation of the farthest pair that counts, its
# highest part of that of the nearest in ten pairs by chance, and what neighbours by 8 x 8 pixels have at least.
_FARTHEST = 0.03
_PART_OF_CHANCE = 0.075
_NEIGHBOUR = 0.88
_NUM_CELLS = 3  # in which a picture is looked for where there are too many for all pairs
_MAX_NEIGHBOURS = 20  # of one picture that are compared again
_MIN_DEVIATION = 4.0  # of 255: what varies less shows nothing to be compared
_LARGEST_SHARE = (
    0.05  # of all pictures in one chain of near ones; in a longer one they are near by their kind
)
_SMALLEST_CHAIN = 20
_BLOCK = 512
_BRIGHTER = (1.2, 1.4)  # as copies are, with white cut off

Float = npt.NDArray[np.float32]
Pairs = npt.NDArray[np.int64]


def thumbnail(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return what a picture is compared by, uint8 (SIDE, SIDE, 3), of uint8 (height, width, 3)."""
    if pixels.shape == (SIDE, SIDE, 3):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX))


def near_duplicates(thumbnails: npt.NDArray[np.uint8]) -> Pairs:
    """Find pairs of pictures that show nearly the same; equal ones are among them.

    Args:
        thumbnails: (num_pictures, SIDE, SIDE, 3), whole pictures, squeezed.

    Returns:
        int64 (num_pairs, 2), the smaller index first.
    """
    none = np.empty((0, 2), np.int64)
    if len(thumbnails) < 2:
        return none
    coarse, deviation = coarse_vectors(thumbnails)
    (detailed,) = np.nonzero(deviation >= _MIN_DEVIATION)
    if len(detailed) < 2:
        return none
    coarse = coarse[detailed]
    farthest = min(_FARTHEST, _PART_OF_CHANCE * _by_chance(coarse))
    pairs = _neighbours(coarse) if len(coarse) <= MAX_ALL_PAIRS else _neighbours_in_cells(coarse)
    if not len(pairs):
        return none
    distances = _distances(thumbnails[detailed], pairs, farthest)
    pairs, distances = pairs[distances < farthest], distances[distances < farthest]
    return detailed[_without_chains(pairs, distances, len(thumbnails))]


def kept_near_duplicates(thumbnails: npt.NDArray[np.uint8]) -> Pairs:
    """Return what `near_duplicates` finds, from the cache where these pictures were compared before.

    20,000 pictures take some ten seconds to compare, and a tenth of a second to know again.
    """
    key = hashlib.sha256(repr((VERSION, thumbnails.shape)).encode())
    key.update(np.ascontiguousarray(thumbnails).data)
    path = cache_folder() / "near" / f"{key.hexdigest()[:32]}.safetensors"
    with suppress(RunFolderError, FileNotFoundError), reading(path, "it is made again"):
        content = read_bytes(path)
        unsealed_tensors(content)
        return load(content)["pairs"]
    pairs = near_duplicates(thumbnails)
    with suppress(StorageError):  # they are looked for again next time
        make_folder(path.parent, parents=True)
        write_bytes(path, sealed_tensors({"pairs": ("I64", np.ascontiguousarray(pairs))}, {}))
    return pairs


def coarse_vectors(thumbnails: npt.NDArray[np.uint8]) -> tuple[Float, Float]:
    """Return float32 (num_pictures, 192) of length 1, whose products are correlations, and the pixels' deviation."""
    window = _window(0, 1, 8)
    return _normalised(_seen(thumbnails, window, window))


def _window(start: float, part: float, size: int = 16) -> Float:
    """Return (size, SIDE): averages over equal parts of a piece of a line of pixels; start and part are from 0 to 1."""
    edges = np.linspace(start * SIDE, (start + part) * SIDE, size + 1)
    pixels = np.arange(SIDE)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    overlap = np.maximum(overlap, 0)
    return np.asarray(overlap / overlap.sum(1, keepdims=True), np.float32)


def _seen(pictures: npt.NDArray[np.generic], rows: Float, columns: Float) -> Float:
    """Return (num_pictures, size * size, 3): pictures through a window."""
    num, size = len(pictures), len(rows)
    through = np.empty((num, size * size, 3), np.float32)
    for start in range(0, num, _BLOCK):
        block = pictures[start : start + _BLOCK].astype(np.float32)
        lines = np.matmul(rows, block.reshape(len(block), SIDE, SIDE * 3)).reshape(len(block), size, SIDE, 3)
        through[start : start + _BLOCK] = np.matmul(columns, lines).reshape(len(block), size * size, 3)
    return through


def _normalised(seen: Float) -> tuple[Float, Float]:
    """Return vectors of length 1, each colour about its own mean, and the standard deviation of their pixels."""
    about = (seen - seen.mean(1, keepdims=True)).reshape(len(seen), -1)
    lengths = np.linalg.norm(about, axis=1)
    return about / np.maximum(lengths, 1e-6)[:, None], np.asarray(
        lengths / np.sqrt(about.shape[1]), np.float32
    )


def _by_chance(vectors: Float) -> float:
    """Return the distance that one in ten pairs by chance is within."""
    stream = generator(0, "pairs by chance")
    one, other = stream.integers(0, len(vectors), (2, 20_000))
    apart = one != other
    return float(np.percentile(1 - (vectors[one[apart]] * vectors[other[apart]]).sum(1), 10))


def _neighbours(vectors: Float) -> Pairs:
    """Return the pairs of each picture with its nearest neighbours, as far as these are near at all."""
    found = []
    for start in range(0, len(vectors), _BLOCK):
        near = vectors[start : start + _BLOCK] @ vectors.T
        near[np.arange(len(near)), np.arange(start, start + len(near))] = -1
        count = min(_MAX_NEIGHBOURS, near.shape[1])
        nearest = np.argpartition(near, -count, axis=1)[:, -count:]
        row, place = np.nonzero(np.take_along_axis(near, nearest, 1) >= _NEIGHBOUR)
        found.append(np.stack([row + start, nearest[row, place]], 1))
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def _neighbours_in_cells(vectors: Float) -> Pairs:
    """Return what `_neighbours` does, of pictures that share one of the few anchors that are nearest to them.

    Anchors are pictures drawn at random, as many as the root of all, so the time grows with the power of 1.5. The idea
    is that of inverted files (Jégou et al. 2011, "Product Quantization for Nearest Neighbor Search", section IV).
    """
    num_anchors = max(_NUM_CELLS, round(len(vectors) ** 0.5))
    chosen = generator(0, "anchors of near-duplicates").choice(len(vectors), num_anchors, replace=False)
    anchors = vectors[chosen]
    cells = np.concatenate(
        [
            np.argpartition(vectors[start : start + _BLOCK] @ anchors.T, -_NUM_CELLS, axis=1)[:, -_NUM_CELLS:]
            for start in range(0, len(vectors), _BLOCK)
        ]
    ).ravel()
    members = np.argsort(cells, kind="stable") // _NUM_CELLS
    ends = np.cumsum(np.bincount(cells, minlength=num_anchors))[:-1]
    found = [inside[_neighbours(vectors[inside])] for inside in np.split(members, ends) if len(inside) > 1]
    return np.unique(np.concatenate(found), axis=0)


def _distances(thumbnails: npt.NDArray[np.uint8], pairs: Pairs, enough: float) -> Float:
    """Return 1 - the highest correlation of each pair, either cropped or brightened against the other."""
    used, pairs = np.unique(pairs, return_inverse=True)
    pairs = pairs.reshape(-1, 2)
    pictures = thumbnails[used]
    whole = _window(0, 1)
    plain, _ = _normalised(_seen(pictures, whole, whole))
    best = np.full(len(pairs), -1, np.float32)

    def compare(changed: Float) -> None:
        (open_pairs,) = np.nonzero(best < 1 - enough)
        for start in range(0, len(open_pairs), 4096):
            chosen = open_pairs[start : start + 4096]
            one, other = pairs[chosen].T
            forth = np.einsum("nd,nd->n", changed[one], plain[other])
            back = np.einsum("nd,nd->n", changed[other], plain[one])
            best[chosen] = np.maximum(best[chosen], np.maximum(forth, back))

    compare(plain)
    for factor in _BRIGHTER:
        brighter = np.minimum(pictures * np.float32(factor), 255)
        compare(_normalised(_seen(brighter, whole, whole))[0])
    for part in (0.95, 0.9):
        for top in (0.0, (1 - part) / 2, 1 - part):
            for left in (0.0, (1 - part) / 2, 1 - part):
                compare(_normalised(_seen(pictures, _window(top, part), _window(left, part)))[0])
    return 1 - best


def _without_chains(pairs: Pairs, distances: Float, num_pictures: int) -> Pairs:
    """Return the pairs without the farther ones of long chains, in which pictures are near by their kind."""
    longest = max(_SMALLEST_CHAIN, int(_LARGEST_SHARE * num_pictures))
    while len(pairs):
        chain = joined_groups(num_pictures, (), pairs)
        too_long = np.bincount(chain)[chain[pairs[:, 0]]] > longest
        if not too_long.any():
            break
        kept = ~too_long | (distances < np.median(distances[too_long]))
        pairs, distances = pairs[kept], distances[kept]
    return pairs
