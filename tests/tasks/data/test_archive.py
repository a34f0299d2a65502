"""Tests of reading sources: they are listed and read without unpacking, and hostile entries are refused."""

import os
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
import unicodedata
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.data.archive import Reader, list_source
from tasks.data.entries import Listing, Unreadable
from tasks.run.errors import SourceRefused
from tasks.run.settings import Settings
from tests.tasks.data.datasets import write_folder, write_zip
from training.pictures.limits import BadPicture, PictureLimits

ROOT = Path(__file__).parents[3]
SETTINGS = Settings()
NAMES = [
    "new\nline.jpg",
    "dog 🐕.jpg",
    "-rf.jpg",
    "%2F..%2F.jpg",
    "A.jpg",
    "a.jpg",
    unicodedata.normalize("NFC", "é.jpg"),
    unicodedata.normalize("NFD", "é.jpg"),
]


def read_all(listing: Listing) -> dict[str, bytes]:
    with Reader(listing.root, listing.kind) as reader:
        return {entry.name: reader.read(entry) for entry in listing.entries if entry.refusal is None}


@pytest.mark.parametrize("deflate", [False, True])
def test_odd_names_come_back_exactly_from_a_zip(tmp_path: Path, deflate: bool) -> None:
    files = {name: name.encode() * 50 for name in [*NAMES, "x" * 300 + ".jpg"]}
    assert read_all(list_source(write_zip(tmp_path / "a.zip", files, deflate=deflate), SETTINGS)) == files


def test_odd_names_come_back_exactly_from_a_folder(tmp_path: Path) -> None:
    files = {f"train/cat/{name}": name.encode() for name in NAMES}
    files[os.fsdecode(b"train/cat/\xff\xfe.jpg")] = b"not UTF-8"
    assert read_all(list_source(write_folder(tmp_path, files), SETTINGS)) == files


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0/\\"), min_size=1), unique=True)
)
def test_any_name_comes_back_exactly(tmp_path: Path, names: list[str]) -> None:
    files = {f"train/c/{name}.jpg": name.encode() for name in names}
    assert read_all(list_source(write_zip(tmp_path / "any.zip", files), SETTINGS)) == files


@pytest.mark.parametrize("name", ["../evil.jpg", "/etc/passwd", "train/../../x.jpg", "C:/x.jpg"])
def test_a_path_that_leaves_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    listing = list_source(write_zip(tmp_path / "a.zip", {name: b"x"}), SETTINGS)
    assert listing.entries[0].refusal == "its path points outside the archive"


def test_a_symbolic_link_is_refused_in_a_zip_and_in_a_folder(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("train/cat/link.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link.jpg").symlink_to("/etc/passwd")
    for source in ("a.zip", "folder"):
        assert list_source(tmp_path / source, SETTINGS).entries[0].refusal == "it is a symbolic link"


def test_a_member_that_unpacks_to_far_more_than_it_is_is_refused(tmp_path: Path) -> None:
    listing = list_source(write_zip(tmp_path / "a.zip", {"a.jpg": bytes(20_000_000)}, deflate=True), SETTINGS)
    assert listing.entries[0].refusal is not None
    assert listing.entries[0].refusal.startswith("it unpacks to 20000000 bytes from")


def test_members_that_share_bytes_are_a_bomb(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.jpg": b"x" * 100, "b.jpg": b"y" * 100})
    data = bytearray(path.read_bytes())
    second = data.rfind(b"PK\x01\x02")
    data[second + 42 : second + 46] = struct.pack("<L", 0)  # the second member's header offset: that of the first
    path.write_bytes(data)
    with pytest.raises(SourceRefused, match="members of the zip overlap"):
        list_source(path, SETTINGS)


def test_too_many_bytes_or_files_are_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {f"{n}.jpg": bytes(1000) for n in range(3)})
    with pytest.raises(SourceRefused, match="KENNEL_MAX_ARCHIVE_FILES=2"):
        list_source(path, Settings(max_archive_files=2))
    with pytest.raises(SourceRefused, match="KENNEL_MAX_ARCHIVE_BYTES=2000"):
        list_source(path, Settings(max_archive_bytes=2000))


def test_folders_count_as_files_do(tmp_path: Path) -> None:
    root = tmp_path / "folder"
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive, tarfile.open(tmp_path / "a.tar", "w") as tar:
        for n in range(4):
            (root / f"{n}").mkdir(parents=True)
            archive.writestr(f"{n}/", "")
            tar.add(root / f"{n}", f"{n}")
    for source in ("folder", "a.zip", "a.tar"):
        assert len(list_source(tmp_path / source, Settings(max_archive_files=4)).folders) == 4
        with pytest.raises(SourceRefused, match="more than KENNEL_MAX_ARCHIVE_FILES=3 files and folders"):
            list_source(tmp_path / source, Settings(max_archive_files=3))


def test_an_image_of_too_many_bytes_is_refused_in_the_words_of_the_model(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.jpg": bytes(1025)})
    with pytest.raises(BadPicture) as refused:
        PictureLimits(max_bytes=1024).require_bytes(1025)
    assert list_source(path, Settings(max_image_bytes=1024)).entries[0].refusal == str(refused.value)


def test_a_flipped_bit_in_a_zip_is_noticed(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.jpg": b"some bytes of an image"})
    data = bytearray(path.read_bytes())
    data[data.find(b"some bytes")] ^= 1
    path.write_bytes(data)
    with pytest.raises(Unreadable, match="its checksum in the zip does not match"):
        read_all(list_source(path, SETTINGS))


def test_a_file_that_changes_while_it_is_staged_is_noticed(tmp_path: Path) -> None:
    listing = list_source(write_folder(tmp_path, {"a.jpg": b"before"}), SETTINGS)
    (tmp_path / "a.jpg").write_bytes(b"after, and longer")
    with pytest.raises(Unreadable, match="it changed while it was being staged"):
        read_all(listing)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 and no more"])
def test_what_is_not_a_zip_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(SourceRefused, match="it is not a readable zip"):
        list_source(tmp_path / "a.zip", SETTINGS)


@pytest.mark.parametrize("offset", [2**63 + 5, 2**63 - 9, 2**40])
def test_a_place_that_a_zip_does_not_have_is_unreadable(tmp_path: Path, offset: int) -> None:
    path = write_zip(tmp_path / "a.zip", {"train/c/1.jpg": b"x"})
    entry = list_source(path, SETTINGS).entries[0]._replace(offset=offset)
    with Reader(path, "zip") as reader, pytest.raises(Unreadable, match="beyond the end of the file"):
        reader.read(entry)
    with Reader(path, "zip") as reader, pytest.raises(Unreadable, match="beyond the end of the file"):
        reader.read(entry._replace(offset=0, packed_bytes=2**41, method=zipfile.ZIP_DEFLATED))


CLOSED = """
import os, sys
from pathlib import Path
from tasks.data.archive import list_source
from tasks.run.errors import SourceRefused
from tasks.run.settings import Settings
settings = Settings()  # it looks at the current folder, which may be closed to others
os.geteuid() or os.setuid(65534)
root = Path(sys.argv[1])
for entry in list_source(root, settings).entries:
    print(entry.name, entry.refusal, sep=": ")
try:
    list_source(root / "cat", settings)
except SourceRefused as error:
    print(error.why)
"""


def test_folders_that_this_user_may_not_read_are_listed_and_refused() -> None:
    with tempfile.TemporaryDirectory(prefix="kennel-test-") as folder:  # pytest's own folders are closed to others
        root = write_folder(Path(folder), {"cat/0.jpg": b"x", "dog/0.jpg": b"x", "fox/0.jpg": b"x"})
        modes = {root: 0o755, root / "cat": 0o000, root / "fox": 0o444}
        for path, mode in modes.items():
            path.chmod(mode)
        command = [sys.executable, "-c", CLOSED, folder]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        for path in modes:
            path.chmod(0o700)
    assert done.stdout.splitlines() == [
        "fox/0.jpg: it cannot be read: Permission denied",
        "dog/0.jpg: None",
        "cat: it is a folder that cannot be read: Permission denied",
        "it cannot be read: Permission denied",
    ], done.stderr


def test_a_folder_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    with pytest.raises(SourceRefused, match="nested so deeply"):
        list_source(tmp_path, SETTINGS)
