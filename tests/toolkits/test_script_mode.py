"""localaws's program in the place of AWS's training toolkit, beside the toolkit itself: one script, run by both."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from localaws.programs import launch_command
from tests.toolkits.test_toolkits import HERE, PYTHON, ROOT, dataset, environment, write_job
from tests.training.datasets import Dataset

__all__ = ["dataset"]  # the fixture

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not PYTHON.exists(), reason="there is no .toolkits: make toolkits"),
]

DUMP = """
import json, os, pathlib, sys

names = ("CURRENT_HOST", "SAGEMAKER_JOB_NAME", "SAGEMAKER_REGION")
found = {name: value for name, value in os.environ.items() if name.startswith("SM_") or name in names}
text = json.dumps({"arguments": sys.argv[1:], "variables": found, "folder": os.getcwd(), "path": sys.path[0]})
pathlib.Path(os.environ["SM_MODEL_DIR"], "dump.json").write_text(text)
if "--fail" in sys.argv:
    print("about to", "fail")
    raise SystemExit(3) if sys.argv[-1] == "quietly" else ValueError("a 'reason'\\nin two lines")
"""
STRANGE = {
    "spaces": json.dumps("two  words "),
    "quotes": json.dumps("a 'b' \"c\" `d` $HOME \\n"),
    "lines": json.dumps("one\ntwo"),
    "empty": json.dumps(""),
    "nothing": "null",
    "list": json.dumps([1, "b c", None]),
    "map": json.dumps({"b": 1, "a": [2]}),
    "yes": "true",
    "no": "false",
    "whole": "10",
    "real": "1e-05",
    "large": "123456789012345678901234567890",
    "raw": "not json, 'at' all",
    "unicode": json.dumps("größe 犬 🐕"),
    "raw-unicode": "größe",
    "x": "1",
    "with-dash": "1",
    "With_Case": "1",
    "dotted.name": "1",
    "sagemaker_custom": json.dumps({"a": 1}),
    "_tuning_objective_metric": "loss",
}


def write_configuration(base: Path, hyperparameters: dict[str, str], hosts: Sequence[str] = ("localhost",)) -> None:
    config = base / "input" / "config"
    config.mkdir(parents=True)
    for folder in ("model", "output/data"):
        (base / folder).mkdir(parents=True)
    group = {"instance_group_name": "homogeneousCluster", "instance_type": "ml.m5.large", "hosts": list(hosts)}
    files: dict[str, Any] = {
        "hyperparameters": hyperparameters,
        "resourceconfig": {
            "current_host": hosts[0],
            "current_instance_type": "ml.m5.large",
            "current_group_name": "homogeneousCluster",
            "hosts": list(hosts),
            "instance_groups": [group],
            "network_interface_name": "lo",
        },
        "inputdataconfig": {"train": {"TrainingInputMode": "File"}, "Weights-2": {"TrainingInputMode": "File"}},
    }
    for name, content in files.items():
        (config / f"{name}.json").write_text(json.dumps(content))


def run_both(base: Path, script: str, hyperparameters: dict[str, str]) -> list[tuple[Any, str]]:
    """Run a script by the toolkit and by localaws's program; return what each dumped, and its failure file."""
    uploaded = base.parent / "uploaded"
    uploaded.mkdir()
    (uploaded / "main.py").write_text(script)
    given = {"sagemaker_program": "main.py", "sagemaker_submit_directory": json.dumps(str(uploaded)), **hyperparameters}
    write_configuration(base, given)
    variables = environment({"SAGEMAKER_BASE_DIR": str(base), "TRAINING_JOB_NAME": "job"})
    found = []
    for command in ([str(PYTHON), str(HERE / "run_job.py")], ours(base)):
        done = subprocess.run(command, capture_output=True, text=True, env=variables, timeout=120, check=False)
        dump = base / "model" / "dump.json"
        assert dump.exists(), done.stdout + done.stderr
        failure = base / "output" / "failure"
        found.append((json.loads(dump.read_text()), failure.read_text() if failure.exists() else ""))
        assert done.returncode == (1 if found[-1][1] else 0)
        dump.unlink()
        failure.unlink(missing_ok=True)
        shutil.rmtree(base / "code")
    return found


def ours(base: Path) -> list[str]:
    return launch_command("script_mode", {"base": str(base)}, with_packages=True)


def test_a_script_gets_the_arguments_and_variables_that_the_toolkit_gives_it(tmp_path: Path) -> None:
    (theirs, _), (own, _) = run_both(tmp_path / "ml", DUMP, STRANGE)

    assert own["arguments"] == theirs["arguments"]
    assert (own["folder"], own["path"]) == (theirs["folder"], theirs["path"])
    for dumped in (own, theirs):
        dumped["variables"]["SM_TRAINING_ENV"] = json.loads(dumped["variables"]["SM_TRAINING_ENV"])
    assert own["variables"] == theirs["variables"]


@pytest.mark.parametrize("how", ["quietly", "loudly"])
def test_a_failure_is_told_as_the_toolkit_tells_it(tmp_path: Path, how: str) -> None:
    (_, theirs), (_, own) = run_both(tmp_path / "ml", DUMP, {"fail": json.dumps(how)})

    def without_python(text: str) -> str:
        return text.replace(str(PYTHON.resolve()), "python").replace(str(PYTHON), "python")

    lines = without_python(theirs).splitlines()
    mine = own.replace(ours(tmp_path)[0], "python").splitlines()
    assert (mine[0], mine[1], mine[-1]) == (lines[0], lines[1], lines[-1])
    assert mine[2].startswith('ErrorMessage "') and ("ValueError" in own) == ("ValueError" in theirs) == (
        how == "loudly"
    )


def test_our_entry_point_trains_by_localaws_program(dataset: Dataset, tmp_path: Path) -> None:
    base, code = tmp_path / "ml", tmp_path / "uploaded"
    write_job(base, dataset)
    shutil.copytree(ROOT / "training", code / "training", ignore=shutil.ignore_patterns("__pycache__"))
    config = base / "input" / "config" / "hyperparameters.json"
    own = {"sagemaker_program": "training/train.py", "sagemaker_submit_directory": str(code)}
    config.write_text(json.dumps({**json.loads(config.read_text()), **own, "_tuning_objective_metric": "loss"}))
    (base / "output").mkdir()

    done = subprocess.run(ours(base), capture_output=True, text=True, env=environment({}), timeout=250, check=False)

    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert (base / "output" / "success").exists()
    assert (base / "model" / "meta.json").exists()
