"""Completion in a real bash: commands, flags, their values, and the ids of this machine's runs."""

import subprocess
from pathlib import Path

import pytest

from tasks.run.ledger import Ledger
from tests.kennel.shell import ROOT, Terminal

ASK = """
source "$1"
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
_kennel kennel "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    folder = tmp_path_factory.mktemp("completion")
    made = Terminal(folder / "home", folder / "runs")
    for name in ("cats", "dogs", "dogs-2"):
        Ledger(made.runs / name, account_id="123456789012", endpoint="aws").record("role", "r", "created")
    return made


@pytest.fixture(scope="module")
def script(terminal: Terminal, tmp_path_factory: pytest.TempPathFactory) -> Path:
    printed = terminal.kennel("completion", "bash")
    assert printed.code == 0, printed.err
    path = tmp_path_factory.mktemp("script") / "kennel.bash"
    path.write_text(printed.out)
    return path


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["kennel", "comp"], {"compare", "completion"}),
        (["kennel", "runs", "--so"], {"--sort"}),
        (["kennel", "runs", "--sort", "acc"], {"accuracy"}),
        (["kennel", "open", ""], {"cats", "dogs", "dogs-2"}),
        (["kennel", "compare", "cats", "do"], {"dogs", "dogs-2"}),
    ],
)
def test_what_is_typed_is_completed(terminal: Terminal, script: Path, words: list[str], offered: set[str]) -> None:
    environment = {**terminal.environment, "PATH": f"{ROOT / '.venv' / 'bin'}:{terminal.environment['PATH']}"}
    found = subprocess.run(
        ["bash", "-c", ASK, "bash", str(script), *words], env=environment, capture_output=True, text=True, timeout=120
    )
    assert set(found.stdout.split()) == offered, found.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_script_of_another_shell_names_every_command(terminal: Terminal, shell: str) -> None:
    printed = terminal.kennel("completion", shell)
    assert printed.code == 0 and all(name in printed.out for name in ("run", "predict", "compare", "__complete"))
