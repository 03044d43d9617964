"""Colour changes of a batch of float pixels, in place."""

import torch
from torch import Tensor

# Weights of red, green and blue in the grey value: ITU-R BT.601, as Pillow's convert("L") uses them.
_LUMA = (0.299, 0.587, 0.114)


def brighten(pixels: Tensor, factors: Tensor) -> None:
    """Multiply each image by its factor, in place.

    Args:
        pixels: float32 (num_images, channels, height, width), 0 to 255.
        factors: float32 (num_images,).
    """
    pixels.mul_(_per_image(factors)).clamp_(0, 255)


def change_contrast(pixels: Tensor, factors: Tensor) -> None:
    """Blend each image with its mean grey value, in place; shapes as for `brighten`.

    Factor 0 gives plain grey, 1 the image itself (Pillow's ImageEnhance.Contrast, without its rounding).
    """
    grey = luma(pixels)
    # Whole numbers, of 1/256 grey value, add up exactly: the mean does not depend on how images are batched.
    sums = grey.mul_(256).flatten(1).sum(dim=1, dtype=torch.int64)
    means = sums / (256 * grey.shape[1:].numel())
    _blend(pixels, _per_image(means), factors)


def saturate(pixels: Tensor, factors: Tensor) -> None:
    """Blend each image with its grey version, in place; shapes as for `brighten`; one channel stays as it is.

    Factor 0 gives a grey image, 1 the image itself (Pillow's ImageEnhance.Color, without its rounding).
    """
    if pixels.shape[1] == 3:
        _blend(pixels, luma(pixels), factors)


def shift_hue(pixels: Tensor, shifts: Tensor) -> None:
    """Turn the hue of each image (HSV), in place; shapes as for `brighten`; one channel stays as it is.

    Shifts are fractions of the colour circle. In sixths of it, the distance of a hue from red is
    1 + (green + blue - red - min) / chroma (each of the six cases of the usual definition,
    https://en.wikipedia.org/wiki/HSL_and_HSV#Hue_and_chroma, comes out so), towards green where green > blue.
    The way back is value - chroma * ramp(hue), which cannot leave the range between the pixel's channels.
    """
    if pixels.shape[1] != 3:
        return
    red, green, blue = pixels.unbind(1)
    value = torch.maximum(green, blue)
    torch.maximum(value, red, out=value)
    low = torch.minimum(green, blue)
    torch.minimum(low, red, out=low)
    chroma = value - low
    hue = (green + blue).sub_(red).sub_(low).add_(chroma)
    divisor = torch.clamp(chroma, min=1e-6, out=low).mul_(6)  # the hue of grey does not matter
    hue.div_(divisor).copysign_(torch.sub(green, blue, out=low))  # -1/2 to 1/2 turns
    # One turn more keeps it positive, so that the fractional part is the remainder.
    hue.add_((shifts + 1).view(-1, 1, 1)).frac_().mul_(6)
    ramp = low
    torch.sub(hue, 3, out=ramp).abs_().sub_(2).clamp_(-1, 0).mul_(chroma)
    torch.add(value, ramp, out=red)
    torch.sub(hue, 2, out=ramp).abs_().sub_(1).clamp_(0, 1).mul_(chroma)
    torch.sub(value, ramp, out=green)
    torch.sub(hue, 4, out=ramp).abs_().sub_(1).clamp_(0, 1).mul_(chroma)
    torch.sub(value, ramp, out=blue)


def luma(pixels: Tensor) -> Tensor:
    """Return the grey version, float32 (num_images, 1, height, width), of one or three channels."""
    if pixels.shape[1] == 1:
        return pixels.clone()
    red, green, blue = (pixels[:, i : i + 1] for i in range(3))
    return (red * _LUMA[0]).add_(green * _LUMA[1]).add_(blue * _LUMA[2])


def _blend(pixels: Tensor, grey: Tensor, factors: Tensor) -> None:
    pixels.sub_(grey).mul_(_per_image(factors)).add_(grey).clamp_(0, 255)


def _per_image(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
