"""No damaged file is used silently: 300 seeded single-bit flips in each kind of file that kennel reads back."""

import tarfile
from pathlib import Path

import pytest

from localaws.sagemaker.model_server.archive import ArchiveRefused, unpack
from tasks.data.download import download, read_download_record
from tasks.data.judgement_cache import Findings, Judgement, JudgementCache, LocatedSource
from tasks.data.sample import VERSION, make_sample
from tasks.model.archive import read_meta
from tasks.model.weights import find_weights
from tasks.run.errors import DownloadFailed, LedgerRefused, StageFailed
from tasks.run.handle import RunFolder
from tasks.run.options import ModelOptions
from tasks.run.progress import LineProgress
from tasks.run.record_store import Record
from tasks.run.sealed import seal, sha256_of
from tasks.run.settings import Settings
from tasks.sagemaker.download import FOLDER, MODEL, DownloadedTraining, load_download
from tests.bit_flips import FLIPS, flipped
from tests.tasks.data.test_download import Site, site
from tests.tasks.report.test_report import RECORDS

__all__ = ["site"]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_damaged_record_is_refused_by_its_file(tmp_path: Path, record: Record) -> None:
    run = RunFolder(tmp_path / "run")
    path = run.keep(record)
    refused = 0
    for where in flipped(path):
        try:
            assert run.find(type(record)) == record, where  # a flip that leaves the same content is no damage
        except LedgerRefused as error:
            assert str(path) in error.what
            refused += 1
    assert refused > 0.95 * FLIPS and run.find(type(record)) == record


def test_a_damaged_judgement_is_not_used_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = tmp_path / "photos.zip"
    source.write_bytes(b"photos")
    cache = JudgementCache(LocatedSource("photos.zip", "photos", source), Settings(home=tmp_path))
    judgement = Judgement("digest", Findings(warnings=("two names are the same",)))
    cache.store(judgement)
    first, second = (tmp_path / "judged").iterdir()
    with caplog.at_level("INFO", "kennel"):
        for path, other in ((first, second), (second, first)):
            content = other.read_bytes()
            other.unlink()
            found = {cache.find() for _ in flipped(path)}
            other.write_bytes(content)
            assert found <= {None, judgement}
    assert sum("the images are judged again" in each.message for each in caplog.records) > FLIPS / 2
    assert cache.find() == judgement


def get(site: Site, home: Path) -> Path:
    return download(site.url, Settings(home=home), LineProgress, sleep=lambda _: None)


def test_a_damaged_download_is_fetched_anew_and_that_is_said(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = get(site, tmp_path)
    with caplog.at_level("INFO", "kennel"):
        for _ in range(10):
            for where in flipped(path, flips=1):
                assert get(site, tmp_path).read_bytes() == site.content, where
    assert sum(f"{path} is damaged" in each.message for each in caplog.records) == 10


def test_a_damaged_part_is_not_resumed_and_that_is_said(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site.cut_after = 500_000
    with pytest.raises(DownloadFailed):
        download(site.url, Settings(home=tmp_path, download_attempts=1), LineProgress)
    (part,) = tmp_path.rglob("*.part")
    content = bytearray(part.read_bytes())
    content[1000] ^= 4
    part.write_bytes(content)
    site.cut_after = None
    with caplog.at_level("INFO", "kennel"):
        assert get(site, tmp_path).read_bytes() == site.content
    assert site.ranges[-1] is None and any(f"{part} is damaged" in each.message for each in caplog.records)


def test_a_damaged_record_of_a_download_is_not_used(site: Site, tmp_path: Path) -> None:
    path = get(site, tmp_path)
    whole = read_download_record(path)
    found = [read_download_record(path) for _ in flipped(path.parent / "download.json")]
    assert whole is not None and {each for each in found if each != whole} == {None}


def test_a_damaged_sample_is_written_anew(tmp_path: Path) -> None:
    folder = tmp_path / "sample" / VERSION
    (folder / "train" / "digit-0").mkdir(parents=True)
    picture = folder / "train" / "digit-0" / "0_0000.jpg"
    picture.write_bytes(b"damaged")
    folder.with_name(f"{VERSION}.sha256").write_text("the sha256 of the whole sample")
    assert make_sample(tmp_path) == folder
    written = picture.stat()
    assert written.st_size > 1000 and len(list(folder.rglob("*.jpg"))) > 1700
    assert make_sample(tmp_path) == folder and picture.stat().st_mtime_ns == written.st_mtime_ns


def test_a_damaged_digest_is_written_anew_with_the_sample(tmp_path: Path) -> None:
    digest = make_sample(tmp_path).with_name(f"{VERSION}.sha256")
    whole = digest.read_bytes()
    digest.write_bytes(bytes([whole[0] ^ 0x80]) + whole[1:])
    make_sample(tmp_path)
    assert digest.read_bytes() == whole


def test_damaged_exported_weights_are_exported_anew(tmp_path: Path) -> None:
    path = tmp_path / "weights" / "efficientnet_lite0.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"exported before")
    path.with_suffix(".sha256").write_text(sha256_of(path))
    assert find_weights(ModelOptions(), Settings(home=tmp_path)) == path
    assert path.read_bytes() == b"exported before"
    path.with_suffix(".sha256").write_bytes(b"\xb9" + sha256_of(path).encode()[1:])
    assert find_weights(ModelOptions(), Settings(home=tmp_path)) == path
    assert path.stat().st_size > 10_000_000
    assert path.with_suffix(".sha256").read_text().strip() == sha256_of(path)


def archive_of(folder: Path) -> Path:
    """Pack a model as the embedded training service does: gzip that only stores."""
    (folder / "model").mkdir()
    (folder / "model" / "meta.json").write_bytes(seal({"classes": ["cat", "dog"], "metrics": {"test_accuracy": 0.5}}))
    (folder / "model" / "graph.bin").write_bytes(bytes(range(256)) * 8)
    with tarfile.open(folder / "model.tar.gz", "w:gz", compresslevel=0) as tar:
        tar.add(folder / "model", ".")
    return folder / "model.tar.gz"


def test_a_damaged_model_archive_is_not_unpacked_for_an_endpoint(tmp_path: Path) -> None:
    archive = archive_of(tmp_path)
    for number, where in enumerate(flipped(archive)):
        folder = tmp_path / str(number)
        try:
            unpack(archive, folder)
        except ArchiveRefused:
            continue
        for name in ("meta.json", "graph.bin"):  # the flip is in gzip's header, which holds a time and a name
            assert (folder / name).read_bytes() == (tmp_path / "model" / name).read_bytes(), where


def test_the_metadata_of_a_damaged_model_archive_is_refused_or_the_same(tmp_path: Path) -> None:
    archive = archive_of(tmp_path)
    whole, refused = read_meta(archive, "model"), 0
    for where in flipped(archive):
        try:
            assert read_meta(archive, "model") == whole, where
        except StageFailed:
            refused += 1
    assert refused > 0


def test_a_damaged_downloaded_model_is_fetched_again(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    path = run.folder / FOLDER / MODEL
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(range(256)) * 8)
    run.keep(DownloadedTraining("job", "2026-01-01", "s3://b/m", "e", sha256_of(path), 2048, {}, {}, None))
    assert [where for where in flipped(path) if load_download(run) is not None] == []
    assert load_download(run) is not None
