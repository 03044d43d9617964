"""Movements of the image plane: one affine resampling, exact flips and shifts, cutout."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor


def affine_matrices(
    parameters: Mapping[str, npt.NDArray[np.generic]], num_images: int
) -> npt.NDArray[np.float32]:
    """Compose flips, zoom, rotation and translation into the map from an output to an input position.

    The image is flipped, zoomed and turned counter-clockwise about its centre, then moved right and down; last, the
    part that is cropped is all that is seen. Positions are in sides from the centre, x to the right and y down.

    Args:
        parameters: (num_images,) each, under the names of `Augmentation.parameters`; absent ones do nothing.

    Returns:
        float32 (num_images, 2, 3): input = matrix @ (x, y, 1) of the output.
    """

    def get(name: str, default: float) -> npt.NDArray[np.float64]:
        return np.asarray(parameters.get(name, np.full(num_images, default)), dtype=np.float64)

    angle, scale = np.radians(get("rotation", 0)), get("zoom", 1)
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    linear = np.array([[cos, -sin], [sin, cos]])
    linear *= 1 - 2 * np.stack([get("horizontal_flip", 0), get("vertical_flip", 0)])[:, None]
    shift = np.stack([get("translation_x", 0), get("translation_y", 0)])
    offset = -np.einsum("ijn,jn->in", linear, shift)
    if "crop_area" in parameters:
        area, ratio = get("crop_area", 1), np.exp(get("crop_log_ratio", 0))
        sides = np.minimum(1, np.sqrt(np.stack([area * ratio, area / ratio])))
        centre = (np.stack([get("crop_x", 0.5), get("crop_y", 0.5)]) - 0.5) * (1 - sides)
        offset += np.einsum("ijn,jn->in", linear, centre)
        linear *= sides[None]
    return np.concatenate([linear, offset[:, None]], axis=1).transpose(2, 0, 1).astype(np.float32)


def sampling_lines(matrices: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Split the input positions of every output pixel into a part by column and a part by row.

    Their sum over a whole batch would not stay in the cache; `resample` adds them a few images at a time.

    Args:
        matrices: float32 (num_images, 2, 3), as from `affine_matrices`.

    Returns:
        complex64 (num_images, 1, width) and (num_images, height, 1); x is the real part, and -1 and 1 are the
        outer edges of the image.
    """
    xs, ys = (
        (torch.arange(length, dtype=torch.float32, device=matrices.device) * 2 + 1 - length) / length
        for length in (width, height)
    )
    columns = matrices[:, None, :, 0] * xs[:, None]
    rows = matrices[:, None, :, 1] * ys[:, None] + 2 * matrices[:, None, :, 2]
    return torch.view_as_complex(columns)[:, None, :], torch.view_as_complex(rows)[:, :, None]


def resample(pixels: Tensor, columns: Tensor, rows: Tensor, fill: str) -> Tensor:
    """Look up, bilinearly, every output pixel at its input position.

    Args:
        pixels: float32 (num_images, channels, side, side).
        columns, rows: as from `sampling_lines`.
        fill: "mirror" reflects the image about its outer edges, "black" puts zeros around it.

    Returns:
        float32, the same shape.
    """
    # One complex addition writes both coordinates of a pixel.
    grid = torch.view_as_real(columns + rows)
    padding = "reflection" if fill == "mirror" else "zeros"
    return F.grid_sample(pixels, grid, padding_mode=padding, align_corners=False)


def shift(pixels: Tensor, right: Tensor, down: Tensor, fill: str) -> Tensor:
    """Move each image by whole pixels, values as they are; several times as fast as `resample`.

    Args:
        pixels: uint8 or float32 (num_images, channels, height, width).
        right, down: int64 (num_images,), in pixels.
        fill: as for `resample`.

    Returns:
        the same dtype and shape.
    """
    num_images, channels, height, width = pixels.shape
    # Where on its line each pixel comes from, int64 (num_images, length); may lie outside.
    rows = torch.arange(height, device=down.device) - down[:, None]
    columns = torch.arange(width, device=right.device) - right[:, None]
    # Whole rows are copied at once, which is several times as fast as pixel by pixel.
    planes = torch.arange(num_images * channels, device=pixels.device).view(num_images, channels, 1)
    sources = planes * height + _mirrored(rows, height)[:, None]
    moved = pixels.reshape(-1, width).index_select(0, sources.flatten()).view(pixels.shape)
    moved = moved.gather(3, _mirrored(columns, width)[:, None, None, :].expand(pixels.shape))
    if fill == "black":
        moved.masked_fill_(((rows < 0) | (rows >= height))[:, None, :, None], 0)
        moved.masked_fill_(((columns < 0) | (columns >= width))[:, None, None, :], 0)
    return moved


def _mirrored(positions: Tensor, length: int) -> Tensor:
    """Fold positions back into a line: ... 1 0 | 0 1 2 | 2 1 ..."""
    folded = positions.remainder(2 * length)
    return torch.minimum(folded, 2 * length - 1 - folded)


def flip(pixels: Tensor, flips: Tensor, dim: int) -> Tensor:
    """Mirror along `dim` the images whose flag in `flips`, bool (num_images,), is set."""
    return torch.where(flips.view(-1, 1, 1, 1), pixels.flip(dim), pixels)


def cut_out(pixels: Tensor, centre_x: Tensor, centre_y: Tensor, side: float) -> None:
    """Blacken one square in each image, clipped at the border, in place.

    Args:
        pixels: float32 (num_images, channels, height, width).
        centre_x, centre_y: float32 (num_images,), in sides from the left and the top, 0 to 1.
        side: of the square, as a fraction of the image's; rounded to whole pixels.
    """
    height, width = pixels.shape[2:]
    in_row = _covered(centre_y, height, side)[:, None, :, None]
    in_column = _covered(centre_x, width, side)[:, None, None, :]
    pixels.masked_fill_(in_row & in_column, 0)


def _covered(centres: Tensor, length: int, side: float) -> Tensor:
    side_px = round(side * length)
    first = (centres * length).floor().sub(side_px // 2)[:, None]
    positions = torch.arange(length, device=centres.device)
    return (positions >= first) & (positions < first + side_px)
