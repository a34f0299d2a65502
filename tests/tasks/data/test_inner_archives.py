"""Tests of archives in a zip, in a tar and in a folder, one level deep, and of the tables that lie beside them."""

import bz2
import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from tasks.data.archive import Reader
from tasks.data.entries import Listing
from tasks.data.layout import Layout, read_layout
from tasks.data.unpacking import list_unless_packed, list_unpacked
from tasks.run.errors import SourceRefused
from tasks.run.progress import LineProgress
from tasks.run.settings import Settings
from tests.tasks.data.datasets import good_files, jpeg, tar_of, write_folder, write_zip, zip_of
from tests.tasks.data.workplace import Workplace

SETTINGS = Settings()
FILES = good_files()
PHOTOS = {f"{n}.jpg": jpeg(n) for n in range(8)}
TABLE = "id,breed\n" + "".join(f"{n},{('cat', 'dog')[n % 2]}\n" for n in range(8))
ZSTD = zstandard.ZstdCompressor().compress

INNER: Mapping[str, Callable[[Mapping[str, bytes]], bytes]] = {
    "zip": zip_of,
    "tar": tar_of,
    "tar.gz": lambda files: gzip.compress(tar_of(files)),
    "tgz": lambda files: gzip.compress(tar_of(files)),
    "tar.zst": lambda files: ZSTD(tar_of(files)),
    "tar.bz2": lambda files: bz2.compress(tar_of(files)),
}
OUTER: Mapping[str, Callable[[Mapping[str, bytes]], bytes]] = {
    "zip": zip_of,
    "tar": tar_of,
    "tar.gz": lambda files: gzip.compress(tar_of(files)),
}


def unpacked(path: Path, settings: Settings = SETTINGS) -> Listing:
    spool = path.parent / "spool"
    spool.mkdir()
    return list_unpacked(path, settings, spool, LineProgress)


def read(listing: Listing) -> tuple[Layout, dict[str, bytes]]:
    with Reader(listing.root, listing.kind) as reader:
        layout = read_layout(listing, reader.read)
        return layout, {entry.name: reader.read(entry) for entry in listing.entries if entry.refusal is None}


def made(tmp_path: Path, kind: str, files: Mapping[str, bytes]) -> Path:
    path = tmp_path / "data"
    if kind == "folder":
        return write_folder(path, files)
    path.write_bytes(OUTER[kind](files))
    return path


@pytest.mark.parametrize("outer", OUTER)
@pytest.mark.parametrize("inner", INNER)
def test_the_one_archive_in_an_archive_is_the_dataset(tmp_path: Path, outer: str, inner: str) -> None:
    path = made(tmp_path, outer, {"README.txt": b"read me", f"set/photos.{inner}": INNER[inner](FILES)})
    assert list_unless_packed(path, SETTINGS) is None
    layout, content = read(unpacked(path))
    assert (layout.classes, len(layout.candidates), content) == (("cat", "dog"), 10, FILES)
    assert [file.name for file in tmp_path.glob("spool/archives/*")] == [
        "0.unpacked" if "z" in inner[1:] else "0.archive"
    ]


@pytest.mark.parametrize("outer", [*OUTER, "folder"])
def test_archives_of_several_kinds_are_folders_of_their_names(tmp_path: Path, outer: str) -> None:
    kinds = {"bird": "tar.zst", "cat": "zip", "dog": "tar", "cow": "TAR.GZ"}
    files = {f"{name}.{kind}": INNER[kind.lower()](PHOTOS) for name, kind in kinds.items()}
    path = made(tmp_path, outer, files)
    assert list_unless_packed(path, SETTINGS) is None
    layout, content = read(unpacked(path))
    assert (layout.classes, len(layout.candidates)) == (("bird", "cat", "cow", "dog"), 32)
    assert content == {f"{name}/{photo}": data for name in kinds for photo, data in PHOTOS.items()}


def test_the_tars_in_a_folder_are_read_in_place(tmp_path: Path) -> None:
    path = made(tmp_path, "folder", {f"{name}.tar": tar_of(PHOTOS) for name in ("cat", "dog")})
    listing = list_unless_packed(path, SETTINGS)
    assert listing is not None and read(listing)[0].classes == ("cat", "dog")
    assert unpacked(path) == listing and not any((tmp_path / "spool").iterdir())


@pytest.mark.parametrize("outer", [*OUTER, "folder"])
@pytest.mark.parametrize("inner", ["zip", "tar.gz"])
def test_a_table_beside_an_archive_gives_the_classes(tmp_path: Path, outer: str, inner: str) -> None:
    packed = INNER[inner](PHOTOS)
    path = made(tmp_path, outer, {f"kaggle/images.{inner}": packed, "kaggle/labels.csv": TABLE.encode()})
    layout, content = read(unpacked(path))
    assert (layout.classes, len(layout.candidates), layout.warnings) == (("cat", "dog"), 8, ())
    assert layout.notes[0] == "the classes of 8 photos are from kaggle/labels.csv, column breed"
    assert content["kaggle/labels.csv"] == TABLE.encode()


def test_archives_of_archives_in_an_archive_are_refused(tmp_path: Path) -> None:
    path = made(tmp_path, "tar", {"a.tar.gz": gzip.compress(tar_of({"b.tar": tar_of(FILES)}))})
    with pytest.raises(
        SourceRefused, match=r"a\.tar\.gz(?s:.*)an archive of archives in an archive; one level is read"
    ):
        unpacked(path)


@pytest.mark.parametrize("outer", [*OUTER, "folder"])
def test_an_archive_in_another_that_is_cut_is_named(tmp_path: Path, outer: str) -> None:
    packed = INNER["tar.gz"](FILES)
    path = made(tmp_path, outer, {"a.tar.gz": packed[: len(packed) // 2], "b.zip": zip_of(FILES)})
    with pytest.raises(SourceRefused, match=r"data(: |/)a\.tar\.gz(?s:.*)it is damaged or cut"):
        unpacked(path)


@pytest.mark.parametrize("outer", [*OUTER, "folder"])
def test_bombs_in_an_archive_are_stopped_while_they_are_unpacked(tmp_path: Path, outer: str) -> None:
    bomb = gzip.compress(tar_of({"train/a/0.jpg": bytes(70 * 2**20)}))
    path = made(tmp_path, outer, {"a.tar.gz": bomb, "b.tar.gz": bomb})
    with pytest.raises(SourceRefused, match="so it is a zip bomb"):
        unpacked(path)
    assert sum(file.stat().st_size for file in tmp_path.glob("spool/**/*")) < 110 * 2**20


def test_the_limit_of_bytes_holds_for_all_inner_archives_together(tmp_path: Path) -> None:
    path = made(tmp_path, "zip", {f"{n}.tar": tar_of({"a.jpg": bytes(400_000)}) for n in range(3)})
    with pytest.raises(SourceRefused, match="more than KENNEL_MAX_ARCHIVE_BYTES=1000000"):
        unpacked(path, Settings(max_archive_bytes=1_000_000))


def test_an_entry_that_leads_outside_in_an_inner_tar_is_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("train/cat/9.jpg")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    inner = tar_of({**FILES, "../x.jpg": b"x"}, link)
    refusals = [entry.refusal for entry in unpacked(made(tmp_path, "zip", {"a.tar": inner})).entries if entry.refusal]
    assert refusals == ["its path points outside the archive", "it is a symbolic link"]


def test_a_deflated_zip_with_a_tar_and_photos_of_its_own_is_read_for_these(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {**FILES, "more.tar.gz": INNER["tar.gz"](FILES)}, deflate=True)
    layout, _ = read(unpacked(path))
    assert len(layout.candidates) == 10 and layout.notes == ("1 .gz is not a photo and is not used (more.tar.gz)",)


def test_an_encrypted_member_beside_a_tar_is_not_read(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("photos.tar", tar_of(FILES))
        archive.writestr("labels.csv", TABLE)
    data = bytearray(out.getvalue())
    data[data.rfind(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(bytes(data))
    entries = {entry.name: entry.refusal for entry in unpacked(tmp_path / "a.zip").entries}
    assert entries["labels.csv"] == "it is encrypted" and len(entries) == 11


def test_archives_of_two_kinds_with_lists_beside_them_are_staged_with_their_classes_and_splits(
    tmp_path: Path, place: Workplace
) -> None:
    """Workers read the photos of a zip and of a compressed tar, both in one tar, after the lists in it."""
    parts = {"zip": range(8), "tar.gz": range(8, 12)}
    files = {
        f"set/part_{n}.{kind}": INNER[kind]({f"{each:02d}.jpg": jpeg(each) for each in own})
        for n, (kind, own) in enumerate(parts.items())
    }
    ranges = {"train": range(4), "val": range(4, 8), "test": range(8, 12)}
    files |= {f"set/{name}.txt": "".join(f"{n:02d}.jpg {n % 2}\n" for n in r).encode() for name, r in ranges.items()}
    files["set/classes.txt"] = b"cat\ndog\n"
    dataset, _ = place.stage(made(tmp_path, "tar", files))
    rows = place.rows(dataset)
    found = {row["name"]: (row["split"], row["class"]) for row in rows}
    words = {"train": "train", "val": "validation", "test": "test"}
    assert found == {
        f"set/part_{n // 8}/{n:02d}.jpg": (words[name], ("cat", "dog")[n % 2]) for name, r in ranges.items() for n in r
    }


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_two_archives_of_one_name_the_first_is_read_and_the_second_is_told(tmp_path: Path) -> None:
    path = tmp_path / "data"
    inner = [zip_of({f"{n}{m}.jpg": jpeg(4 * n + m) for m in range(4)}) for n in range(3)]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in zip(("a.zip", "a.zip", "b.zip"), inner, strict=True):
            archive.writestr(name, data)
    listing = unpacked(path)
    layout, content = read(listing)
    assert layout.classes == ("a", "b") and len(layout.candidates) == 8
    assert content["a/00.jpg"] == jpeg(0)
    assert [(each.name, each.refusal) for each in listing.entries if each.refusal] == [
        ("a.zip", "the archive holds this name twice")
    ]


def test_a_large_file_beside_a_zip_in_a_folder_is_no_part_of_its_ratio(tmp_path: Path) -> None:
    path = made(tmp_path, "folder", {"photos.zip": zip_of(FILES)})
    with (path / "movie.mp4").open("wb") as movie:
        movie.truncate(250 * 2**20)
    layout, _ = read(replace(listing := unpacked(path), entries=listing.entries[:-1]))
    assert listing.entries[-1].name == "movie.mp4" and layout.classes == ("cat", "dog")
