"""Search spaces as options: read from a file, checked before anything is made, and refused with the form."""

from pathlib import Path

import pytest

from tasks.model.search import require_search_space, with_search_space
from tasks.run.errors import SettingsRefused
from tasks.run.options import MOST_CHARACTERS, ModelOptions

SPACE = '{"dropout": {"low": 0.1, "high": 0.6}}'


def test_a_file_is_read_into_the_options_and_json_is_taken_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "space.json"
    file.write_text(f"{SPACE}\n")
    for given in (SPACE, str(file)):
        assert with_search_space(ModelOptions(trials=3, search_space=given)).search_space == SPACE
    assert with_search_space(ModelOptions(trials=3)).search_space is None


def test_what_the_job_would_refuse_is_refused_before_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsRefused, match=r"dropout has 1\.5, which is not between 0 and 0.95"):
        require_search_space(SPACE.replace("0.6", "1.5"), 3)
    with pytest.raises(SettingsRefused, match="nothing is searched without --trials"):
        require_search_space(SPACE, None)
    with pytest.raises(SettingsRefused, match="no file that can be read"):
        with_search_space(ModelOptions(trials=3, search_space=str(tmp_path / "none.json")))
    for text, why in (("\0", "null byte"), (" " * 200_000, "long")):
        (tmp_path / "space.json").write_text(text)
        with pytest.raises(SettingsRefused, match=why):
            require_search_space((tmp_path / "space.json").read_text(), 3)
    (tmp_path / "long.json").write_text(SPACE + " " * MOST_CHARACTERS + "x")
    with pytest.raises(SettingsRefused, match="characters, and 2000 are allowed"):
        with_search_space(ModelOptions(trials=3, search_space=str(tmp_path / "long.json")))
