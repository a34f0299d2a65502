"""What a program in a container sees, as a plan of mounts that `programs/container.py` carries out.

Shown of the host, read-only: /usr and what belongs to it, /etc, /opt, the Python environment that localaws runs in, and
localaws's own code. Nothing else of it is visible: not localaws's home with its keys, objects and other programs' code,
not the user's home, /tmp, /run, /var, nor devices other than the harmless ones and accelerators. Making a plan mounts
nothing; it only looks at what there is.
"""

import functools
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from localaws.programs.disk import COVERED, DEVICES, SHOWN
from localaws.programs.namespaces import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, MS_REC

CODE = Path(__file__).parent
OWN = ("dev", "proc", "run", "home", "root", "mnt")
OPEN = ("tmp", "var/tmp")
TMP = "/tmp"  # noqa: S108 as programs see it; a folder of theirs on the disk, since memory is less than they get on AWS
COVER = "size=4k,nr_inodes=1k,mode=755"  # for places of mounts; 0 would mean no limit
PACKAGES = ("site-packages", "dist-packages")  # an environment may take those of another one, by a .pth file
SIZE = "size=256m,mode=755"  # of what is written outside the folders that are shown: it is memory

Operation = tuple[str | int | None, ...]


def as_in_container(text: str, folder: Path, place: str) -> str:
    """Return a text with `place`, where a program sees a folder, for each path of the folder on this machine."""
    return text.replace(str(folder.resolve()), place).replace(str(folder), place)


@dataclass(frozen=True)
class View:
    """Folders and files of this machine by the path at which a program sees them.

    `root`: an empty folder of the container's own, removed by whoever made it. `home`: localaws's, seen empty wherever
    it lies, as is the project around a home in `.kennel/`, except for localaws's code and Python.
    """

    root: Path
    writable: Mapping[str, Path] = field(default_factory=dict)
    readable: Mapping[str, Path] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    home: Path | None = None

    def place_of(self, folder: Path) -> str:
        """Return where the program sees a folder of the view."""
        places = {**self.readable, **self.writable}
        return next(place for place, each in places.items() if each == folder)

    def plan(self) -> list[Operation]:
        """Return the mounts that make it, in their order; `guard_proc` is to be done after them."""
        own = MS_NOSUID | MS_NODEV
        return [
            ("mount", "none", "/", None, MS_REC | MS_PRIVATE, None),
            ("mount", "none", str(self.root), "tmpfs", own, SIZE),
            ("enter", str(self.root)),
            *(("folder", name, 0o755) for name in OWN),
            *(("folder", name, 0o1777) for name in OPEN),
            *self._own(in_open=True),  # before what may lie in them: a checkout in /tmp
            *_host(),
            *self._hide(),
            *self._own(in_open=False),
            ("become root",),
        ]

    def _hide(self) -> Iterator[Operation]:
        if self.home:
            folder = hidden_with(self.home.resolve())
            yield ("cover", _relative(folder), MS_NOSUID | MS_NODEV, COVER)
            yield from _show_all(each for each in _needed() if each.is_relative_to(folder))

    def _own(self, *, in_open: bool) -> Iterator[Operation]:
        for folders, is_writable in ((self.writable, True), (self.readable, False)):
            for place, folder in folders.items():
                if (_relative(place) in OPEN) == in_open:
                    yield from _bind(folder, _relative(place), is_writable=is_writable)
        if not in_open:
            for place, file in self.files.items():
                yield ("mount", str(file), _relative(place), None, MS_BIND, None)


def hidden_with(home: Path) -> Path:
    """Return what is hidden with a home: the project around it too, where that would be seen, as in /opt."""
    kennel, project = home.parent, home.parent.parent
    if kennel.name != ".kennel" or not any(project.is_relative_to(each) for each in _shown()):
        return home
    whole = (Path("/", name) for name in (*SHOWN, "etc", "opt"))  # of which programs need more than Python
    return kennel if any(each.is_relative_to(project) for each in whole) else project


def guard_proc() -> Iterator[Operation]:
    """Keep the host's switches, which its root may use without any capability, and names of keys, from a container."""
    for name in ("sys", "irq", "bus"):
        if Path("/proc", name).is_dir():
            yield ("mount", f"/proc/{name}", f"/proc/{name}", None, MS_BIND | MS_REC, None)
            yield ("read-only", f"/proc/{name}")
    for place in COVERED:
        if Path(place).exists():
            yield ("mount", "/dev/null", place, None, MS_BIND, None)


def _needed() -> tuple[Path, ...]:
    """Python's folders, a link's target first, packages of other environments, and localaws's code."""
    prefixes = (Path(each) for each in (sys.base_prefix, sys.prefix))
    packages = (Path(each) for each in sys.path if Path(each).name in PACKAGES)
    return (*dict.fromkeys(folder for each in prefixes for folder in (each.resolve(), each)), *packages, CODE)


@functools.cache
def _shown() -> tuple[Path, ...]:
    shown = dict.fromkeys(Path("/", name) for name in (*SHOWN, "etc", "sys"))
    shown.update(dict.fromkeys(Path("/opt").iterdir() if Path("/opt").is_dir() else ()))
    shown.update(dict.fromkeys((*_needed(), Path("/etc/resolv.conf").resolve())))  # on many systems a link into /run
    return tuple(shown)


@functools.cache
def _host() -> tuple[Operation, ...]:
    return (*_show_all(_shown()), ("mount", "/proc", "proc", None, MS_BIND | MS_REC, None), *_devices())


def _show_all(paths: Iterable[Path]) -> Iterator[Operation]:
    seen: list[Path] = []
    for path in paths:
        if os.path.lexists(path) and not any(path.is_relative_to(each) for each in seen):
            yield from _show(path)
            seen.append(path)


def _show(path: Path) -> Iterator[Operation]:
    if path.is_symlink():
        if path.parent != Path("/"):
            yield ("folder", _relative(path.parent), 0o755)
        yield ("link", str(path.readlink()), _relative(path))
    else:
        yield from _bind(path, _relative(path), is_writable=False)


def _bind(source: Path, place: str, *, is_writable: bool) -> Iterator[Operation]:
    yield ("file", place) if source.is_file() else ("folder", place, 0o755)
    yield ("mount", str(source), place, None, MS_BIND | MS_REC, None)
    if not is_writable:
        yield ("read-only", place)


def _devices() -> Iterator[Operation]:
    yield ("mount", "none", "dev", "tmpfs", MS_NOSUID, "mode=755")
    for device in (each for pattern in DEVICES for each in sorted(Path("/dev").glob(pattern))):
        yield ("folder", _relative(device), 0o755) if device.is_dir() else ("file", _relative(device))
        yield ("mount", str(device), _relative(device), None, MS_BIND | MS_REC, None)
        yield ("read-only", _relative(device))  # its mode, owner and times, which are the host's; not the device itself
    yield ("folder", "dev/shm", 0o1777)
    yield ("mount", "none", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    yield ("folder", "dev/pts", 0o755)
    yield ("mount", "none", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620")
    for name, target in (("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0")):
        yield ("link", target, f"dev/{name}")
    for number, name in enumerate(("stdout", "stderr"), 1):
        yield ("link", f"/proc/self/fd/{number}", f"dev/{name}")


def _relative(path: str | Path) -> str:
    return str(path).lstrip("/")
