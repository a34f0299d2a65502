"""The libraries that the console's pages load are the published files, with their licences, and name no other host."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import localaws.console

STATIC = Path(localaws.console.__file__).parent / "static"
VENDORED: dict[str, dict[str, Any]] = json.loads((STATIC / "VENDORED.json").read_text())
OWN = {"VENDORED.json", "console.css", "console.js", "icon.svg"}


def test_every_file_is_ours_or_the_published_one() -> None:
    assert {each.name for each in STATIC.iterdir()} == OWN | set(VENDORED)
    found = {name: hashlib.sha256((STATIC / name).read_bytes()).hexdigest() for name in VENDORED}
    assert found == {name: about["sha256"] for name, about in VENDORED.items()}


def test_each_package_has_its_licence_and_one_version() -> None:
    packages = {about["package"]: about["version"] for about in VENDORED.values()}
    assert packages == {"htmx.org": "4.0.1", "uplot": "1.6.32"}
    licensed = {about["package"] for about in VENDORED.values() if about["path"] == "LICENSE"}
    assert licensed == set(packages)


def test_pages_and_own_files_load_nothing_from_elsewhere() -> None:
    templates = STATIC.parent / "templates"
    own = [STATIC / "console.css", STATIC / "console.js", *templates.iterdir()]
    loads = re.compile(r"(?:src|href|action|url|import|connect)\W{1,3}(?:https?:)?//|<style|\son\w+=|style=", re.I)
    assert [each.name for each in own if loads.search(each.read_text())] == []
