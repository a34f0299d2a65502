"""Say what a TIFF is that Pillow does not read, by the tags of its first picture: bands, bits and compression.

Nothing here raises for damaged bytes. Sources: TIFF 6.0 (Adobe, 1992) and BigTIFF (AWare Systems).
"""

from __future__ import annotations

import struct

_BITS, _COMPRESSION, _SAMPLES, _FORMAT = 258, 259, 277, 339
_SIZES = {1: "B", 3: "H", 4: "I", 16: "Q"}
_MOST_TAGS, _MOST_VALUES = 512, 64
_FORMATS = {2: "signed ", 3: "floating-point ", 5: "complex ", 6: "complex "}
_MOST_BANDS = 4
_USUAL_COMPRESSIONS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946})

Tags = dict[int, tuple[int, ...]]


def what_tiff_it_is(data: bytes) -> str | None:
    """Return what a TIFF is, as in "a TIFF with 13 bands"; None if its tags cannot be read."""
    try:
        tags = _tags(data)
    except (struct.error, OverflowError):  # an offset of 2^63 and more is no position in bytes
        return None
    if not {256, 257} <= tags.keys():  # its width and height
        return None
    samples, bits = tags.get(_SAMPLES, (1,))[0], tags.get(_BITS, (1,))
    if samples > _MOST_BANDS:
        return f"a TIFF with {samples} bands"
    compression = tags.get(_COMPRESSION, (1,))[0]
    if compression not in _USUAL_COMPRESSIONS:
        return f"a TIFF with compression {compression}"
    kind = _FORMATS.get(tags.get(_FORMAT, (1,))[0], "")
    depth = " and ".join(str(each) for each in sorted(set(bits)))
    bands = "1 band" if samples == 1 else f"{samples} bands"
    return f"a TIFF with {bands} of {depth} {kind}bits"


def _tags(data: bytes) -> Tags:
    """Return the whole numbers in the tags of the first picture.

    Raises:
        struct.error: the file ends before.
        OverflowError: an offset of a BigTIFF is 2^63 or more.
    """
    order = "<" if data[:2] == b"II" else ">"
    is_big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    (start,) = struct.unpack_from(f"{order}{'Q' if is_big else 'I'}", data, 8 if is_big else 4)
    (count,) = struct.unpack_from(f"{order}{'Q' if is_big else 'H'}", data, start)
    layout, inline = (f"{order}HHQ", 8) if is_big else (f"{order}HHI", 4)
    begin, size = start + (8 if is_big else 2), struct.calcsize(layout) + inline
    tags: Tags = {}
    for at in range(begin, begin + min(count, _MOST_TAGS) * size, size):
        tag, kind, values = struct.unpack_from(layout, data, at)
        if kind in _SIZES and values:
            form = f"{order}{min(values, _MOST_VALUES)}{_SIZES[kind]}"
            place = at + struct.calcsize(layout)
            if values * struct.calcsize(_SIZES[kind]) > inline:
                (place,) = struct.unpack_from(f"{order}{'Q' if is_big else 'I'}", data, place)
            tags[tag] = struct.unpack_from(form, data, place)
    return tags
