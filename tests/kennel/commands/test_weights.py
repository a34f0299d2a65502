"""A command whose backbone's ImageNet weights have to be fetched, from a server of the test's own."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision import models

from tests.counting_proxy import Calls
from tests.kennel.shell import Finished, Terminal
from tests.tasks.data.test_download import Site, site

__all__ = ["site"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(700)]

BACKBONE = "mnasnet0_75"  # small, and published for pictures of 232 px
RUN = "fetched"


def train(terminal: Terminal, photos: Path, url: str) -> Finished:
    setting = {"KENNEL_WEIGHTS_URL": url, "KENNEL_DOWNLOAD_ATTEMPTS": "1"}
    options = ("--backbone", BACKBONE, "--epochs", "2", "--views", "1")
    return terminal.kennel("train-ec2", "--data", str(photos), "--run-id", RUN, *options, more=setting)


def meta_of(archive: Path) -> dict[str, Any]:
    with tarfile.open(archive) as tar:
        member = tar.extractfile(next(name for name in tar.getnames() if name.endswith("meta.json")))
        assert member is not None
        meta: dict[str, Any] = json.load(member)
    return meta


def test_weights_are_fetched_uploaded_and_trained_on_and_without_a_network_nothing_is_uploaded(
    terminal: Terminal, photos: Path, calls: Calls, site: Site
) -> None:
    offline = train(terminal, photos, "http://127.0.0.1:9/")
    assert offline.code == 4, offline.err
    assert f"the ImageNet weights of {BACKBONE} are not here" in offline.err and "--weights random" in offline.err
    assert [each for each in calls.seen if each.startswith("PUT")] == []

    torch.manual_seed(7)
    content = io.BytesIO()
    torch.save(models.get_model(BACKBONE, weights=None).state_dict(), content)
    site.content = content.getvalue()
    digest = hashlib.sha256(site.content).hexdigest()[:8]
    fetched = train(terminal, photos, f"{site.url.rpartition('/')[0]}/{BACKBONE}-{digest}.pth")
    assert fetched.code == 0, fetched.err

    meta = meta_of(terminal.runs / RUN / "TrainedModels" / "model.tar.gz")
    kept = (terminal.home / "weights" / f"{BACKBONE}.sha256").read_text().strip()
    assert meta["weights"] == kept and f"weights/{BACKBONE}/{kept[:16]}" in str(calls.seen)
    assert (meta["preprocessing"]["resize"], meta["preprocessing"]["crop"]) == (232, 224)
