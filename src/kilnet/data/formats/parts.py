"""The parts of a picture file that its pixels depend on."""

from dataclasses import dataclass

from kilnet.errors import UnusableImageError


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A picture file without metadata: Pillow reads some of these at great length, and stops at faults in others.

    Attributes:
        width, height: pixels, as stored.
        content: a file of the same format with these parts alone.
        orientation: 1 to 8, as EXIF counts them.
        has_more: whether another picture follows.
        pixel_bytes: memory of one decoded pixel in Pillow.
        working_bytes: memory that the decoder needs beside `content` and the decoded pixels.
        seconds: processor time of decoding, at most; measured on one core of a server of 2023.
        key: the samples of the colour that is transparent; of 16-bit RGB, three upper bytes and three lower ones.
    """

    width: int
    height: int
    content: bytes
    orientation: int = 1
    has_more: bool = False
    pixel_bytes: int
    working_bytes: int = 0
    seconds: float
    key: tuple[int, ...] | None = None


def damaged(reason: str) -> UnusableImageError:
    """Return the error for a file that breaks the rules of its format."""
    return UnusableImageError(f"damaged or cut short: {reason}")
