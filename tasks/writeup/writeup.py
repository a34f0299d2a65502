"""Builds `runs/<id>/writeup/`: writeup.pdf by typst, writeup.html, and citations.json, which names every source.

The same records give the same bytes: no date of today, no font of this machine, no order by chance.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from tasks.page.rendering import rendered_from, style
from tasks.run.disk import disk_boundary
from tasks.run.errors import SettingsRefused, StageFailed
from tasks.run.escaping import terminal_text
from tasks.run.handle import RunFolder
from tasks.run.record_store import write_atomically
from tasks.run.sealed import parse_json, read_regular
from tasks.writeup.paragraphs import ENDPOINT, paragraphs
from tasks.writeup.prose import Paragraph
from tasks.writeup.sources import Citation, Sources

FOLDER, PDF, HTML, CITATIONS = "writeup", "writeup.pdf", "writeup.html", "citations.json"
TEMPLATES = Path(__file__).with_name("templates")
STANDARD: Literal["a-2b"] = "a-2b"
"""PDF/A-2b, for archives: fonts are embedded, and nothing outside is needed."""


@dataclass(frozen=True)
class Writeup:
    """The paragraphs, and every citation in their order; `at`: when the deployment was made, a Unix time, or 0."""

    run_ids: tuple[str, ...]
    at: int
    paragraphs: tuple[Paragraph, ...]
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
    made = tuple(paragraphs(runs))
    cited = tuple(part for each in made for part in each.parts if isinstance(part, Citation))
    return Writeup(tuple(folder.id for folder in folders), _made_at(runs[0]), made, cited)


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
    """Return what both templates show; the number of a file stands behind each of its figures."""
    number = {name: position for position, (name, _) in enumerate(made.files, 1)}

    def part(each: str | Citation) -> dict[str, Any]:
        if isinstance(each, str):
            return {"text": each}
        name = f"{each.run_id}/{each.file}"
        return {"text": terminal_text(each.shown), "source": number[name], "key": f"{name}: {each.key}"}

    return {
        "title": f"Run {made.run_ids[0]}",
        "paragraphs": [{"title": each.title, "parts": [part(one) for one in each.parts]} for each in made.paragraphs],
        "files": [
            {"number": position, "name": name, "sha256": sha} for position, (name, sha) in enumerate(made.files, 1)
        ],
    }


def _pdf(made: Writeup) -> bytes:
    import typst

    try:
        with disk_boundary("writeup", TEMPLATES):
            built = typst.compile(
                str(TEMPLATES / "writeup.typ"),
                format="pdf",
                root=str(TEMPLATES),
                ignore_system_fonts=True,
                sys_inputs={"data": json.dumps(_data(made))},
                pdf_standards=STANDARD,
                timestamp=made.at,
            )
    except (RuntimeError, ValueError, typst.TypstError) as error:
        raise StageFailed(
            "writeup", "typst refused the document", str(error), "report this as a defect of kennel"
        ) from error
    assert isinstance(built, bytes)  # one document
    return built


def _html(made: Writeup) -> bytes:
    return rendered_from(TEMPLATES, "writeup.html.j2", style=style(), **_data(made)).encode()
