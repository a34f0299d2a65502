"""The rooms and the arrows between them, as docs/architecture.md draws them, held against the code's own imports.

Covered: every import statement, at any depth, of every Python file in a room. Not covered: imports by computed name.
"""

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest

from training.serve import CODE

ROOT = Path(__file__).parent.parent
ROOMS = ("flows", "tasks", "training", "lambda", "loadtest", "localaws", "kennel")

ALLOWED_ROOMS = {
    "flows": {"flows", "tasks"},
    "tasks": {"tasks"},
    "training": {"training"},
    "lambda": set(),
    "loadtest": {"loadtest", "tasks"},
    "localaws": {"localaws"},
    "kennel": {"kennel", "flows", "tasks", "training"},
}
SHARED_DECODER = ("tasks", "training.pictures")
"""Staging reads pictures by the code that a model carries, so that serving reads them in the same way."""

# sagemaker_inference is AWS's serving toolkit: in its image it is there, elsewhere serve.py does without.
TRAINING_PACKAGES = {
    "sagemaker_inference",
    "torch",
    "torchvision",
    "numpy",
    "openvino",
    "safetensors",
    "simplejpeg",
    "PIL",
    "pi_heif",
    "optuna",
}
TASKS_ROOMS: dict[str, set[str]] = {
    "run": set(),
    "account": {"run"},
    "ssh": {"run"},
    "data": {"run", "account"},
    "model": {"run", "account", "data"},
    "processing": {"run", "account", "data", "model"},
    "notebook": {"run", "account"},
    "scaling": {"run", "account"},
    "sagemaker": {"run", "account", "model"},
    "ec2": {"run", "account", "model", "ssh"},
    "serving": {"run", "account", "scaling"},
    "load": {"run", "account", "ssh", "ec2", "scaling", "serving"},
    "verdicts": {"run", "scaling", "serving", "load"},
    "promotion": {"run", "account", "drift", "gate", "registry", "serving"},
    "retraining": {"run", "account", "data", "model", "gate", "registry", "promotion"},
    "teardown": {"run", "account", "ec2", "notebook", "promotion", "registry", "sagemaker", "serving"},
    "plan": {
        *("run", "account", "model", "ec2", "registry", "sagemaker", "serving", "scaling"),
        *("load", "verdicts", "teardown"),
    },
    "inspection": {"run", "account", "data", "model", "page", "plan"},
    "audit": {"run", "account"},
    "doctor": {"run", "account", "ec2"},
    "evaluation": {"run", "account", "model"},
    "gate": {"run", "account", "model", "evaluation"},
    "registry": {"run", "account", "evaluation", "model", "serving"},
    "drift": {"run", "account", "model", "evaluation"},
    "report": {
        "run",
        "account",
        "audit",
        "data",
        "drift",
        "evaluation",
        "gate",
        "load",
        "notebook",
        "processing",
        "promotion",
        "retraining",
        "sagemaker",
        "scaling",
        "serving",
        "verdicts",
    },
    "evidence": {"run", "account", "serving"},
    "writeup": {
        "run",
        "account",
        "audit",
        "evidence",
        "notebook",
        "page",
        "report",
        "scaling",
        "serving",
        "verdicts",
    },
    "page": {"run", "evaluation", "evidence", "report", "scaling", "verdicts"},
}
"""What each folder of tasks/ may import of the others; docs/architecture.md shows the same table."""

HEAVY_OR_REMOTE = {"boto3", "botocore", "paramiko", "torch", "torchvision", "sagemaker"}


def python_files(room: str) -> list[Path]:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files, f"{room}/ holds no Python file: has it moved?"
    return files


@cache
def imported_modules(file: Path) -> tuple[str, ...]:
    found = []
    for node in ast.walk(ast.parse(file.read_text(), filename=str(file))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module is not None
            found.append(node.module)
    return tuple(found)


def imports_of(room: str) -> list[tuple[Path, str]]:
    return [(file.relative_to(ROOT), name) for file in python_files(room) for name in imported_modules(file)]


def top(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_it_may(room: str) -> None:
    strangers = [
        (file, name)
        for file, name in imports_of(room)
        if top(name) in set(ROOMS) - ALLOWED_ROOMS[room] and (room, name) != SHARED_DECODER
    ]
    assert strangers == []


def test_every_folder_of_tasks_imports_only_the_folders_it_may() -> None:
    strangers = []
    for file, name in imports_of("tasks"):
        folder, imported = file.parts[1], name.split(".")[1:2]
        if top(name) == "tasks" and imported and not {*imported} <= TASKS_ROOMS[folder] | {folder}:
            strangers.append((str(file), name))
    assert strangers == []


def test_tasks_has_folders_and_no_file_beside_them() -> None:
    folders = {folder.name for folder in (ROOT / "tasks").iterdir() if folder.is_dir() and folder.name != "__pycache__"}
    assert folders == set(TASKS_ROOMS)
    assert [file.name for file in (ROOT / "tasks").glob("*.py")] == ["__init__.py"]


def test_the_load_test_takes_nothing_from_tasks_but_a_few_files_of_run() -> None:
    allowed = {
        f"tasks.run.{name}"
        for name in (
            "settings",
            "records",
            "errors",
            "escaping",
            "machine",
            "web_pages",
            "partitions",
            "assumed_credentials",
        )
    }
    assert [(f, n) for f, n in imports_of("loadtest") if top(n) == "tasks" and n not in allowed] == []


def test_flows_hold_order_and_decisions_and_call_no_aws_or_model_library() -> None:
    assert [(file, name) for file, name in imports_of("flows") if top(name) in HEAVY_OR_REMOTE] == []


def test_no_flow_and_no_task_asks_which_aws_it_works_on_by_name() -> None:
    asks = re.compile(r"(aws|settings)\.target(\(\))?(\.name|\s*[!=]=)")
    lines = [
        line for room in ("flows", "tasks") for file in python_files(room) for line in file.read_text().splitlines()
    ]
    assert [line for line in lines if asks.search(line)] == [], "what differs is a field of tasks.run.settings.Target"


def test_only_one_module_of_tasks_builds_boto3_clients() -> None:
    runs_on_the_notebook_instance = "tasks/notebook/idle.py"
    builders = {str(file) for file, name in imports_of("tasks") if top(name) == "boto3"}
    assert builders - {runs_on_the_notebook_instance} == {"tasks/run/aws.py"}


def test_what_is_sent_to_the_notebook_instance_needs_nothing_of_ours() -> None:
    known = {"boto3"} | sys.stdlib_module_names
    names = imported_modules(ROOT / "tasks" / "notebook" / "idle.py")
    assert [name for name in names if top(name) not in known] == []


def test_training_needs_nothing_that_its_requirements_do_not_name() -> None:
    known = TRAINING_PACKAGES | {"training", "preprocess", "graphs", "pictures"} | sys.stdlib_module_names
    strangers = {(str(file), top(name)) for file, name in imports_of("training") if top(name) not in known}
    # On an instance nobody fetches for the script, as SageMaker does for its containers.
    assert strangers == {("training/instance_storage.py", "boto3"), ("training/instance_storage.py", "botocore")}


def test_the_lambda_function_needs_nothing_but_the_runtime_of_lambda() -> None:
    known = {"boto3", "botocore"} | sys.stdlib_module_names
    for function in (folder for folder in (ROOT / "lambda").iterdir() if folder.is_dir()):
        own = {file.stem for file in function.glob("*.py")}
        strangers = [
            (f.name, n) for f in function.glob("*.py") for n in imported_modules(f) if top(n) not in known | own
        ]
        assert strangers == []


def test_the_serving_side_of_training_never_imports_torch() -> None:
    for name in ("serve.py", *CODE[1:]):
        assert [n for n in imported_modules(ROOT / "training" / name) if top(n) in {"torch", "torchvision"}] == []


def test_no_python_that_we_start_imports_from_the_users_current_folder() -> None:
    """`python -m` looks there first: a `tasks.py` or `yaml.py` of the user's would be run in place of ours."""
    safe_otherwise = {  # it begins in a folder of ours, is given -I by a variable, or runs the user's own script
        "tasks/data/worker_pool.py",
        "tasks/load/locust_process.py",
        "tasks/load/web_interface.py",
        "localaws/functions/launch.py",
        "localaws/sagemaker/endpoints/instances.py",
        "localaws/programs/__init__.py",
        "localaws/programs/script_mode.py",
    }
    starts = re.compile(r'sys\.executable, (?!"-[PI]")["*]')
    rooms = ("flows", "tasks", "loadtest", "localaws", "kennel")
    found = {
        str(file.relative_to(ROOT)) for room in rooms for file in python_files(room) if starts.search(file.read_text())
    }
    assert found == safe_otherwise, "with python -P it does not"


def test_json_from_outside_is_read_by_one_function() -> None:
    """`json.loads` raises RecursionError for what is nested deeply, which no caller expects."""
    own = {"tasks/run/sealed.py", "tasks/load/pace.py", "tasks/data/worker.py", "loadtest/plan.py"}
    known = own | {"loadtest/outcomes.py"}  # it expects it; the others read what kennel itself wrote a moment before
    readers = re.compile(r"json\.loads?\(|import loads?\b")
    found = {
        str(file.relative_to(ROOT))
        for room in ("flows", "tasks", "loadtest", "kennel")
        for file in python_files(room)
        if readers.search(file.read_text()) and file.name != "idle.py"  # of the notebook instance
    }
    assert found == known, "call tasks.run.sealed.parse_json"
