"""Tests of the Markdown that Prefect shows: pictures are embedded, so that a browser sees them without local files."""

import base64
from pathlib import Path

import pytest
from PIL import Image

from tasks.run.artifacts import MAX_PICTURE_BYTES, embed_pictures


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "runs (2)" / "profile.png"
    path.parent.mkdir()
    Image.new("RGB", (321, 123), "red").save(path)
    return path


def test_a_picture_of_this_machine_is_embedded(picture: Path) -> None:
    text = embed_pictures(f"before\n![profile, function]({picture})\nafter")
    data = base64.b64encode(picture.read_bytes()).decode()
    assert text == f"before\n![profile, function](data:image/png;base64,{data})\nafter"


def test_a_picture_that_is_gone_or_too_large_is_named(picture: Path, tmp_path: Path) -> None:
    assert embed_pictures(f"![p]({tmp_path / 'gone.png'})") == f"p: `{tmp_path / 'gone.png'}`"
    with picture.open("ab") as file:
        file.truncate(MAX_PICTURE_BYTES + 1)
    assert embed_pictures(f"![p]({picture})") == f"p: `{picture}`"


@pytest.mark.parametrize("text", ["![p](https://example.com/p.png)", "![p](data:image/png;base64,AA)", "see `p.png`"])
def test_other_markdown_stays_as_it_is(text: str) -> None:
    assert embed_pictures(text) == text
