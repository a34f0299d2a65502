"""Tests of sources that are unpacked first: compressed tars, and one level of zips in a zip."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import zstandard

from tasks.data.archive import Reader, list_source
from tasks.data.entries import Listing, Unreadable
from tasks.data.layout import read_layout
from tasks.data.unpacking import list_unless_packed, list_unpacked
from tasks.run.errors import SourceRefused
from tasks.run.progress import LineProgress
from tasks.run.settings import Settings
from tests.tasks.data.datasets import good_files, tar_of, write_zip, zip_of

SETTINGS = Settings()
FILES = good_files()
COMPRESS: Mapping[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "zst": zstandard.ZstdCompressor().compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def unpacked(path: Path, settings: Settings = SETTINGS) -> Listing:
    spool = path.parent / "spool"
    spool.mkdir(exist_ok=True)
    return list_unpacked(path, settings, spool, LineProgress)


def read_all(listing: Listing) -> dict[str, bytes]:
    with Reader(listing.root, listing.kind) as reader:
        return {entry.name: reader.read(entry) for entry in listing.entries if entry.refusal is None}


def encrypted(archive: bytes) -> bytes:
    """Return a zip whose directory says of every file that it is encrypted."""
    data, at = bytearray(archive), -1
    while (at := data.find(b"PK\x01\x02", at + 1)) >= 0:
        data[at + 8] |= 1
    return bytes(data)


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


def test_a_tar_is_read_in_place_whatever_its_name_is(tmp_path: Path) -> None:
    path = written(tmp_path / "download", tar_of(FILES))
    listing = unpacked(path)
    assert read_all(listing) == FILES and listing.root == path
    assert not any((tmp_path / "spool").iterdir())


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_compressed_tar_is_unpacked_and_read(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path / "photos", COMPRESS[kind](tar_of(FILES)))
    assert list_unless_packed(path, SETTINGS) is None
    assert read_all(unpacked(path)) == FILES


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_compressed_tar_that_is_cut_is_refused(tmp_path: Path, kind: str) -> None:
    data = COMPRESS[kind](tar_of({f"train/a/{n}.jpg": bytes([n]) * 3000 for n in range(100)}))
    path = written(tmp_path / "photos", data[: len(data) // 2])
    with pytest.raises(SourceRefused, match="cut"):
        unpacked(path)


def test_an_xz_of_several_streams_is_read_whole(tmp_path: Path) -> None:
    data = tar_of(FILES)
    streams = [lzma.compress(data[:7000]), bytes(8), lzma.compress(b""), lzma.compress(data[7000:]), bytes(4)]
    assert read_all(unpacked(written(tmp_path / "a.tar.xz", b"".join(streams)))) == FILES


def wide_zstd(window_log: int) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=window_log)
    out = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return out.compress(tar_of(FILES)) + out.flush()


def wide_xz() -> bytes:
    """Return an xz whose header asks for 4 GiB of memory, and with the checksum of that."""
    data = bytearray(lzma.compress(tar_of(FILES)))
    assert data[14:16] == b"\x21\x01"  # LZMA2, whose one byte of properties is the size of the dictionary
    data[16] = 40
    data[20:24] = zlib.crc32(data[12:20]).to_bytes(4, "little")
    return bytes(data)


def test_a_stream_that_needs_too_much_memory_is_refused_with_what_to_do(tmp_path: Path) -> None:
    for data in (wide_zstd(28), wide_xz()):
        with pytest.raises(SourceRefused, match="needs more than 128 MiB of memory") as refused:
            unpacked(written(tmp_path / "a", data))
        assert "pack it anew with a smaller one, such as that of zstd --long=27" in str(refused.value)
        with pytest.raises(SourceRefused, match="needs more than 128 MiB of memory"):
            list_unless_packed(tmp_path / "a", SETTINGS)
    assert read_all(unpacked(written(tmp_path / "a", wide_zstd(27)))) == FILES


def test_links_and_devices_in_a_tar_are_listed_and_refused(tmp_path: Path) -> None:
    more = [
        special("train/cat/s.jpg", tarfile.SYMTYPE, "/etc/passwd"),
        special("train/cat/h.jpg", tarfile.LNKTYPE, "photos/train/cat/0.jpg"),
        special("train/cat/d.jpg", tarfile.CHRTYPE),
        special("train/cat/f.jpg", tarfile.FIFOTYPE),
        special("../x.jpg", tarfile.REGTYPE),
    ]
    listing = unpacked(written(tmp_path / "a.tar", tar_of(FILES, *more)))
    assert [entry.refusal for entry in listing.entries if entry.refusal] == [
        "it is a symbolic link",
        "it is a hard link",
        "it is not a regular file",
        "it is not a regular file",
        "its path points outside the archive",
    ]
    assert read_all(listing) == FILES


def test_a_tar_that_is_cut_is_refused_and_one_that_is_cut_later_is_unreadable(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tar", tar_of({"train/a/0.jpg": bytes(5000)}))
    listing = unpacked(path)
    written(path, path.read_bytes()[:3000])
    with pytest.raises(Unreadable, match="beyond the end of the file"):
        read_all(listing)
    with pytest.raises(SourceRefused, match="a damaged or cut tar: unexpected end of data"):
        unpacked(path)


def test_a_tar_whose_header_is_as_long_as_the_memory_is_refused(tmp_path: Path) -> None:
    member = special("name", tarfile.GNUTYPE_LONGNAME)
    member.size = 2**32
    with pytest.raises(SourceRefused, match="a header in it is longer"):
        unpacked(written(tmp_path / "a.tar", member.tobuf() + bytes(2**20)))


def test_a_compressed_file_that_is_no_archive_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = written(tmp_path / "photo.jpg.gz", gzip.compress(FILES["photos/train/cat/0.jpg"]))
    with pytest.raises(SourceRefused, match="holds neither a tar nor a zip"):
        list_unless_packed(path, SETTINGS)
    with pytest.raises(SourceRefused, match="holds neither a tar nor a zip"):
        unpacked(path)
    assert (tmp_path / "spool" / "source.archive").stat().st_size == 0


def test_a_bomb_is_stopped_while_it_is_unpacked(tmp_path: Path) -> None:
    path = written(tmp_path / "bomb.tar.gz", gzip.compress(tar_of({"train/a/0.jpg": bytes(130 * 2**20)})))
    with pytest.raises(SourceRefused, match="so it is a zip bomb"):
        unpacked(path)
    with pytest.raises(SourceRefused, match="more than KENNEL_MAX_ARCHIVE_BYTES=5000000"):
        unpacked(path, Settings(max_archive_bytes=5_000_000))
    assert (tmp_path / "spool" / "source.archive").stat().st_size < 7_000_000


def test_a_zip_that_a_server_compressed_is_read(tmp_path: Path) -> None:
    assert read_all(unpacked(written(tmp_path / "a.zip", gzip.compress(zip_of(FILES))))) == FILES


def test_the_one_zip_in_a_zip_is_the_dataset(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "outer.zip", {"README.txt": b"read me", "dogImages.zip": zip_of(FILES)}, deflate=True)
    assert list_unless_packed(path, SETTINGS) is None
    assert read_all(unpacked(path)) == FILES


def test_several_zips_in_a_zip_are_folders_of_their_names(tmp_path: Path) -> None:
    parts: dict[str, dict[str, bytes]] = {}
    for name, data in good_files(root="").items():
        split, _, rest = name.partition("/")
        parts.setdefault(split, {})[rest] = data
    outer = {f"{split}.zip": zip_of(files) for split, files in parts.items()}
    listing = unpacked(write_zip(tmp_path / "outer.zip", {**outer, "__MACOSX/._train.zip": b"x"}))
    assert read_all(listing) == good_files(root="")
    assert read_layout(listing).classes == ("cat", "dog")


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_many_zips_in_a_zip_are_read_with_few_of_them_open(tmp_path: Path) -> None:
    outer = {f"train/{n}.zip": zip_of({"a.jpg": b"%d" % n, "b.jpg": b"b"}) for n in range(70)}
    listing = unpacked(write_zip(tmp_path / "outer.zip", outer))
    before = open_files()
    with Reader(listing.root, listing.kind) as reader:
        for entry in sorted(listing.entries, key=lambda each: each.name[::-1]):  # all of a.jpg, then all of b.jpg
            assert reader.read(entry)
            assert open_files() <= before + 32
    assert open_files() == before


def test_zips_of_zips_in_a_zip_are_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"b.zip": zip_of({"c.zip": zip_of(FILES)})})
    with pytest.raises(SourceRefused, match=r"a\.zip: b\.zip(?s:.*)one level is read"):
        unpacked(path)


def test_an_encrypted_zip_in_a_zip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match=r"a\.zip: b\.zip(?s:.*)all of its 10 files are encrypted"):
        unpacked(write_zip(tmp_path / "a.zip", {"b.zip": encrypted(zip_of(FILES))}))


def test_a_zip_in_a_zip_that_is_encrypted_itself_is_refused(tmp_path: Path) -> None:
    data = bytearray(zip_of({"b.zip": zip_of(FILES), "notes.txt": b"x"}))
    of_directory = data.rfind(b"PK\x01\x02", 0, data.rfind(b"b.zip"))
    for flags in (6, of_directory + 8):  # of the member itself, and of the directory
        data[flags] |= 1
    with pytest.raises(SourceRefused, match=r"it cannot be unpacked: File 'b\.zip' is encrypted"):
        unpacked(written(tmp_path / "a.zip", bytes(data)))


def test_a_zip_beside_images_is_no_source_of_its_own(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {**FILES, "more.zip": zip_of(FILES)})
    assert len(unpacked(path).entries) == len(FILES) + 1


@pytest.mark.parametrize("ending", ["pgm", "jpe", "cr2", "dib"])
def test_a_zip_beside_images_of_any_kind_is_no_source_of_its_own(tmp_path: Path, ending: str) -> None:
    photos = {f"{name}/{n}.{ending}": b"x" for name in ("cat", "dog") for n in range(30)}
    layout = read_layout(unpacked(write_zip(tmp_path / "a.zip", {**photos, "extra/old.zip": zip_of(FILES)})))
    assert layout.classes == ("cat", "dog") and len(layout.candidates) == 60


def test_what_lies_beside_the_zips_in_a_zip_is_told_of(tmp_path: Path) -> None:
    beside = {"cat/0001": b"x", "cat/0002": b"x", "LICENSE": b"x", "notes.txt": b"x", "__MACOSX/._dogs.zip": b"x"}
    listing = unpacked(write_zip(tmp_path / "a.zip", {**beside, "dogs.zip": zip_of(FILES)}))
    layout = read_layout(listing)
    assert read_all(listing) == {**FILES, "notes.txt": b"x"}
    assert [each.name for each in layout.quarantined] == ["cat/0001", "cat/0002"]
    assert {each.reason for each in layout.quarantined} == {
        "it lies beside the archives in the archive, and only what is in them is read"
    }
    assert layout.ignored == 2


def test_a_zip_that_was_written_to_a_stream_is_read(tmp_path: Path) -> None:
    path = tmp_path / "streamed.zip"
    with path.open("wb") as file:
        out = io.BufferedWriter(_Pipe(file))
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in FILES.items():
                with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                    member.write(data)
        out.flush()
    assert read_all(unpacked(path)) == FILES


class _Pipe(io.RawIOBase):
    """A file that can only be written to its end, as a pipe."""

    def __init__(self, file: io.BufferedWriter) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        return self._file.write(data)  # type: ignore[arg-type]


def test_a_zip_of_which_all_files_are_encrypted_is_refused_at_once(tmp_path: Path) -> None:
    data = encrypted(zip_of({"train/a/0.jpg": b"x", "train/a/1.jpg": b"y"}))
    with pytest.raises(SourceRefused, match="all of its 2 files are encrypted") as refused:
        list_source(written(tmp_path / "a.zip", data), SETTINGS)
    assert "unpack it with its password" in str(refused.value)


@pytest.mark.parametrize(("beginning", "kind"), [(b"Rar!\x1a\x07", "RAR"), (b"7z\xbc\xaf\x27\x1c", "7-Zip")])
def test_archives_that_are_not_read_are_named(tmp_path: Path, beginning: bytes, kind: str) -> None:
    path = written(tmp_path / "a.rar", beginning + bytes(600))
    with pytest.raises(SourceRefused, match=f"it is a {kind} archive, which kennel does not read"):
        list_unless_packed(path, SETTINGS)


def test_links_fifos_and_loops_in_a_folder_are_listed_and_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "loop").symlink_to(folder)
    (folder / "photo.jpg").symlink_to("/etc/passwd")
    os.mkfifo(folder / "fifo.jpg")
    refusals = {entry.name: entry.refusal for entry in list_source(folder, SETTINGS).entries}
    link = "it is a symbolic link"
    assert refusals == {"loop": link, "photo.jpg": link, "fifo.jpg": "it is not a regular file"}


def test_the_zips_in_a_folder_are_read_in_place_as_folders_of_their_names(tmp_path: Path) -> None:
    photos = {f"{n}.jpg": FILES[name] for n, name in enumerate(sorted(FILES)[:3])}
    for name in ("Rock", "Paper"):
        write_zip(tmp_path / f"{name}-samples.zip", photos)
    write_zip(tmp_path / "converted_keras.zip", {"keras_model.h5": b"model", "labels.txt": b"0 Rock"})
    (tmp_path / "notes.txt").write_text("notes")
    listing = list_unpacked(tmp_path, SETTINGS, tmp_path, LineProgress)
    layout = read_layout(listing)
    assert (layout.classes, len(layout.candidates)) == (("Paper-samples", "Rock-samples"), 6)
    assert layout.notes[0] == "1 .zip and 1 .txt are not photos and are not used (converted_keras.zip and notes.txt)"
    content = read_all(listing)
    assert content["Rock-samples/1.jpg"] == photos["1.jpg"] and content["notes.txt"] == b"notes"
    assert list_unless_packed(tmp_path, SETTINGS) == listing


def test_a_table_beside_the_zips_in_a_folder_gives_the_classes(tmp_path: Path) -> None:
    write_zip(tmp_path / "train.zip", {f"{n}.jpg": FILES[name] for n, name in enumerate(sorted(FILES)[:4])})
    (tmp_path / "labels.csv").write_text("id,breed\n0,cat\n1,dog\n2,cat\n3,dog\n")
    listing = list_unpacked(tmp_path, SETTINGS, tmp_path, LineProgress)
    with Reader(listing.root, listing.kind) as reader:
        layout = read_layout(listing, reader.read)
    assert (layout.classes, len(layout.candidates)) == (("cat", "dog"), 4)


def test_zips_of_zips_in_a_folder_are_refused(tmp_path: Path) -> None:
    inner = {"a.zip": zip_of({"b.zip": zip_of(FILES)})}
    write_zip(tmp_path / "c.zip", {"d.zip": inner["a.zip"]})
    with pytest.raises(SourceRefused, match="it is a zip of zips in a zip"):
        list_unpacked(tmp_path, SETTINGS, tmp_path, LineProgress)


def test_names_in_an_old_code_page_are_told_with_an_example(tmp_path: Path) -> None:
    archive = zip_of({name.replace("cat", "Aepfel"): data for name, data in FILES.items()})
    path = written(tmp_path / "old.zip", archive.replace(b"Aepfel", "\u00c4pfel".encode("cp850") + b"_"))
    layout = read_layout(unpacked(path))
    assert layout.classes == ("dog", "\u00c4pfel_")
    assert layout.notes == (
        "names were read as cp437, such as \u00c4pfel_: if they look wrong, give the unpacked folder",
    )
