"""Pictures as they are sent to the server, honest ones and bombs."""

import base64
import io
import struct
import zlib

import numpy as np
from PIL import Image

RANDOM = np.random.default_rng(0)
OCTETS = {"content-type": "application/octet-stream"}


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_bomb(side):
    """A PNG file of some hundred kB whose head and data are of side × side black pixels."""
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compressobj(9)
    data = b"".join(rows.compress(bytes(1 + side // 8)) for _ in range(side)) + rows.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def pixels_of(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))
