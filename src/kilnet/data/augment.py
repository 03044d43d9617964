"""Random changes of the training images: parameters for a whole epoch, applied in batches."""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kilnet.config import AugmentConfig
from kilnet.data import colour, geometry, trivial
from kilnet.seeding import generator

# Values worked on at once on a CPU; the fastest of 16 to 512 CIFAR images on two cores: with fewer the time
# goes into calls, with more the intermediate results leave the cache.
_CHUNK_VALUES = 128 * 3 * 32 * 32
_RESAMPLING = {"rotation", "translation_x", "translation_y", "zoom", "crop_area"}
_CROP_LOG_RATIO = math.log(4 / 3)
_COLOUR_CHANGES = {  # in this order
    "brightness": colour.brighten,
    "contrast": colour.change_contrast,
    "saturation": colour.saturate,
    "hue": colour.shift_hue,
}


class Augmentation:
    """The random changes of every training image in one epoch.

    Attributes:
        config: what is switched on.
        parameters: by name, (num_images,) each, float32 where nothing else is said; absent where switched off: rotation
            (degrees counter-clockwise), translation_x and translation_y (sides, right and down), shift_x and shift_y
            (int64, pixels, right and down), zoom, brightness, contrast, saturation (factors), horizontal_flip,
            vertical_flip (bool), hue (turns), cutout_x and cutout_y (centre, in sides from the left and the top),
            crop_area (a part of the whole), crop_log_ratio (logarithm of width over height), crop_x and crop_y (from 0
            at the left and top); and what `trivial.draw` returns.
    """

    def __init__(self, config: AugmentConfig, parameters: dict[str, npt.NDArray[np.generic]]) -> None:
        self.config = config
        self.parameters = {name: torch.from_numpy(values) for name, values in parameters.items()}
        self._tables = dict(self.parameters)
        if _RESAMPLING & parameters.keys():
            # In numpy, for all images at once: sines rounded the same however the images are batched.
            num_images = len(next(iter(parameters.values())))
            self._tables["matrices"] = torch.from_numpy(geometry.affine_matrices(parameters, num_images))

    @classmethod
    def draw(cls, config: AugmentConfig, num_images: int, seed: int, epoch: int) -> "Augmentation":
        """Draw the parameters of images 0 to num_images - 1 from (seed, epoch) alone.

        Every parameter has a random stream of its own, so that switching one on leaves the others alone.
        """
        ranges = {
            "rotation": (-config.rotation, config.rotation),
            "translation_x": (-config.translation, config.translation),
            "translation_y": (-config.translation, config.translation),
            "zoom": (1 - config.zoom, 1 + config.zoom),
            "brightness": (max(0.0, 1 - config.brightness), 1 + config.brightness),
            "contrast": (max(0.0, 1 - config.contrast), 1 + config.contrast),
            "saturation": (max(0.0, 1 - config.saturation), 1 + config.saturation),
            "hue": (-config.hue, config.hue),
        }
        if config.crop:
            ranges |= {"crop_area": (config.crop, 1.0), "crop_log_ratio": (-_CROP_LOG_RATIO, _CROP_LOG_RATIO)}
            ranges |= {"crop_x": (0.0, 1.0), "crop_y": (0.0, 1.0)}
        if config.cutout:
            ranges |= {"cutout_x": (0.0, 1.0), "cutout_y": (0.0, 1.0)}
        parameters: dict[str, npt.NDArray[np.generic]] = {}
        for name, (low, high) in ranges.items():
            if low < high:
                stream = generator(seed, f"augment/{name}", epoch)
                parameters[name] = stream.uniform(low, high, num_images).astype(np.float32)
        for name in ("shift_x", "shift_y") if config.shift_px else ():
            stream = generator(seed, f"augment/{name}", epoch)
            parameters[name] = stream.integers(-config.shift_px, config.shift_px, num_images, endpoint=True)
        for name in ("horizontal_flip", "vertical_flip"):
            if probability := getattr(config, name):
                alternates = config.alternate_flips and name == "horizontal_flip"
                stream = generator(seed, f"augment/{name}", 0 if alternates else epoch)
                flips = stream.random(num_images) < probability
                parameters[name] = ~flips if alternates and epoch % 2 else flips
        if config.trivial:
            parameters |= trivial.draw(num_images, seed, epoch)
        return cls(config, parameters)

    def __call__(self, pixels: Tensor, indices: Tensor) -> Tensor:
        """Change a batch: whole pixels, other geometry, brightness, contrast, saturation, hue, one
        change of `trivial`, cutout.

        On a CPU, the same image gets the same bytes in whatever batch it comes.

        Args:
            pixels: uint8 (n, channels, side, side), channels 1 or 3.
            indices: int64 (n,), the images' numbers in the training split.

        Returns:
            float32 (n, channels, side, side), 0 to 255; where nothing is switched on, `pixels` as they are.
        """
        if not self.parameters:
            return pixels
        on_device = {name: table.to(pixels.device) for name, table in self._tables.items()}
        self._tables = on_device  # moved once
        indices = indices.to(pixels.device)
        drawn = {name: table[indices] for name, table in on_device.items()}
        if "matrices" in drawn:
            height, width = pixels.shape[2:]
            columns, rows = geometry.sampling_lines(drawn.pop("matrices"), height, width)
            drawn |= {"columns": columns, "rows": rows}

        changed = torch.empty(pixels.shape, dtype=torch.float32, device=pixels.device)
        on_cpu = pixels.device.type == "cpu"
        chunk = max(1, _CHUNK_VALUES // pixels.shape[1:].numel()) if on_cpu else len(pixels)
        for start in range(0, len(pixels), chunk):
            part = slice(start, start + chunk)
            self._change(pixels[part], {name: values[part] for name, values in drawn.items()}, changed[part])
        return changed

    def _change(self, pixels: Tensor, drawn: dict[str, Tensor], changed: Tensor) -> None:
        if "shift_x" in drawn:
            pixels = geometry.shift(pixels, drawn["shift_x"], drawn["shift_y"], self.config.fill)
        if "columns" in drawn:  # flips are in it
            moved = geometry.resample(pixels.float(), drawn["columns"], drawn["rows"], self.config.fill)
            changed.copy_(moved)
        else:
            if "horizontal_flip" in drawn:
                pixels = geometry.flip(pixels, drawn["horizontal_flip"], dim=3)
            if "vertical_flip" in drawn:
                pixels = geometry.flip(pixels, drawn["vertical_flip"], dim=2)
            changed.copy_(pixels)
        for name, change_colour in _COLOUR_CHANGES.items():
            if name in drawn:
                change_colour(changed, drawn[name])
        if "trivial_change" in drawn:
            where, levels, negative = (drawn[f"trivial_{part}"] for part in ("change", "level", "negative"))
            trivial.change(changed, where, levels, negative, self.config.fill)
        if "cutout_x" in drawn:
            geometry.cut_out(changed, drawn["cutout_x"], drawn["cutout_y"], self.config.cutout)
