import io
import math
import os
import re
import struct
import time
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from decoding_cost import costs
from kilnet.data import decode as decoding
from kilnet.data.decode import decode, estimate, fit, to_input
from kilnet.data.formats import png, webp
from kilnet.errors import DataError, TooLargeImageError, UnusableImageError
from odd_pictures import bombs, mutated, odd_pictures

RANDOM = np.random.default_rng(0)

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


def encoded(image: Image.Image, image_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("image_format", ["PNG", "BMP", "PPM", "TIFF", "WEBP"])
def test_lossless_formats_give_back_the_pixels(image_format, tmp_path):
    options = {"lossless": True} if image_format == "WEBP" else {}
    path = tmp_path / "no_suffix_needed"
    path.write_bytes(encoded(Image.fromarray(RGB), image_format, **options))
    pixels, said = decode(path)
    np.testing.assert_array_equal(pixels, RGB)
    assert pixels.dtype == np.uint8
    assert said == ()


def test_jpeg_is_close():
    smooth = np.linspace(0, 255, 64 * 48 * 3).reshape(48, 64, 3).astype(np.uint8)
    pixels, _ = decode(encoded(Image.fromarray(smooth), "JPEG", quality=95))
    assert pixels.shape == smooth.shape
    assert np.abs(pixels.astype(int) - smooth).mean() < 3


def test_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate 90° clockwise to view": the stored top row becomes the right column
    pixels, _ = decode(encoded(Image.fromarray(RGB), exif=exif))
    np.testing.assert_array_equal(pixels, np.rot90(RGB, k=-1))


def test_transparency_is_laid_on_white():
    rgba = np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)])
    rgba[0, 0] = (10, 20, 30, 0)
    rgba[0, 1] = (0, 0, 0, 51)  # a fifth opaque
    pixels, _ = decode(encoded(Image.fromarray(rgba)))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[0, 1].tolist() == [204, 204, 204]
    np.testing.assert_array_equal(pixels[1:], RGB[1:])


def test_palette_becomes_rgb_and_its_transparent_colour_white():
    image = Image.new("P", (2, 1))
    image.putpalette([200, 10, 20, 0, 0, 0])
    image.putdata([0, 1])
    assert decode(encoded(image))[0].tolist() == [[[200, 10, 20], [0, 0, 0]]]
    assert decode(encoded(image, transparency=1))[0].tolist() == [[[200, 10, 20], [255, 255, 255]]]


def test_grey_and_black_and_white_become_rgb():
    grey = RGB[:, :, 0]
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(grey)))[0], np.dstack([grey] * 3))
    bits = Image.fromarray(grey > 128)
    assert bits.mode == "1"
    np.testing.assert_array_equal(decode(encoded(bits))[0][:, :, 1], np.where(grey > 128, 255, 0))


def test_sixteen_bit_grey_is_scaled_not_clipped():
    values = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    pixels, _ = decode(encoded(Image.fromarray(values)))
    assert pixels[0, :, 0].tolist() == np.rint(values[0] / 257).astype(int).tolist() == [0, 0, 1, 1, 128, 255]


def test_cmyk_becomes_rgb():
    pixels, _ = decode(encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 255)), "JPEG"))
    assert pixels.shape == (8, 8, 3)
    assert pixels.max() < 10


def test_floating_point_is_refused():
    with pytest.raises(UnusableImageError, match="floating-point pixels"):
        decode(encoded(Image.fromarray(RNG.random((4, 4)).astype(np.float32)), "TIFF"))


def test_first_frame_of_an_animation_with_a_warning():
    frames = [Image.new("RGB", (5, 4), colour) for colour in ("red", "green", "blue")]
    pixels, said = decode(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert pixels[0, 0].tolist() == [255, 0, 0]
    assert said == ("first of several pictures",)


def test_frames_that_are_not_read_cost_nothing():
    first, second = (Image.new("P", (2, 2), colour) for colour in (0, 1))
    content = encoded(first, "GIF", save_all=True, append_images=[second], optimize=False)
    long = content[:-2] + 8_000_000 * b"\1\0" + b"\0;"  # the second frame's data, a byte a block
    start = time.process_time()
    pixels, said = decode(long)
    assert time.process_time() - start < 1, "going through it takes seconds"
    assert (pixels.shape, said) == ((2, 2, 3), ("first of several pictures",))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("width", "height"), [(10_000, 9_000), (60_000, 60_000)])
def test_bomb_is_refused_from_its_header(width, height):
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with pytest.raises(UnusableImageError, match="limit of 89478485"):
        decode(bomb)


WEBP = {
    "lossy": ({}, (26, struct.pack("<HH", 16383, 16383))),
    "lossless": ({"lossless": True}, (21, struct.pack("<I", 16382 + (16382 << 14)))),
    "animated": ({"save_all": True, "append_images": [Image.new("RGB", (5, 7))]}, (24, b"\xff\xff\0" * 2)),
}


@pytest.mark.parametrize("kind", WEBP)
def test_webp_bomb_is_refused_before_there_is_room_for_its_pixels(kind, monkeypatch):
    options, (start, size) = WEBP[kind]
    content = encoded(Image.new("RGB", (5, 7), "red"), "WEBP", **options)
    parts = webp.parts(content)
    assert parts.width * parts.height == 35
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(UnusableImageError, match="limit of 89478485"):
        decode(content[:start] + size + content[start + len(size) :])


def reference(content):
    """The pixels as Pillow itself gives them; None where it gives none, or others on purpose."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    except Exception:  # Pillow stops at faults in metadata
        return None
    if image.mode in ("I", "I;16", "I;16B"):
        return None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def test_odd_pictures_are_read_as_pillow_reads_them_where_it_does():
    """test_data_formats_png.py and test_data_formats_ppm.py have references of their own for the exceptions."""
    num_compared = 0
    for name, content in odd_pictures().items():
        pixels, _ = decode(content)
        stored = estimate(content)
        assert (stored.width, stored.height) in (pixels.shape[1::-1], pixels.shape[:2])
        expected = reference(content)
        if expected is not None and not re.search(
            r"depth(2|4|16)-key|p.m-plain|p.m-(31|254|256|1023|65534)", name
        ):
            np.testing.assert_array_equal(pixels, expected, err_msg=name)
            num_compared += 1
    assert num_compared > 90


def check_cost(files, folder):
    """Decode files; returns the errors by name."""
    paths = []
    for name, content in files.items():
        paths.append(folder / name)
        paths[-1].write_bytes(content)
    found = costs(paths)
    assert [one["name"] for one in found] == list(files)
    slow = [path for path, one in zip(paths, found, strict=True) if one["seconds"] > 5]
    again = {one["name"]: one["seconds"] for one in (costs(slow) if slow else [])}  # other programs only add
    for one in found:
        assert one["error"] is None or one["error"][0] in ("UnusableImageError", "TooLargeImageError"), one
        assert one["error"] is None or "\n" not in one["error"][1], one
        assert min(one["seconds"], again.get(one["name"], math.inf)) <= 5, one
        assert one["bytes"] <= 500_000_000, one
        assert one["said"] == "", one
    return {one["name"]: one["error"][1] for one in found if one["error"]}


def is_large(name):
    return "-largest" in name or name in ("png-65535-by-1365", "webp-large")


@pytest.mark.slow
def test_bombs_are_refused_or_cost_little(tmp_path):
    errors = check_cost({name: bomb for name, bomb in bombs().items() if not is_large(name)}, tmp_path)
    assert (
        "89000000 × 1 pixels, above the limit of 65535 on one side; scale it down"
        in errors["png-89-million-by-1"]
    )
    assert re.search(
        "may need .* s of processor time, above the limit of 5 s", errors["jpeg-thousands-of-scans"]
    )
    for name in (
        "png-text-of-a-gigabyte",
        "png-profile-of-a-gigabyte",
        "jpeg-fill-bytes-first",
        "ppm-254",
        "ppm-65534",
    ):
        assert name not in errors, "its pixels are few"


@pytest.mark.slow
def test_the_largest_pictures_fit_the_budget(tmp_path):
    errors = check_cost({name: bomb for name, bomb in bombs().items() if is_large(name)}, tmp_path)
    assert not {"png-largest-rgb", "png-largest-rgba", "png-largest-rgba-16", "png-largest-palette"} & set(
        errors
    )


def test_mutated_pictures_are_refused_or_cost_little(tmp_path):
    random = np.random.default_rng(0)
    names = [name for name, content in odd_pictures().items() if len(content) < 100_000]
    chosen = [names[i] for i in random.integers(0, len(names), 300)]
    files = {f"{i}-{name}": mutated(odd_pictures()[name], random) for i, name in enumerate(chosen)}
    assert 100 < len(check_cost(files, tmp_path)) < 290


def test_a_wrong_estimate_does_not_let_decoding_go_on(monkeypatch):
    content = encoded(Image.fromarray(RANDOM.integers(0, 256, (300, 300, 3), dtype=np.uint8)))
    parts = png.parts(content)
    monkeypatch.setattr(decoding, "MAX_SECONDS", 0.0)
    with pytest.raises(TooLargeImageError, match="needs more of processor time, above the limit"):
        decoding._decoded("PNG", parts)


def test_decoding_stops_when_nobody_waits():
    content = bombs()["png-largest-grey"]
    start = time.process_time()
    with pytest.raises(UnusableImageError, match="nobody waits for it"):
        decode(content, lambda: time.process_time() > start + 0.02)
    assert time.process_time() - start < 0.5


def test_a_huge_file_is_judged_by_its_first_bytes(tmp_path):
    film, photo = tmp_path / "clip.mov", tmp_path / "photo.jpg"
    for path, start in ((film, b"\0\0\0\x18ftypqt  "), (photo, b"\xff\xd8\xff\xe0")):
        with path.open("wb") as file:
            file.write(start)
            file.truncate(3 * 2**30)  # takes no room on the disk
    start = time.process_time()
    with pytest.raises(UnusableImageError, match="no image in one of the formats"):
        decode(film)
    with pytest.raises(TooLargeImageError, match="a file of 3221 MB, above the limit of 200 MB"):
        decode(photo)
    assert time.process_time() - start < 0.5


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_fifo_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UnusableImageError, match="neither a file nor a link to one"):
        decode(tmp_path / "pipe.png")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"RIFF", "no image in one of the formats"),
        (b"RIFF\0\0\0\0WEBP", "no image in one of the formats|damaged"),
        (b"these are words, not pixels", "no image in one of the formats"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image in one of the formats"),
        (encoded(Image.fromarray(RGB), "JPEG")[:-200], "damaged or cut short|no image"),
        (
            encoded(Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)))[:5000],
            "damaged or cut short",
        ),
        (b"P6 0 0 255\n", "damaged or cut short|no image"),
    ],
)
def test_what_is_no_image_is_refused_with_the_reason(content, reason):
    with pytest.raises(UnusableImageError, match=reason) as caught:
        decode(content)
    assert "\n" not in str(caught.value)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(UnusableImageError, match="No such file"):
        decode(tmp_path / "gone.png")


def test_colour_becomes_grey_by_luma_and_grey_stays_exact():
    grey = RANDOM.integers(0, 256, (9, 9, 1), np.uint8)
    np.testing.assert_array_equal(fit(np.repeat(grey, 3, 2), (1, 9, 9)), grey.transpose(2, 0, 1))
    np.testing.assert_array_equal(fit(grey, (3, 9, 9)), np.repeat(grey, 3, 2).transpose(2, 0, 1))
    colour = RANDOM.integers(0, 256, (9, 9, 3), np.uint8)
    luma = colour @ np.array([0.299, 0.587, 0.114])
    assert np.abs(fit(colour, (1, 9, 9))[0] - luma).max() <= 0.51


def test_networks_of_oblong_pictures_take_no_others():
    oblong = np.zeros((4, 6, 3), np.uint8)
    assert to_input(oblong, (3, 4, 6)).shape == (3, 4, 6)
    with pytest.raises(DataError, match="6x4 pixels, this one has 4x4"):
        to_input(oblong[:, :4], (3, 4, 6))
