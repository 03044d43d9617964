"""Picture files that are rare but right, and files made to cost much time or memory; each as bytes.

`odd_pictures()` must be decoded. `bombs()` must be refused or decoded, within the budget; so must what `mutated`
returns. All are made here, byte by byte where Pillow does not write them.
"""

import io
import struct
import zlib
from functools import cache

import numpy as np
from PIL import Image

SQUARE = 9459  # the side of the largest square within the 2**30 // 12 pixels of one picture
PNG = b"\x89PNG\r\n\x1a\n"
END = b"\0\0\0\0IEND\xaeB`\x82"


def saved(image: Image.Image, image_format: str, **options: object) -> bytes:
    """Return a picture as a file."""
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def noise(height: int, width: int, *channels: int) -> np.ndarray:
    """Return the same uint8 noise each time."""
    return np.random.default_rng(0).integers(0, 256, (height, width, *channels), dtype=np.uint8)


def deflated_zeros(num_bytes: int, last: bytes = b"") -> bytes:
    """Return so many zeros as a zlib stream, without going through them; `last` follows them."""
    block = 2**20
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    repeated = packer.compress(bytes(block)) + packer.flush(zlib.Z_FULL_FLUSH)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    rest = packer.compress(bytes(num_bytes % block) + last) + packer.flush()
    checksum = num_bytes % 65521 << 16 | 1  # Adler-32 of zeros
    return (
        b"\x78\xda" + repeated * (num_bytes // block) + rest + struct.pack(">I", zlib.adler32(last, checksum))
    )


# --- PNG


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_file(
    width: int, height: int, depth: int, colour: int, data: bytes, *before: bytes, interlaced: bool = False
) -> bytes:
    """Return a PNG file from its compressed rows, with other chunks before them."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    return PNG + chunk(b"IHDR", head) + b"".join(before) + chunk(b"IDAT", data) + END


def zeros_png(width: int, height: int, depth: int, colour: int, *before: bytes) -> bytes:
    """Return a PNG file whose samples are all 0."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    data = deflated_zeros(height * (1 + (width * depth * channels + 7) // 8))
    return png_file(width, height, depth, colour, data, *before)


def samples_png(samples: np.ndarray, depth: int, colour: int, *before: bytes) -> bytes:
    """Return samples, (height, width, channels) of `depth` bits, as a PNG file without filters."""
    height, width = samples.shape[:2]
    rows = samples.reshape(height, -1)
    if depth == 16:
        packed = rows.astype(">u2").view(np.uint8)
    else:
        bits = np.unpackbits(rows.astype(np.uint8)[:, :, None], axis=2)[:, :, 8 - depth :]
        packed = np.packbits(bits.reshape(height, -1), axis=1)
    lines = np.hstack([np.zeros((height, 1), np.uint8), packed])
    return png_file(width, height, depth, colour, zlib.compress(lines.tobytes()), *before)


def before_pixels(png: bytes, *chunks: bytes) -> bytes:
    """Put chunks before the pixels of a PNG file."""
    at = png.index(b"IDAT") - 4
    return png[:at] + b"".join(chunks) + png[at:]


def _odd_pngs() -> dict[str, bytes]:
    random = np.random.default_rng(1)
    found = {}
    for colour, depths in {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}.items():
        for depth in depths:
            channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
            samples = random.integers(0, 2**depth, (7, 13, channels))
            palette = chunk(b"PLTE", random.integers(0, 256, 3 * 2**depth, dtype=np.uint8).tobytes())
            before = [palette] if colour == 3 else []
            found[f"png-colour{colour}-depth{depth}"] = samples_png(samples, depth, colour, *before)
            if colour == 3:
                before.append(chunk(b"tRNS", random.integers(0, 256, 2**depth, dtype=np.uint8).tobytes()))
            elif colour in (0, 2):
                key = samples[3, 5].astype(">u2").tobytes()
                before.append(chunk(b"tRNS", key))
            else:
                continue
            found[f"png-colour{colour}-depth{depth}-key"] = samples_png(samples, depth, colour, *before)
    plain = saved(Image.fromarray(noise(16, 16, 3)), "PNG")
    text = chunk(b"tEXt", b"Comment\0hello")
    data_at = plain.index(b"IDAT")
    length = int.from_bytes(plain[data_at - 4 : data_at])
    data = plain[data_at + 4 : data_at + 4 + length]
    pieces = b"".join(chunk(b"IDAT", data[i : i + 7]) for i in range(0, len(data), 7))
    exif = Image.Exif()
    exif[0x0112] = 8
    frames = [Image.fromarray(noise(9, 8, 3)), Image.new("RGB", (8, 9))]
    found |= {
        "png-text-with-a-wrong-checksum": before_pixels(plain, text[:-4] + b"\0\0\0\0"),
        "png-text-with-another-compression": before_pixels(plain, chunk(b"zTXt", b"Comment\0\7" + bytes(9))),
        "png-long-text": before_pixels(plain, chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"A" * 2**21))),
        "png-long-xmp": before_pixels(plain, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b" " * 2**21)),
        "png-long-profile": before_pixels(plain, chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(2**21)))),
        "png-broken-profile": before_pixels(plain, chunk(b"iCCP", b"icc\0\0" + bytes(99))),
        "png-short-gamma": before_pixels(plain, chunk(b"gAMA", b"\0")),
        "png-data-in-pieces": plain[: data_at - 4] + pieces + END,
        "png-without-its-end": plain[: -len(END)],
        "png-more-after-its-end": plain + bytes(1000),
        "png-orientation-after-the-data": plain[: -len(END)] + chunk(b"eXIf", exif.tobytes()[6:]) + END,
        "png-animated": saved(frames[0], "PNG", save_all=True, append_images=frames[1:]),
        "png-adam7": png_file(1, 1, 8, 0, zlib.compress(b"\0\x80"), interlaced=True),
    }
    return found


def _png_bombs() -> dict[str, bytes]:
    plain = saved(Image.fromarray(noise(16, 16, 3)), "PNG")
    billion = deflated_zeros(2**30)
    grey_key, rgb_key = chunk(b"tRNS", bytes(2)), chunk(b"tRNS", bytes(6))
    palette = chunk(b"PLTE", bytes(768))
    return {
        "png-89-million-by-1": zeros_png(89_000_000, 1, 8, 0),
        "png-1-by-89-million": zeros_png(1, 89_000_000, 8, 0),
        "png-65535-by-1365": zeros_png(65535, 1365, 8, 6),
        "png-largest-grey": zeros_png(SQUARE, SQUARE, 1, 0, grey_key),
        "png-largest-grey-16": zeros_png(SQUARE, SQUARE, 16, 0, grey_key),
        "png-largest-rgb": zeros_png(SQUARE, SQUARE, 8, 2),
        "png-largest-rgb-key": zeros_png(SQUARE, SQUARE, 8, 2, rgb_key),
        "png-largest-rgb-16-key": zeros_png(SQUARE, SQUARE, 16, 2, rgb_key),
        "png-largest-palette": zeros_png(SQUARE, SQUARE, 8, 3, palette, chunk(b"tRNS", bytes(range(256)))),
        "png-largest-rgba": zeros_png(SQUARE, SQUARE, 8, 6),
        "png-largest-rgba-16": zeros_png(8400, 8400, 16, 6),  # more may take too long
        "png-largest-interlaced": png_file(
            SQUARE, SQUARE, 8, 0, deflated_zeros(SQUARE * SQUARE + SQUARE * 15 // 8 + 9), interlaced=True
        ),
        "png-60000-by-60000": zeros_png(60_000, 60_000, 8, 0)[:5000],
        "png-text-of-a-gigabyte": before_pixels(plain, chunk(b"zTXt", b"Comment\0\0" + billion)),
        "png-xmp-of-a-gigabyte": before_pixels(
            plain, chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + billion)
        ),
        "png-profile-of-a-gigabyte": before_pixels(plain, chunk(b"iCCP", b"icc\0\0" + billion)),
        "png-data-of-a-gigabyte": png_file(16, 16, 8, 0, billion),
        "png-million-texts": before_pixels(plain, chunk(b"tEXt", b"a\0b") * 1_000_000),
        "png-million-pieces": before_pixels(plain, chunk(b"IDAT", b"") * 1_000_000),
    }


# --- JPEG


def segment(code: int, body: bytes) -> bytes:
    """Return a segment of a JPEG file."""
    return struct.pack(">BBH", 0xFF, code, 2 + len(body)) + body


def _last_scan(jpeg: bytes) -> bytes:
    return jpeg[jpeg.rindex(b"\xff\xda") : jpeg.rindex(b"\xff\xd9")]


def _odd_jpegs() -> dict[str, bytes]:
    smooth = Image.fromarray(
        np.add.outer(np.arange(24), np.arange(40))[:, :, None].repeat(3, 2).astype(np.uint8)
    )
    plain = saved(smooth, "JPEG")
    progressive = saved(smooth, "JPEG", progressive=True)
    found = {
        "jpeg-grey": saved(smooth.convert("L"), "JPEG"),
        "jpeg-cmyk": saved(smooth.convert("CMYK"), "JPEG"),
        "jpeg-progressive": progressive,
        "jpeg-444": saved(smooth, "JPEG", subsampling=0, quality=100),
        "jpeg-422-restarts": saved(smooth, "JPEG", subsampling=1, restart_marker_blocks=2),
        "jpeg-fill-bytes": plain[:2] + b"\xff" * 9 + plain[2:-2] + b"\xff" * 9 + plain[-2:],
        "jpeg-fill-bytes-between-scans": progressive.replace(b"\xff\xda", b"\xff" * 99 + b"\xff\xda"),
        "jpeg-rubbish-before-a-segment": plain[:20] + b"rubbish" + plain[20:],
        "jpeg-thumbnail-with-scans": plain[:2] + segment(0xE2, b"thumb" + b"\xff\xda\0\2" * 5000) + plain[2:],
        "jpeg-comments": plain[:2] + segment(0xFE, b"hello" * 999) * 9 + plain[2:],
        "jpeg-long-profile": plain[:2]
        + b"".join(segment(0xE2, b"ICC_PROFILE\0" + bytes([i, 40]) + bytes(65000)) for i in range(1, 41))
        + plain[2:],
        "jpeg-another-picture-after-it": plain + plain,
        "jpeg-rubbish-after-it": plain + b"\xff\xff\xff" + bytes(99),
        "jpeg-broken-exif": plain[:2] + segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff") + plain[2:],
        "jpeg-xmp-orientation": plain[:2]
        + segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="6"/>')
        + plain[2:],
    }
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        found[f"jpeg-orientation{orientation}"] = saved(smooth, "JPEG", exif=exif)
    return found


def _jpeg_bombs() -> dict[str, bytes]:
    small = saved(Image.fromarray(noise(16, 16, 3)), "JPEG")
    grey = saved(Image.new("L", (4000, 4000), 99), "JPEG", progressive=True)
    colour = saved(Image.new("RGB", (64, 64), "teal"), "JPEG", progressive=True, subsampling=0)
    entries = b"".join(struct.pack("<HHII", 40000 + i, 7, 65000, 8) for i in range(5000))
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 5000) + entries
    frame = colour.index(b"\xff\xc2")
    large = colour[: frame + 5] + struct.pack(">HH", SQUARE, SQUARE) + colour[frame + 9 :]
    frame = small.index(b"\xff\xc0")
    large_baseline = small[: frame + 5] + struct.pack(">HH", SQUARE, SQUARE) + small[frame + 9 :]
    long = small[: frame + 5] + struct.pack(">HH", 1, 65535) + small[frame + 9 :]
    return {
        "jpeg-thousands-of-scans": grey[:-2] + _last_scan(grey) * 3000 + grey[-2:],
        "jpeg-thousands-of-scans-of-little": colour[:-2] + _last_scan(colour) * 20_000 + colour[-2:],
        "jpeg-fill-bytes-first": small[:2] + b"\xff" * 20_000_000 + small[2:],
        "jpeg-fill-bytes-last": small[:-40] + b"\xff" * 20_000_000 + small[-40:],
        "jpeg-fill-bytes-between": grey.replace(b"\xff\xda", b"\xff" * 3_000_000 + b"\xff\xda"),
        "jpeg-rubbish-first": small[:2] + bytes(20_000_000) + small[2:],
        "jpeg-comments": small[:2] + segment(0xFE, b"") * 3_000_000 + small[2:],
        "jpeg-exif-that-multiplies": small[:2] + segment(0xE1, exif[:65000]) + small[2:],
        "jpeg-exif-in-many-parts": small[:2]
        + segment(0xE1, b"Exif\0\0II*\0" + bytes(60_000)) * 300
        + small[2:],
        "jpeg-largest-progressive": large,
        "jpeg-largest-of-nothing": large_baseline,
        "jpeg-longest": long,
    }


# --- GIF


def blocks(data: bytes, size: int = 255) -> bytes:
    """Return data as the blocks of a GIF file."""
    parts = [data[i : i + size] for i in range(0, len(data), size)]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def gif_file(
    screen: tuple[int, int], box: tuple[int, int, int, int], data: bytes, before: bytes = b""
) -> bytes:
    """Return a GIF file of one frame of two colours: (left, top, width, height), LZW data in blocks."""
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + b"\xc8\x0a\x14\x00\x64\x00"
    return head + before + b"," + struct.pack("<HHHHB", *box, 0) + b"\2" + data + b";"


def _odd_gifs() -> dict[str, bytes]:
    image = Image.fromarray(noise(20, 30)).convert("P")
    other = Image.new("P", (30, 20), 3)
    pixel = blocks(b"\x44\x01")  # clear, colour 0, end
    control = b"!\xf9\x04\x01\0\0\1\0"  # colour 1 is transparent
    return {
        "gif-interlaced": saved(image, "GIF", interlace=1),
        "gif-animated": saved(image, "GIF", save_all=True, append_images=[other]),
        "gif-transparent": saved(image, "GIF", transparency=int(np.asarray(image)[0, 0])),
        "gif-comments": saved(image, "GIF", comment=b"hello" * 1000),
        "gif-frame-smaller-than-the-screen": gif_file((5, 4), (2, 1, 1, 1), pixel, control),
        "gif-frame-beyond-the-screen": gif_file((1, 1), (2, 1, 1, 1), pixel),
        "gif-without-its-end": saved(image, "GIF")[:-1],
        "gif-small-blocks": gif_file((1, 1), (0, 0, 1, 1), blocks(b"\x44\x01", 1)),
    }


def _gif_bombs() -> dict[str, bytes]:
    pixel = blocks(b"\x44\x01")
    image = saved(Image.new("P", (2, 2)), "GIF")
    return {
        "gif-comment-that-grows": gif_file(
            (1, 1), (0, 0, 1, 1), pixel, b"!\xfe" + b"\xffx" * 128 * 60_000 + b"\0"
        ),
        "gif-comments": gif_file((1, 1), (0, 0, 1, 1), pixel, b"!\xfe\1x\0" * 3_000_000),
        "gif-controls": gif_file((1, 1), (0, 0, 1, 1), pixel, b"!\xf9\4\0\0\0\0\0" * 2_000_000),
        "gif-blocks-of-a-byte": gif_file((1, 1), (0, 0, 1, 1), b"\1\x04" * 8_000_000 + b"\0"),
        "gif-second-frame-of-small-blocks": image[:-1]
        + b","
        + bytes(9)
        + b"\2"
        + b"\1\1" * 8_000_000
        + b"\0;",
        "gif-million-frames": image[:-1]
        + (b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2" + pixel) * 10**6,
        "gif-65535-by-65535": gif_file((65535, 65535), (0, 0, 1, 1), pixel),
        "gif-largest-screen": gif_file((SQUARE, SQUARE), (0, 0, 1, 1), pixel),
        "gif-largest-frame": gif_file((1, 1), (0, 0, SQUARE, SQUARE), pixel),
        "gif-frame-far-away": gif_file((1, 1), (65535, 65535, 65535, 65535), pixel),
        "gif-endless-clears": gif_file((1, 1), (0, 0, 1, 1), blocks(b"\x24\x49\x92" * 5_000_000)),
    }


# --- TIFF


def tiff_file(tags: dict[int, tuple[int, int, bytes]], data: bytes = b"", big: bool = False) -> bytes:
    """Return a little-endian TIFF file: `data` from byte 8 (BigTIFF: 16), then the tags (type, count, value)."""
    size, count_format, entry_format = (8, "<Q", "<HHQ") if big else (4, "<H", "<HHI")
    start = 16 if big else 8
    values, entries = b"", b""
    at = start + len(data) + struct.calcsize(count_format) + len(tags) * (4 + 2 * size) + size
    for tag, (kind, count, value) in sorted(tags.items()):
        entries += struct.pack(entry_format, tag, kind, count)
        if len(value) <= size:
            entries += value.ljust(size, b"\0")
        else:
            entries += (at + len(values)).to_bytes(size, "little")
            values += value
    offset = start + len(data)
    head = (
        b"II+\0\x08\0\0\0" + offset.to_bytes(8, "little") if big else b"II*\0" + offset.to_bytes(4, "little")
    )
    return head + data + struct.pack(count_format, len(tags)) + entries + bytes(size) + values


def short(*values: int) -> tuple[int, int, bytes]:
    """Return a tag's value of 16-bit numbers."""
    return 3, len(values), struct.pack(f"<{len(values)}H", *values)


def long(*values: int) -> tuple[int, int, bytes]:
    """Return a tag's value of 32-bit numbers."""
    return 4, len(values), struct.pack(f"<{len(values)}I", *values)


def tiff_tags(width: int, height: int, **other: tuple[int, int, bytes]) -> dict[int, tuple[int, int, bytes]]:
    """Return the tags of an uncompressed grey picture in one strip at byte 8; others are given as t<number>."""
    tags = {256: long(width), 257: long(height), 258: short(8), 259: short(1), 262: short(1), 277: short(1)}
    tags |= {273: long(8), 278: long(height), 279: long(width * height)}
    return tags | {int(name[1:]): value for name, value in other.items()}


def _odd_tiffs() -> dict[str, bytes]:
    image = Image.fromarray(noise(20, 30, 3))
    found = {
        f"tiff-{compression}": saved(image, "TIFF", compression=compression)
        for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd")
    }
    grey = image.convert("L")
    pixels = np.asarray(grey)
    tile = np.zeros((32, 32), np.uint8)
    tile[:20, :30] = pixels
    tiled = tiff_tags(30, 20, t322=short(32), t323=short(32), t324=long(8), t325=long(1024))
    for tag in (273, 278, 279):
        del tiled[tag]
    strips = tiff_tags(30, 20, t273=long(*range(8, 608, 30)), t278=short(1), t279=long(*[30] * 20))
    private = tiff_tags(30, 20, t37724=(7, 3_000_000, bytes(3_000_000)))
    big_endian = Image.fromarray(pixels.astype(">u2") * 257)
    found |= {
        "tiff-group4": saved(image.convert("1"), "TIFF", compression="group4"),
        "tiff-pages": saved(image, "TIFF", save_all=True, append_images=[image, image]),
        "tiff-16-bits": saved(Image.fromarray(pixels.astype(np.uint16) * 257), "TIFF"),
        "tiff-big-endian": saved(big_endian, "TIFF"),
        "tiff-palette": saved(image.convert("P"), "TIFF"),
        "tiff-cmyk": saved(image.convert("CMYK"), "TIFF"),
        "tiff-alpha": saved(image.convert("RGBA"), "TIFF"),
        "tiff-white-is-0": tiff_file(tiff_tags(30, 20, t262=short(0)), pixels.tobytes()),
        "tiff-orientation": tiff_file(tiff_tags(30, 20, t274=short(6)), pixels.tobytes()),
        "tiff-big": tiff_file(tiff_tags(30, 20, t273=long(16)), pixels.tobytes(), big=True),
        "tiff-tiled": tiff_file(tiled, tile.tobytes()),
        "tiff-strips": tiff_file(strips, pixels.tobytes()),
        "tiff-layers-of-a-photo-editor": tiff_file(private, pixels.tobytes()),
        "tiff-next-page-is-this-one": _next_page(tiff_file(tiff_tags(30, 20), pixels.tobytes())),
    }
    return found


def _next_page(tiff: bytes) -> bytes:
    """Make the first page its own successor."""
    at = int.from_bytes(tiff[4:8], "little")
    end = at + 2 + 12 * int.from_bytes(tiff[at : at + 2], "little")
    return tiff[:end] + struct.pack("<I", at) + tiff[end + 4 :]


def _tiff_bombs() -> dict[str, bytes]:
    data = bytes(10_000_000)
    shared = tiff_file(tiff_tags(1, 1), data)
    at = int.from_bytes(shared[4:8], "little")
    entries = b"".join(struct.pack("<HHII", 40_000 + i, 7, len(data), 8) for i in range(5000))
    own = shared[at + 2 : at + 2 + 9 * 12]
    shared = shared[:at] + struct.pack("<H", 5009) + own + entries + bytes(4)
    rgba = {"t258": short(16, 16, 16, 16), "t277": short(4), "t262": short(2), "t259": short(8)}
    rgba["t338"] = short(2)
    packed = deflated_zeros(SQUARE * SQUARE * 8)
    tiny = tiff_tags(4000, 4000, t322=short(1), t323=short(1))
    tiny |= {324: (4, 2_000_000, bytes(8_000_000)), 325: (4, 2_000_000, b"\1\0\0\0" * 2_000_000)}
    wide = tiff_tags(1, 1, t322=long(60_000), t323=long(60_000), t324=long(8), t325=long(1), t259=short(8))
    strips = tiff_tags(1, 65_535, t278=short(1), t259=short(8))
    strips |= {273: long(*[8] * 65_535), 279: long(*[len(data)] * 65_535)}
    scans = _jpeg_bombs()["jpeg-thousands-of-scans"]
    scanned = tiff_tags(4000, 4000, t259=short(7), t279=long(len(scans)))
    pixels = noise(20, 30).tobytes()
    page = tiff_file(tiff_tags(30, 20), pixels)
    return {
        "tiff-values-that-are-shared": shared,
        "tiff-tiles-of-a-pixel": tiff_file(tiny, b"\0"),
        "tiff-tile-of-a-gigabyte": tiff_file(wide, deflated_zeros(60_000 * 60_000)[:100_000]),
        "tiff-strips-that-are-shared": tiff_file(strips, data),
        "tiff-scans": tiff_file(scanned, scans),
        "tiff-largest": tiff_file(tiff_tags(SQUARE, SQUARE, **rgba, t279=long(len(packed))), packed),
        "tiff-89-million-by-1": tiff_file(tiff_tags(89_000_000, 1), b"\0" * 100),
        "tiff-lzma-dictionary": tiff_file(
            tiff_tags(100, 100, t259=short(34925)), bytes.fromhex("fd377a585a0000016922de3602002101280000")
        ),
        "tiff-entries": page[:8] + struct.pack("<H", 65535) + page[10:] + bytes(12 * 65535),
        "tiff-no-tags": b"II*\0\x08\0\0\0\0\0\0\0\0\0",
        "tiff-unknown-tag-of-libtiff": tiff_file(tiff_tags(30, 20, t259=short(5)), pixels),
    }


# --- BMP


def bmp_file(width: int, height: int, bits: int, compression: int, data: bytes, colours: int = 0) -> bytes:
    """Return a BMP file with a palette of grey."""
    palette = b"".join(bytes([i, i, i, 0]) for i in range(256)) if bits <= 8 else b""
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 0, 0, colours, 0)
    at = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", at + len(data), 0, 0, at) + head + palette + data


def _odd_bmps() -> dict[str, bytes]:
    image = Image.fromarray(noise(9, 11, 3))
    runs = b"".join(b"\x04" + bytes([y]) + b"\0\3\1\2\3\0" + b"\0\0" for y in range(5)) + b"\0\1"
    return {
        "bmp-black-and-white": saved(image.convert("1"), "BMP"),
        "bmp-palette": saved(image.convert("P"), "BMP"),
        "bmp-32-bits": saved(image.convert("RGBA"), "BMP"),
        "bmp-upside-down": bmp_file(2, -2, 24, 0, noise(2, 8).tobytes()),
        "bmp-runs": bmp_file(7, 5, 8, 1, runs),
    }


def _bmp_bombs() -> dict[str, bytes]:
    return {
        "bmp-empty-lines": bmp_file(65_535, 1_365, 8, 1, b"\0\0" * 1_365 + b"\0\1"),
        "bmp-single-runs": bmp_file(4000, 4000, 8, 1, b"\1\1" * 8_000_000 + b"\0\1"),
        "bmp-jumps": bmp_file(30_000, 2_900, 8, 1, b"\0\2\xff\xff" * 1000 + b"\0\1"),
        "bmp-largest-of-nothing": bmp_file(SQUARE, SQUARE, 32, 0, b""),
        "bmp-89-million-by-1": bmp_file(89_000_000, 1, 1, 0, bytes(11_125_000)),
        "bmp-lowest-height": bmp_file(1, -(2**31), 24, 0, b""),
    }


# --- PPM


def _odd_ppms() -> dict[str, bytes]:
    found = {}
    random = np.random.default_rng(2)
    for maxval in (1, 31, 254, 255, 256, 1023, 65534, 65535):
        values = random.integers(0, maxval + 1, (5, 7, 3))
        kind = np.dtype(">u2" if maxval > 255 else "u1")
        words = b" ".join(b"%d" % value for value in values.flat)
        grey_words = b"\n".join(b"%d" % value for value in values[:, :, 0].flat)
        found |= {
            f"ppm-{maxval}": b"P6\n7 5\n%d\n" % maxval + values.astype(kind).tobytes(),
            f"pgm-{maxval}": b"P5 7 5 %d " % maxval + values[:, :, 0].astype(kind).tobytes(),
            f"ppm-plain-{maxval}": b"P3\n7 5\n%d\n" % maxval + words,
            f"pgm-plain-{maxval}": b"P2\n7 5\n%d\n" % maxval + grey_words + b"\n",
        }
    bits = random.integers(0, 2, (5, 13))
    digits = b"".join(b"%d" % bit for bit in bits.flat)
    found |= {
        "pbm": b"P4\n13 5\n" + np.packbits(bits.astype(np.uint8), axis=1).tobytes(),
        "pbm-plain": b"P1\n13 5\n" + digits[:20] + b"\n# a comment 01\n " + digits[20:],
        "ppm-comments": b"P6 # one\n# two\n2 # three\r1\n#\n255\n" + bytes(range(6)),
        "ppm-plain-comments": b"P2\n2 2 # size\n255 1 2#between\n3\r4 # last",
        "ppm-more-after-it": b"P5 2 1 255\n" + b"ab" + b"P5 2 1 255\ncd",
    }
    return found


def _ppm_bombs() -> dict[str, bytes]:
    words = b"9 10 255 " * 1_300_000
    return {
        "ppm-long-comment": b"P6 #" + b"x" * 20_000_000 + b"\n2 1 255\n" + bytes(6),
        "ppm-endless-comment": b"P6 #" + b"x" * 20_000_000,
        "ppm-comments": b"P6 " + b"#\n" * 8_000_000 + b"2 1 255\n" + bytes(6),
        "ppm-spaces": b"P6 " + b" " * 20_000_000 + b"2 1 255\n" + bytes(6),
        "ppm-many-digits": b"P6 2" + b"0" * 4000 + b" 1 255\n",
        "ppm-254": b"P6 2581 2581 254\n" + bytes(3 * 2581 * 2581),
        "ppm-65534": b"P6 1800 1800 65534\n" + bytes(6 * 1800 * 1800),
        "pgm-largest-of-nothing": b"P5 9459 9459 65535\n",
        "ppm-plain": b"P3 1300 1000 255\n" + words,
        "ppm-plain-comments": b"P3 1300 1000 255\n" + b"#\n" * 4_000_000 + words,
        "ppm-plain-long-comments": b"P2 2 2 255 1 2 3 #" + b"x# " * 6_000_000 + b"\n4",
        "ppm-plain-one-long-number": b"P2 2 2 255 1 2 3 " + b"1" * 20_000_000,
        "pbm-plain": b"P1 4400 4500\n" + b"01" * 9_900_000,
    }


# --- WebP


def _odd_webps() -> dict[str, bytes]:
    image = Image.fromarray(noise(20, 30, 3))
    clear = image.convert("RGBA")
    clear.putalpha(Image.fromarray(noise(20, 30)))
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "webp-lossy": saved(image, "WEBP"),
        "webp-lossless": saved(image, "WEBP", lossless=True),
        "webp-lossy-alpha": saved(clear, "WEBP"),
        "webp-lossless-alpha": saved(clear, "WEBP", lossless=True, exact=True),
        "webp-orientation": saved(image, "WEBP", lossless=True, exif=exif),
        "webp-animated": saved(image, "WEBP", lossless=True, save_all=True, append_images=[clear]),
        "webp-long-metadata": saved(image, "WEBP", lossless=True, icc_profile=bytes(2**21), xmp=b" " * 2**21),
    }


def _webp_bombs() -> dict[str, bytes]:
    def extended(width: int, height: int) -> bytes:
        size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        return b"RIFF\x1a\0\0\0WEBPVP8X\n\0\0\0" + bytes(4) + size + bytes(4)

    lossless = b"\x2f" + struct.pack("<I", 9458 | 9458 << 14) + bytes(3)
    frame = b"ANMF" + struct.pack("<I", 24) + bytes(16) + b"VP8L" + bytes(4)
    still = saved(Image.new("RGB", (5000, 5900), "teal"), "WEBP", method=0)
    return {
        "webp-of-34-bytes": extended(SQUARE, SQUARE),
        "webp-16777216-by-5": extended(2**24, 5),
        "webp-lossless-of-nothing": b"RIFF\x14\0\0\0WEBPVP8L\x08\0\0\0" + lossless,
        "webp-frames": b"RIFF"
        + struct.pack("<I", 22 + 32 * 500_000)
        + extended(9, 9)[8:30]
        + frame * 500_000,
        "webp-large": still,
    }


# --- All


@cache
def odd_pictures() -> dict[str, bytes]:
    """Return small files by name that are rare but right; each must be decoded."""
    return {
        **_odd_pngs(), **_odd_jpegs(), **_odd_gifs(), **_odd_tiffs(), **_odd_bmps(), **_odd_ppms(), **_odd_webps(),
    }  # fmt: skip


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """Return a file with a few faults: flipped, repeated and missing bytes, and numbers that became very large."""
    data = bytearray(content)
    for _ in range(random.integers(1, 5)):
        at = int(random.integers(0, 1 + min(len(data), 4096 if random.random() < 0.5 else len(data))))
        fault = random.integers(0, 6)
        if fault == 0:
            data[at : at + 1] = bytes(byte ^ 1 << int(random.integers(0, 8)) for byte in data[at : at + 1])
        elif fault == 1:
            large = [
                b"\xff\xff\xff\xff",
                b"\x7f\xff\xff\xff",
                b"\0\0\xff\xff",
                b"\xff\xff\0\0",
                b"\0\1\0\0",
                bytes(4),
            ]
            data[at : at + 4] = large[random.integers(0, len(large))]
        elif fault == 2:
            del data[at:]
        elif fault == 3:
            part = data[max(0, at - int(random.integers(1, 200))) : at]
            data[at:at] = part * int(random.integers(1, 50))
        elif fault == 4:
            del data[at : at + int(random.integers(1, 50))]
        else:
            data[at : at + 2] = random.bytes(2)
    return bytes(data)


@cache
def bombs() -> dict[str, bytes]:
    """Return files by name that were made to cost much; each must be refused or decoded, within the budget."""
    return {
        **_png_bombs(), **_jpeg_bombs(), **_gif_bombs(), **_tiff_bombs(), **_bmp_bombs(), **_ppm_bombs(),
        **_webp_bombs(),
        "ico-of-many-pictures": b"\0\0\1\0\xff\xff" + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, 10**9, 22) * 65535,
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'>" + b"<g>" * 1_000_000,
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99999 99999\n" + b"%" * 1_000_000,
    }  # fmt: skip
