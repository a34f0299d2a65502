"""Code that runs in AWS's images and in Lambda, against their Python: its syntax, and the library's modules it imports.

With that Python at hand, the code is compiled by it. Without, only its syntax is looked at, by this Python's parser as
of that version (`ast.parse(feature_version=...)`): it refuses what is newer and does not know what was removed.
"""

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.processing.code_package import PARTS
from tasks.serving.function import RUNTIME

pytestmark = pytest.mark.strict

ROOT = Path(__file__).resolve().parents[1]
OF_IMAGE = (3, 12)  # of both images that tasks/account/container_images.py names
OF_FUNCTION = (3, int(RUNTIME.removeprefix("python3.")))
SHIPPED = [
    *((path, OF_IMAGE) for path in sorted((ROOT / "training").rglob("*.py"))),
    *((path, OF_IMAGE) for part in PARTS for path in sorted((ROOT / part).rglob("*.py")) if part.startswith("tasks")),
    *((path, OF_FUNCTION) for path in sorted((ROOT / "lambda").rglob("*.py"))),
]
INSTALLED = (".pyenv/versions/{0}.{1}.*/bin/python", ".local/share/uv/python/cpython-{0}.{1}.*/bin/python")
LOOK = """
import importlib.util, json, sys, warnings
warnings.simplefilter("error")
asked = json.load(sys.stdin)
compile(asked["text"], asked["path"], "exec")
print([name for name in asked["modules"] if importlib.util.find_spec(name) is None])
"""


def library_modules(tree: ast.Module) -> Iterator[str]:
    """Return the modules of Python's own library that a module imports, by their first names."""
    for node in ast.walk(tree):
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        yield from (name.partition(".")[0] for name in names)


def interpreter(version: tuple[int, int]) -> str | None:
    """Return a Python of this version that runs, if there is one."""
    if version == sys.version_info[:2]:
        return sys.executable
    on_path = shutil.which(f"python{version[0]}.{version[1]}")
    beside = [str(path) for each in INSTALLED for path in Path.home().glob(each.format(*version))]
    return next((each for each in (on_path, *beside) if each and _runs(each)), None)


def _runs(python: str) -> bool:
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(("path", "version"), SHIPPED, ids=lambda value: getattr(value, "stem", ""))
def test_shipped_code_compiles_for_the_python_that_it_runs_in(path: Path, version: tuple[int, int]) -> None:
    text = path.read_text()
    modules = sorted({*library_modules(ast.parse(text, feature_version=version))} & sys.stdlib_module_names)

    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version[0]}.{version[1]} here; only the syntax was looked at")
    asked = json.dumps({"text": text, "path": str(path), "modules": modules})
    done = subprocess.run([python, "-I", "-c", LOOK], input=asked, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
