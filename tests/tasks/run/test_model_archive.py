"""Reading a model.tar.gz: what fails in the source is told apart from what fails where it is unpacked."""

import errno
import gzip
import io
import os
import stat
import tarfile
import tempfile
from pathlib import Path

import pytest

from tasks.run.disk import disk_boundary, pieces_of, source_boundary
from tasks.run.errors import DiskFailed, StageFailed
from tasks.run.model_archive import extract_members, read_member
from tests.tasks.run.test_disk import on_small_disk
from tests.tasks.sagemaker.jobs import archive

MEMBERS = {"meta.json": 1000, "code/a.py": 1000}


def written(folder: Path, content: bytes) -> Path:
    path = folder / "model.tar.gz"
    path.write_bytes(content)
    return path


def test_only_what_is_named_is_unpacked_readable_for_this_user(tmp_path: Path) -> None:
    path = written(
        tmp_path, archive({"./meta.json": b"{}", "other": b"x", "code/a.py": b"pass", "meta.json": b"second"})
    )
    extract_members(path, MEMBERS, "the model", tmp_path / "new")
    files = sorted(each for each in (tmp_path / "new").rglob("*") if each.is_file())
    assert [(str(each.relative_to(tmp_path / "new")), each.read_bytes()) for each in files] == [
        ("code/a.py", b"pass"),
        ("meta.json", b"{}"),
    ]
    assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}


UNREADABLE = """
import sys
from tasks.run.model_archive import extract_members, read_member
from tasks.run.errors import KennelError
target, source = disk / "unpacked", Path(sys.argv[2])
for read in (lambda: extract_members(source, {"meta.json": 10**7}, "the model", target),
             lambda: read_member(source, "meta.json", "the model")):
    try:
        read()
    except KennelError as error:
        print(type(error).__name__, error.what, "|", error.why)
"""


def test_a_source_that_cannot_be_read_is_not_called_a_full_disk(tmp_path: Path) -> None:
    """/proc/self/mem opens and cannot be read at 0, which is an input/output error; a folder cannot be opened."""
    for source, why in (("/proc/self/mem", "Input/output error"), (str(tmp_path), "Is a directory")):
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        said = on_small_disk(folder, UNREADABLE, source)
        assert [line.split(" |")[0] for line in said.splitlines()] == [
            "StageFailed the model has no readable model",
            "StageFailed the model has no readable meta.json",
        ]
        assert said.count(why) == 2


def test_a_full_disk_where_it_is_unpacked_is_said_and_not_called_damage(tmp_path: Path) -> None:
    source = written(tmp_path, archive({"meta.json": os.urandom(600_000)}))
    (said,) = on_small_disk(tmp_path, UNREADABLE, source).splitlines()
    assert said.startswith("DiskFailed") and "unpacked/meta.json cannot be written" in said
    assert "No space left on device" in said and "0.600 MB are needed" in said


@pytest.mark.parametrize("wrong", ["long", "link", "folder", "missing"])
def test_a_member_that_is_no_file_of_the_length_it_may_have_is_refused(tmp_path: Path, wrong: str) -> None:
    link = tarfile.TarInfo("code/a.py")
    link.type, link.linkname = tarfile.LNKTYPE if wrong == "link" else tarfile.DIRTYPE, "meta.json"
    of = {"long": {"code/a.py": bytes(1001)}, "missing": {}}.get(wrong, {"code/a.py": link})
    path = written(tmp_path, archive({"meta.json": b"{}", **of}))
    with pytest.raises(StageFailed, match="the model has no readable model") as caught:
        extract_members(path, MEMBERS, "the model", tmp_path / "new")
    expected = "no member code/a.py" if wrong == "missing" else "code/a.py is not a regular file of at most 1000 bytes"
    assert expected in caught.value.why


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    """tarfile reads the whole of an extended header, whose length the archive says, into memory."""
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 6 * 2**30
    path = written(tmp_path, gzip.compress(header.tobuf(tarfile.USTAR_FORMAT) + bytes(10_000)))
    with pytest.raises(StageFailed, match=r"has no readable meta\.json") as caught:
        read_member(path, "meta.json", "the model")
    assert "is too long" in caught.value.why


@pytest.mark.parametrize("size", [2**62, -512])
def test_a_member_of_an_impossible_length_is_refused(tmp_path: Path, size: int) -> None:
    member = tarfile.TarInfo("other")
    member.size = size
    path = written(tmp_path, gzip.compress(member.tobuf(tarfile.GNU_FORMAT) + bytes(10_000)))
    for read in (
        lambda: read_member(path, "meta.json", "the model"),
        lambda: extract_members(path, MEMBERS, "the model", tmp_path / "new"),
    ):
        with pytest.raises(StageFailed, match="has no readable"):
            read()


def test_an_error_of_the_source_names_it_also_inside_the_boundary_of_what_is_written(tmp_path: Path) -> None:
    source, target = tmp_path / "missing", tmp_path / "target"
    with pytest.raises(DiskFailed, match="missing cannot be read") as caught, disk_boundary("copy", target):
        io.BytesIO().writelines(pieces_of(source, "copy"))
    assert caught.value.why == os.strerror(errno.ENOENT) and "target" not in str(caught.value)
    for number in (errno.EACCES, errno.EIO, errno.EISDIR, errno.ENOSPC):
        with pytest.raises(DiskFailed) as refused, disk_boundary("copy", target), source_boundary("copy", source):
            raise OSError(number, os.strerror(number), str(source))
        assert refused.value.what == f"{source} cannot be read"


def test_an_error_of_who_takes_the_pieces_stays_his_own(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"content")
    with pytest.raises(DiskFailed, match="target cannot be written"), disk_boundary("copy", target):
        for _ in pieces_of(source, "copy"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
