"""Tests of tars that are damaged, cut, hostile or of an old format: none loses a photo silently."""

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.data.archive import list_source
from tasks.data.entries import Listing
from tasks.data.unpacking import list_unless_packed, list_unpacked
from tasks.run.errors import SourceRefused
from tasks.run.progress import LineProgress
from tasks.run.settings import Settings
from tests.tasks.data.datasets import tar_of

SETTINGS = Settings()
FILES = {f"train/a/{n}.jpg": bytes([n]) * 400 for n in range(100)}
TAR = tar_of(FILES)
SIXTY = 60 * 2 * tarfile.BLOCKSIZE
"""Where the header of the 61st member is: each has one block of header and one of content."""


def flipped() -> bytes:
    data = bytearray(TAR)
    data[SIXTY + 5] ^= 1
    return bytes(data)


def cut_in_a_header() -> bytes:
    return TAR[: SIXTY + 100]


def cut_between_members() -> bytes:
    return TAR[:SIXTY]


def two_tars() -> bytes:
    return TAR + tar_of({"train/b/0.jpg": b"x"})


def listed(path: Path, data: bytes) -> Listing:
    path.write_bytes(data)
    spool = path.parent / "spool"
    spool.mkdir(exist_ok=True)
    return list_unpacked(path, SETTINGS, spool, LineProgress)


@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (flipped, f"the header at byte {SIXTY}, behind train/a/59.jpg, cannot be read"),
        (cut_in_a_header, f"the header at byte {SIXTY}, behind train/a/59.jpg, cannot be read"),
        (cut_between_members, f"it has no end: it is cut at byte {SIXTY}, behind train/a/59.jpg"),
        (two_tars, f"its end is behind train/a/99.jpg, and there is more at byte {len(TAR)}; is it two tars"),
    ],
)
def test_a_tar_that_would_lose_photos_is_refused_with_the_place(
    tmp_path: Path, make: Callable[[], bytes], why: str, wrap: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(SourceRefused, match=f"it is a damaged or cut tar: ({why})"):
        listed(tmp_path / "a.tar", wrap(make()))


def test_a_tar_whose_end_is_one_block_or_a_megabyte_of_zeros_is_read(tmp_path: Path) -> None:
    members = TAR.rstrip(b"\0")[: 2 * len(FILES) * tarfile.BLOCKSIZE].ljust(2 * len(FILES) * tarfile.BLOCKSIZE, b"\0")
    for zeros in (tarfile.BLOCKSIZE, 2**21 + 7):
        assert len(listed(tmp_path / "a.tar", members + bytes(zeros)).entries) == len(FILES)


def pax(records: str) -> bytes:
    """Return a PAX header with these records."""
    data = records.encode()
    member = tarfile.TarInfo("pax")
    member.type, member.size = tarfile.XHDTYPE, len(data)
    return member.tobuf() + data.ljust(tarfile.BLOCKSIZE, b"\0")


def long_name() -> bytes:
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 5
    return member.tobuf(tarfile.GNU_FORMAT) + b"name\0".ljust(tarfile.BLOCKSIZE, b"\0")


@pytest.mark.parametrize("header", [pax("10 path=a\n"), long_name()])
def test_a_tar_of_endless_headers_is_refused(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "a.tar"
    with pytest.raises(SourceRefused, match="too many headers for one member"):
        listed(path, header * 3000 + TAR)
    with pytest.raises(SourceRefused, match="too many headers for one member"):
        list_unless_packed(path, SETTINGS)


@pytest.mark.parametrize("record", ["14 size=-1536\n", "13 size=-100\n"])
def test_a_tar_with_a_size_that_leads_back_is_refused(tmp_path: Path, record: str) -> None:
    with pytest.raises(SourceRefused, match="has a size that leads back: -1"):
        listed(tmp_path / "a.tar", TAR[: 2 * tarfile.BLOCKSIZE] + pax(record) + TAR)


@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
def test_an_old_tar_is_known_by_its_checksum(tmp_path: Path, wrap: Callable[[bytes], bytes]) -> None:
    assert [entry.name for entry in listed(tmp_path / "photos", wrap(v7())).entries] == ["train/a/0.jpg"]


def v7() -> bytes:
    """Return a tar as UNIX of 1979 wrote it, without `ustar` in its headers."""
    member = tarfile.TarInfo("train/a/0.jpg")
    member.size = 1
    header = bytearray(member.tobuf(tarfile.USTAR_FORMAT))
    header[257:] = bytes(tarfile.BLOCKSIZE - 257)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + b"x".ljust(tarfile.BLOCKSIZE, b"\0") + bytes(2 * tarfile.BLOCKSIZE)


def test_a_tar_of_empty_files_is_listed(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("train/a/0.jpg", "train/a/" + "long" * 60 + ".jpg"):
            tar.addfile(tarfile.TarInfo(name))
    (tmp_path / "a.tar").write_bytes(out.getvalue())
    assert [entry.size_bytes for entry in list_source(tmp_path / "a.tar", SETTINGS).entries] == [0, 0]
