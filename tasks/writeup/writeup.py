"""Builds `runs/<id>/writeup/`: writeup.pdf by typst, writeup.html, and citations.json, which names every source.

The same records give the same bytes: no date of today, no font of this machine, no order by chance.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.page.rendering import rendered_from, style
from tasks.run.disk import disk_boundary
from tasks.run.errors import SettingsRefused, StageFailed
from tasks.run.escaping import terminal_text
from tasks.run.handle import RunFolder
from tasks.run.record_store import write_atomically
from tasks.run.sealed import parse_json, read_regular
from tasks.writeup.appendix import Exhibit, appended, exhibits
from tasks.writeup.paragraphs import paragraphs
from tasks.writeup.prose import Paragraph
from tasks.writeup.served import ENDPOINT
from tasks.writeup.sources import Citation, Sources

if TYPE_CHECKING:
    from typst import PDFStandard

FOLDER, PDF, HTML, CITATIONS = "writeup", "writeup.pdf", "writeup.html", "citations.json"
TEMPLATES = Path(__file__).with_name("templates")
DOCUMENT = "writeup.typ"
STANDARDS: list[PDFStandard] = ["a-2b", "ua-1"]
"""PDF/A-2b, for archives: fonts are embedded, and nothing outside is needed. PDF/UA-1: it can be read aloud."""
PIECE = 1.35
"""The height of a piece of a picture, by its width: a taller picture is shown in pieces that fill a page each."""


@dataclass(frozen=True)
class Writeup:
    """The paragraphs and the appendix, and every citation in their order.

    `at`: when the deployment was made, a Unix time, or 0.
    """

    run_ids: tuple[str, ...]
    at: int
    paragraphs: tuple[Paragraph, ...]
    appended: tuple[Paragraph, ...]
    exhibits: tuple[Exhibit, ...]
    citations: tuple[Citation, ...]

    @property
    def files(self) -> list[tuple[str, str]]:
        """The cited files as `run/file` with their sha256, in the order in which they are cited first."""
        return list(dict.fromkeys((f"{each.run_id}/{each.file}", each.sha256) for each in self.citations))


def compose(folders: Sequence[RunFolder]) -> Writeup:
    """Return the writeup of the first run, compared with the others.

    Raises:
        StageFailed: a figure cannot be cited; the message names file and key.
        SettingsRefused: no run was named.
    """
    if not folders:
        raise SettingsRefused("writeup", "no run", "it is about one run, or several", "kennel writeup RUN")
    runs = [Sources(folder) for folder in folders]
    made, more, shown = tuple(paragraphs(runs)), tuple(appended(runs[0])), tuple(exhibits(runs[0]))
    cited = [part for each in (*made, *more) for part in each.parts if isinstance(part, Citation)]
    cited += [part for each in shown for part in each.citations]
    return Writeup(tuple(folder.id for folder in folders), _made_at(runs[0]), made, more, shown, tuple(cited))


def _made_at(run: Sources) -> int:
    created = run.value(ENDPOINT, "created") if run.has(ENDPOINT, "created") else ""
    return int(datetime.fromisoformat(created).timestamp()) if created else 0


def write_writeup(folders: Sequence[RunFolder]) -> list[Path]:
    """Build the writeup in the first run's folder and return the paths of its files.

    Raises:
        StageFailed, SettingsRefused: as `compose`; typst refused.
        DiskFailed: a file cannot be written.
    """
    made = compose(folders)
    folder = folders[0].folder / FOLDER
    content = {PDF: _pdf(made), HTML: _html(made), CITATIONS: _citations(made)}
    for name, data in content.items():
        write_atomically(folder / name, data)
    return [folder / name for name in content]


def check_writeup(folders: Sequence[RunFolder]) -> int:
    """Return how many citations a writeup has, after comparing each with its record.

    Raises:
        StageFailed: a record changed, lost a key, or gives another figure; or there is no writeup.
        SettingsRefused: no run was named.
    """
    present = [asdict(each) for each in compose(folders).citations]
    path = folders[0].folder / FOLDER / CITATIONS
    if not path.is_file():
        again = f"kennel writeup {' '.join(folder.id for folder in folders)}"
        raise StageFailed("writeup", f"there is no {path}", "it was not written yet", again)
    kept = parse_json(read_regular(path))["citations"]
    for before, now in zip(kept, present, strict=False):
        if before != now:
            raise _differs(before, now)
    if len(kept) != len(present):
        raise StageFailed(
            "writeup", "it is not that of these records", f"{len(kept)} citations, now {len(present)}", _AGAIN
        )
    return len(present)


_AGAIN = "kennel writeup with the same runs, which writes it anew"


def _differs(before: dict[str, str], now: dict[str, str]) -> StageFailed:
    where = f"runs/{before['run_id']}/{before['file']}, {before['key']}"
    if (before["file"], before["key"], before["run_id"]) != (now["file"], now["key"], now["run_id"]):
        return StageFailed("writeup", f"{where} is not cited any more", "the records changed since", _AGAIN)
    why = f"the writeup has {before['shown']}, the record {now['shown']}"
    if before["shown"] == now["shown"]:
        why = f"the file's sha256 is {now['sha256'][:12]}…, and was {before['sha256'][:12]}…"
    return StageFailed("writeup", f"{where} changed", why, _AGAIN)


def _citations(made: Writeup) -> bytes:
    content = {"runs": list(made.run_ids), "citations": [asdict(each) for each in made.citations]}
    return (json.dumps(content, indent=2) + "\n").encode()


def _data(made: Writeup) -> dict[str, Any]:
    """Return what both templates show; the number of a file stands behind the last of its figures in a row."""
    number = {name: position for position, (name, _) in enumerate(made.files, 1)}

    def shown(paragraph: Paragraph) -> dict[str, Any]:
        cited = [each for each in paragraph.parts if isinstance(each, Citation)]
        last = {id(each) for each, then in zip(cited, [*cited, None][1:], strict=True) if _name(each) != _name(then)}
        return {"title": paragraph.title, "parts": [part(each, is_marked=id(each) in last) for each in paragraph.parts]}

    def part(each: str | Citation, *, is_marked: bool) -> dict[str, Any]:
        if isinstance(each, str):
            return {"text": each}
        name = _name(each)
        mark = {"source": number[name]} if is_marked else {}
        return {"text": terminal_text(each.shown), "key": f"{name}: {each.key}", **mark}

    return {
        "title": f"From photos to an endpoint: run {made.run_ids[0]}",
        "paragraphs": [shown(each) for each in made.paragraphs],
        "appended": [shown(each) for each in made.appended],
        "exhibits": [_shown_exhibit(each, place) for place, each in enumerate(made.exhibits, 1)],
        "files": [
            {"number": number[name], "name": name, "sha256": sha} for name, sha in made.files if name.endswith(".json")
        ],
    }


def _name(cited: Citation | None) -> str:
    """Return a cited file with its run; "" for none."""
    return "" if cited is None else f"{cited.run_id}/{cited.file}"


def _shown_exhibit(each: Exhibit, place: int) -> dict[str, Any]:
    ratio = each.height_px / each.width_px if each.is_picture else 0.0
    return {
        "place": str(place),
        "caption": terminal_text(each.caption.shown),
        "taken": terminal_text(each.taken.shown),
        "file": terminal_text(each.file.shown),
        "sha256": each.file.sha256,
        "is_picture": each.is_picture,
        "is_cut": each.is_cut,
        "image": f"screen-{place}.png",
        "ratio": ratio,
        "pieces": max(1, -int(-ratio // PIECE)),
    }


def _pictures(made: Writeup) -> Iterator[tuple[str, bytes]]:
    """Yield the pictures by the names that `_data` gives them."""
    for place, each in enumerate(made.exhibits, 1):
        if each.is_picture:
            yield f"screen-{place}.png", read_regular(each.path)


def _pdf(made: Writeup) -> bytes:
    import typst

    files = {DOCUMENT: (TEMPLATES / DOCUMENT).read_bytes(), **dict(_pictures(made))}
    needed_bytes, prefix = sum(map(len, files.values())), "kennel-writeup-"
    place = Path(tempfile.gettempdir(), prefix)
    try:
        with disk_boundary("writeup", place, needed_bytes), tempfile.TemporaryDirectory(prefix=prefix) as root:
            for name, content in files.items():
                Path(root, name).write_bytes(content)
            built = typst.compile(
                str(Path(root, DOCUMENT)),
                format="pdf",
                root=root,
                ignore_system_fonts=True,
                sys_inputs={"data": json.dumps(_data(made))},
                pdf_standards=STANDARDS,
                timestamp=made.at,
            )
    except (RuntimeError, ValueError, typst.TypstError) as error:
        raise StageFailed(
            "writeup", "typst refused the document", str(error), "report this as a defect of kennel"
        ) from error
    assert isinstance(built, bytes)  # one document
    return built


def _html(made: Writeup) -> bytes:
    pictures = {name: f"data:image/png;base64,{base64.b64encode(png).decode()}" for name, png in _pictures(made)}
    return rendered_from(TEMPLATES, "writeup.html.j2", style=style(), pictures=pictures, **_data(made)).encode()
