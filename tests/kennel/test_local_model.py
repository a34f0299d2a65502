"""Loading a kept model: what is none is refused by name; `commands/test_whole_way.py` classifies photos with one."""

import gzip
from pathlib import Path

import pytest

import kennel
from tasks.run.errors import SettingsRefused, StageFailed
from tests.tasks.sagemaker.jobs import archive

WHOLE = archive({"meta.json": b"{}", "graph.xml": b"x" * 100_000})


@pytest.mark.parametrize(
    "content",
    [b"no archive", b"", WHOLE, WHOLE[:-40], gzip.compress(gzip.decompress(WHOLE)[:1000]) + b"garbage"],
    ids=["text", "empty", "members missing", "cut", "garbage behind"],
)
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.tar.gz").write_bytes(content)

    with pytest.raises(StageFailed, match=r"model\.tar\.gz (has no readable (model|meta\.json)|cannot be loaded)"):
        kennel.load_model(tmp_path / "model.tar.gz")


def test_a_run_without_a_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsRefused, match=r"there is no .*TrainedModels"):
        kennel.load_model(tmp_path)
    with pytest.raises(SettingsRefused, match="there is no such file"):
        kennel.load_model(tmp_path / "missing.tar.gz")
