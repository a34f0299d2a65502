"""Keeps the evidence of a run: fetches the console's pages, has them drawn, and asks AWS about what the run made.

A page is fetched as one file without its live stream, from which the picture is made; so the secret address of the
console reaches no other program, and is in no picture, record or log. Without Chromium the files themselves are kept.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

from tasks.evidence.chromium import Browser, Picture, find_chromium, running_chromium
from tasks.evidence.described import described_resources
from tasks.evidence.record import FOLDER, Evidence, Screen, digest_of
from tasks.evidence.screens import Wanted, wanted_screens
from tasks.run.disk import disk_boundary
from tasks.run.errors import StageFailed, WaitTimedOut
from tasks.run.handle import Run
from tasks.run.machine import fetch_from_loopback
from tasks.run.progress import show_progress
from tasks.run.record_store import write_atomically
from tasks.run.settings import LOCAL_CONSOLE_PATH, Settings
from tasks.run.waiting import say

FETCH_SECONDS = 30.0
NO_CHROMIUM = "no Chromium was found, so the pages are kept as HTML; apt-get install chromium, then kennel evidence"
NO_CONSOLE = "the address of the embedded AWS's console is not known, so there are no screens; kennel up exports it"


@dataclass(frozen=True)
class _Page:
    """A page as it was fetched at a time (UTC, ISO 8601)."""

    wanted: Wanted
    html: bytes
    taken: str


@dataclass(frozen=True)
class _Kept:
    """What becomes of a page: the content of its file, and its picture unless it is kept as HTML."""

    page: _Page
    picture: Picture | None

    @property
    def content(self) -> bytes:
        return self.page.html if self.picture is None else self.picture.png

    @property
    def file(self) -> str:
        return (FOLDER / f"{self.page.wanted.name}.{'html' if self.picture is None else 'png'}").as_posix()


def take_evidence(
    run: Run, *, chromium: Callable[[], str | None] = find_chromium, fetch_seconds: float = FETCH_SECONDS
) -> Evidence:
    """Keep screens and answers in `runs/<id>/evidence/` and `evidence.json`, in place of those of before.

    `chromium` finds the program that draws the screens; `fetch_seconds` is how long a page of the console is waited
    for. All is gathered before the first file is replaced.

    Raises:
        LedgerRefused: the ledger or a record cannot be read.
        AwsFailed: AWS refused to say who calls.
        DiskFailed: a file cannot be read or written.
    """
    notes: list[str] = []
    pages = list(_fetched(run, notes, fetch_seconds))
    kept = list(_drawn(pages, chromium(), notes)) if pages else []
    described, screens = tuple(described_resources(run)), tuple(map(_screen, kept))
    evidence = Evidence(digest_of(run), _now(), screens, described, tuple(notes))
    before = set((run.folder / FOLDER).glob("*"))
    for each in kept:
        write_atomically(run.folder / each.file, each.content)
    run.keep(evidence)
    _remove(before - {run.folder / each.file for each in kept})
    for note in notes:
        say(f"WARNING: evidence: {note}")
    say(f"evidence: {len(screens)} screens in {run.folder / FOLDER}, {len(described)} resources described")
    return evidence


def keep_evidence(run: Run, *, chromium: Callable[[], str | None] = find_chromium) -> None:
    """Take the evidence of a run, unless it made and measured nothing since it was taken last.

    Raises:
        LedgerRefused, AwsFailed, DiskFailed: as `take_evidence`.
    """
    kept = run.find(Evidence)
    if kept is not None and kept.about == digest_of(run):
        say("evidence: adopted that of an earlier command; nothing was made or measured since")
    else:
        take_evidence(run, chromium=chromium)


def _fetched(run: Run, notes: list[str], seconds: float) -> Iterator[_Page]:
    """Yield the pages of the embedded AWS's console; why one is missing becomes a note, without its address.

    After the first that is not answered in time no other is asked for, so a console that hangs costs one timeout.
    """
    if run.settings.endpoint_url is None:
        return  # real AWS
    if run.settings.console_token is None:
        notes.append(NO_CONSOLE)
        return
    for wanted in wanted_screens(run):
        try:
            yield _Page(wanted, _fetch(run.settings, wanted.page, seconds), _now())
        except HTTPError as error:
            notes.append(f"{wanted.name}: the console answered with status {error.code}")
        except (OSError, HTTPException, ValueError) as error:  # their texts may have the address
            if _is_timeout(error):
                notes.append(f"{wanted.name}: the console did not answer in {seconds:g} s; no more were asked for")
                return
            notes.append(f"{wanted.name}: the console's page could not be fetched ({type(error).__name__})")


def _is_timeout(error: Exception) -> bool:
    """Tell whether there was no answer, or no connection, in time."""
    return isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError)


def _fetch(settings: Settings, page: str, seconds: float) -> bytes:
    assert settings.console_token is not None and settings.endpoint_url is not None
    token = settings.console_token.get_secret_value()
    address = f"{settings.endpoint_url.rstrip('/')}{LOCAL_CONSOLE_PATH}{token}/still/{page}"
    return fetch_from_loopback(address, seconds)


def _drawn(pages: Sequence[_Page], chromium: str | None, notes: list[str]) -> Iterator[_Kept]:
    """Yield each page with its picture. From the first on that cannot be drawn, the pages are kept as they are."""
    if chromium is None:
        notes.append(NO_CHROMIUM)
    with ExitStack() as stack, show_progress("screens", len(pages), "pages") as progress:
        browser = _started(stack, chromium, notes)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kennel-evidence-")))
        for page in pages:
            picture = None if browser is None else _picture(browser, page, folder, notes)
            browser = browser if picture is not None else None
            yield _Kept(page, picture)
            progress.advance(1)


def _started(stack: ExitStack, chromium: str | None, notes: list[str]) -> Browser | None:
    if chromium is None:
        return None
    try:
        return stack.enter_context(running_chromium(chromium))
    except (StageFailed, WaitTimedOut) as error:
        notes.append(f"Chromium: {error.what} ({error.why}), so the pages are kept as HTML")
        return None


def _picture(browser: Browser, page: _Page, folder: Path, notes: list[str]) -> Picture | None:
    file = folder / "page.html"
    with disk_boundary("evidence", file, len(page.html)):
        file.write_bytes(page.html)
    try:
        return browser.picture(file)
    except (StageFailed, WaitTimedOut) as error:
        notes.append(f"{page.wanted.name}: Chromium: {error.what} ({error.why}), so the rest is kept as HTML")
        return None


def _screen(kept: _Kept) -> Screen:
    wanted, picture = kept.page.wanted, kept.picture
    return Screen(
        name=wanted.name,
        caption=wanted.caption,
        page=wanted.page,
        file=kept.file,
        sha256=hashlib.sha256(kept.content).hexdigest(),
        size_bytes=len(kept.content),
        width_px=0 if picture is None else picture.width_px,
        height_px=0 if picture is None else picture.height_px,
        is_cut=picture is not None and picture.is_cut,
        taken=kept.page.taken,
    )


def _remove(files: set[Path]) -> None:
    """Remove the files of an earlier evidence that the record does not name any more."""
    for file in files:
        if file.suffix in (".png", ".html"):
            file.unlink(missing_ok=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
