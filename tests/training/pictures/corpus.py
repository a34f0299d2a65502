"""Pictures of every kind that people have, made from one gradient, and the same with damage."""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from training.preprocess import Pixels

SIZE = (128, 96)
HEIC = Path(__file__).with_name("gradient.heic")


@dataclass(frozen=True)
class Sample:
    """A file and the pixels that it shows, (H, W, 3); None for one that is damaged, which may show anything."""

    name: str
    data: bytes
    shown: Pixels | None = None


def gradient() -> Image.Image:
    """Return a picture that differs in each corner and channel, so that a turned or swapped one is seen."""
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    red, green = x * 255 / (SIZE[0] - 1), y * 255 / (SIZE[1] - 1)
    return Image.fromarray(np.stack([red, green, 255 - red], -1).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return a file of one of Pillow's formats."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png(samples: np.ndarray, *, chunks: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    """Return a PNG of uint16 samples, (H, W) or (H, W, 3 or 4), which Pillow does not write, with more chunks."""
    height, width, channels = (*samples.shape, 1)[:3]
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )


def display_p3() -> bytes:
    """Return a colour profile with the primaries of phones' screens (SMPTE EG 432-1, adapted to D50)."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    primaries = {
        b"rXYZ": (0.51512, 0.24120, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.15710, 0.06657, 0.78407),
    }
    for name, values in primaries.items():
        place = profile.index(name)
        (start,) = struct.unpack_from(">I", profile, place + 4)
        struct.pack_into(">3i", profile, start + 8, *(round(value * 65536) for value in values))
    return bytes(profile)  # it still calls itself sRGB


def with_orientation(value: int) -> Sample:
    """Return a JPEG that a camera stored turned, so that it shows the gradient when it is turned back."""
    turn = Image.Transpose
    stored = {2: turn.FLIP_LEFT_RIGHT, 3: turn.ROTATE_180, 4: turn.FLIP_TOP_BOTTOM, 5: turn.TRANSPOSE}
    stored |= {6: turn.ROTATE_90, 7: turn.TRANSVERSE, 8: turn.ROTATE_270}
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0110], exif[0x0132] = value, "Maker", "Phone 9", "2026:01:01 10:00:00"
    exif.get_ifd(0x8769)[0x927C] = b"maker note" * 20
    image = gradient() if value == 1 else gradient().transpose(stored[value])
    return Sample(f"orientation {value}", encoded(image, "JPEG", quality=95, exif=exif), np.asarray(gradient()))


def whole() -> Iterator[Sample]:
    """Yield a picture of each kind that is undamaged."""
    plain = gradient()
    colours, grey = np.asarray(plain), plain.convert("L")
    levels = np.asarray(grey)
    greys = np.dstack([levels] * 3)
    yield from (with_orientation(value) for value in range(1, 9))
    yield from _jpegs(plain, colours, greys)
    yield from _pngs(plain, colours, greys)
    frames = [plain.rotate(90), plain.rotate(180)]
    for kind in ("WEBP", "GIF", "PNG", "TIFF"):
        yield Sample(f"{kind} of three frames", encoded(plain, kind, save_all=True, append_images=frames), colours)
    for kind in ("WEBP", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF"):
        yield Sample(f"{kind} in colour", encoded(plain, kind), colours)
    for kind in ("BMP", "TIFF", "PPM", "GIF", "JPEG2000"):
        yield Sample(f"{kind} in grey", encoded(grey, kind), greys)
    for compression in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg"):
        yield Sample(f"TIFF, {compression}", encoded(plain, "TIFF", compression=compression), colours)
    yield Sample("TIFF, CMYK", encoded(plain.convert("CMYK"), "TIFF"), colours)
    wide = Image.fromarray(levels.astype(np.uint16) * 16)
    for kind in ("TIFF", "PPM", "JPEG2000"):
        yield Sample(f"{kind}, 12 bits in 16", encoded(wide, kind), greys)
    yield Sample("TIFF, floating point", encoded(Image.fromarray(levels.astype(np.float32) / 255), "TIFF"), greys)
    with_hole = levels.astype(np.float32)
    with_hole[0, 0] = np.nan
    yield Sample("TIFF, floating point, not a number", encoded(Image.fromarray(with_hole), "TIFF"), greys)
    yield Sample("HEIC", HEIC.read_bytes(), colours)


def _jpegs(plain: Image.Image, colours: Pixels, greys: Pixels) -> Iterator[Sample]:
    yield Sample("JPEG, progressive", encoded(plain, "JPEG", quality=95, progressive=True), colours)
    yield Sample("JPEG, RGB", encoded(plain, "JPEG", quality=95, keep_rgb=True), colours)
    yield Sample("JPEG, 4:4:4", encoded(plain, "JPEG", quality=95, subsampling=0), colours)
    yield Sample("JPEG, grey", encoded(plain.convert("L"), "JPEG", quality=95), greys)
    yield Sample("JPEG, CMYK", encoded(plain.convert("CMYK"), "JPEG", quality=95), colours)
    yield Sample("JPEG with a trailer", encoded(plain, "JPEG", quality=95) + b"\0" * 5000 + b"of a phone", colours)
    small = plain.resize((40, 30))
    yield Sample("MPO", encoded(plain, "MPO", quality=95, save_all=True, append_images=[small]), colours)
    profile = display_p3()
    target = ImageCms.createProfile("sRGB")
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    shown = ImageCms.profileToProfile(plain, io.BytesIO(profile), target, renderingIntent=intent)
    assert shown is not None
    data = encoded(plain, "JPEG", quality=95, subsampling=0, icc_profile=profile)
    yield Sample("JPEG, Display P3", data, np.asarray(shown))
    yield Sample("PNG, Display P3", encoded(plain, "PNG", icc_profile=profile), np.asarray(shown))
    marked = data.replace(b"ICC_PROFILE\0\1\1", b"ICC_PROFILE\0\0\0")
    yield Sample("JPEG, Display P3 with a wrong number", marked, np.asarray(shown))
    tables = encoded(plain, "JPEG", quality=95)
    at = tables.index(b"\xff\xdb")
    yield Sample("JPEG, stray bytes", tables[:at] + bytes(3) + tables[at:], colours)
    yield Sample("JPEG, damaged profile", encoded(plain, "JPEG", quality=95, icc_profile=b"no profile" * 20), colours)


def _pngs(plain: Image.Image, colours: Pixels, greys: Pixels) -> Iterator[Sample]:
    levels = greys[..., 0].astype(np.uint16)
    yield Sample("PNG", encoded(plain, "PNG"), colours)
    yield Sample("PNG, grey and opaque", encoded(plain.convert("L").convert("LA"), "PNG"), greys)
    half = plain.copy()
    half.putalpha(128)
    yield Sample(
        "PNG, half transparent", encoded(half, "PNG"), ((colours * 128.0 + 255.0 * 127) / 255).astype(np.uint8)
    )
    two = Image.fromarray((levels > 128).astype(np.uint8) * 255).convert("1")
    yield Sample("PNG, 1 bit", encoded(two, "PNG"), np.dstack([np.asarray(two).astype(np.uint8) * 255] * 3))
    yield Sample("PNG, palette", encoded(plain.quantize(256), "PNG"), np.asarray(plain.quantize(256).convert("RGB")))
    for bits, factor in ((16, 257), (12, 16), (10, 4), (8, 1)):
        yield Sample(f"PNG, grey of {bits} bits in 16", png(levels * factor), greys)
        yield Sample(f"PNG, colour of {bits} bits in 16", png(colours.astype(np.uint16) * factor), colours)
    opaque = np.dstack([colours.astype(np.uint16) * 16, np.full(levels.shape, 65535, np.uint16)])
    yield Sample("PNG, 12 bits and opaque", png(opaque), colours)
    grey_opaque = np.dstack([levels * 16, np.full(levels.shape, 65535, np.uint16)])
    yield Sample("PNG, 12 bits of grey and opaque", png(grey_opaque), greys)
    yield from _clear_pngs(colours, levels)
    yield from _turned_pngs(plain)
    significant = (b"sBIT", bytes([12]))
    yield Sample("PNG, dark, 12 bits stated", png(levels, chunks=(significant,)), (greys / 16).astype(np.uint8))
    linear = 65535 * (colours / 255.0) ** 2.2
    yield Sample("PNG, linear", png(linear.astype(np.uint16), chunks=((b"gAMA", struct.pack(">I", 100_000)),)), colours)


def _clear_pngs(colours: Pixels, levels: np.ndarray) -> Iterator[Sample]:
    """Yield PNGs of 16 bits whose upper half has the colour that is transparent."""
    half = SIZE[1] // 2
    wide = colours.astype(np.uint16) * 257
    wide[:half] = (1, 2, 3)
    shown = colours.copy()
    shown[:half] = 255
    yield Sample("PNG, 16 bits, a clear colour", png(wide, chunks=((b"tRNS", struct.pack(">3H", 1, 2, 3)),)), shown)
    grey = levels * 257
    grey[:half] = 7
    shown = np.dstack([levels.astype(np.uint8)] * 3)
    shown[:half] = 255
    yield Sample("PNG, 16 bits, a clear grey", png(grey, chunks=((b"tRNS", struct.pack(">H", 7)),)), shown)


def _turned_pngs(plain: Image.Image) -> Iterator[Sample]:
    """Yield PNGs that are held upright by EXIF behind their pixels, and by EXIF as text."""
    exif = Image.Exif()
    exif[0x0112] = 6
    block = exif.tobytes()
    data = encoded(plain.transpose(Image.Transpose.ROTATE_90), "PNG")
    chunk = struct.pack(">I", len(block[6:])) + b"eXIf" + block[6:]
    chunk += struct.pack(">I", zlib.crc32(chunk[4:]))
    end = data.rindex(b"IEND") - 4
    yield Sample("PNG, EXIF behind its pixels", data[:end] + chunk + data[end:], np.asarray(plain))
    text = b"Raw profile type exif\0\nexif\n%8d\n%s\n" % (len(block), block.hex().encode())
    chunk = struct.pack(">I", len(text)) + b"tEXt" + text
    chunk += struct.pack(">I", zlib.crc32(chunk[4:]))
    yield Sample("PNG, EXIF as text", data[:33] + chunk + data[33:], np.asarray(plain))


def damaged(samples: list[Sample], seed: int = 1) -> Iterator[Sample]:
    """Yield each file cut, and with one to four wrong bytes; and what is no picture at all."""
    random = np.random.default_rng(seed)
    for number, sample in enumerate(samples):
        kept = int(len(sample.data) * (0.3, 0.6, 0.95)[number % 3])
        yield Sample(f"{sample.name}, cut", sample.data[:kept])
        for turn in range(2):
            flipped = bytearray(sample.data)
            for at in random.integers(0, len(flipped), random.integers(1, 5)):
                flipped[at] = random.integers(256)
            yield Sample(f"{sample.name}, wrong bytes {turn}", bytes(flipped))
    for name, data in {"empty": b"", "text": b"hello", "web page": b"<!DOCTYPE html><title>Sign in</title>"}.items():
        yield Sample(name, data)
