"""The appendix of the writeup: the screens that the run took of itself, all scores, and what AWS answered.

A picture is cited like a figure: its digest has to be the one that the run's record has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.page.rendering import moment
from tasks.writeup.prose import Paragraph, paragraph, sentence
from tasks.writeup.served import MOST_SCORES, cited_scores, scores_of
from tasks.writeup.sources import Citation, Sources

EVIDENCE = "evidence.json"


@dataclass(frozen=True)
class Exhibit:
    """A screen: what it shows, when it was taken, its file, and the size of the picture; a page of HTML has none."""

    caption: Citation
    taken: Citation
    file: Citation
    path: Path
    width_px: int
    height_px: int
    is_cut: bool

    @property
    def citations(self) -> tuple[Citation, ...]:
        """What of it is cited."""
        return self.caption, self.taken, self.file

    @property
    def is_picture(self) -> bool:
        """Whether it can be shown; else it is a page that a browser shows."""
        return self.width_px > 0


def exhibits(run: Sources) -> list[Exhibit]:
    """Return the screens of a run in their order, none without evidence.

    Raises:
        StageFailed: a file is missing, or is not the one that the record names.
    """
    if not run.has(EVIDENCE):
        return []
    return [_exhibit(run, each) for each in run.value(EVIDENCE, "screens")]


def _exhibit(run: Sources, screen: dict[str, object]) -> Exhibit:
    key = f"screens[name={screen['name']}]"
    width, height = (run.value(EVIDENCE, f"{key}.{name}") for name in ("width_px", "height_px"))
    return Exhibit(
        caption=run.text(EVIDENCE, f"{key}.caption"),
        taken=run.computed(moment(run.value(EVIDENCE, f"{key}.taken")), "time", (EVIDENCE, f"{key}.taken")),
        file=run.file(EVIDENCE, key),
        path=run.run.folder / str(screen["file"]),
        width_px=width,
        height_px=height,
        is_cut=bool(screen["is_cut"]),
    )


def appended(run: Sources) -> Iterator[Paragraph]:
    """Yield the paragraphs of the appendix: why a screen is missing, all scores of many, and what AWS answered.

    Raises:
        StageFailed: a figure cannot be cited.
    """
    if run.has(EVIDENCE):
        notes = run.value(EVIDENCE, "notes")
        if notes:
            cited = run.computed("; ".join(notes), "all", (EVIDENCE, "notes"))
            yield paragraph("What there is no screen of", sentence("{notes}.", notes=cited))
    if len(scores_of(run)) > MOST_SCORES:
        yield paragraph("All scores of the answer to the test event", sentence("{scores}.", scores=cited_scores(run)))
    if run.has(EVIDENCE) and not run.value(EVIDENCE, "screens"):
        yield from _answers(run)


def _answers(run: Sources) -> Iterator[Paragraph]:
    for each in run.value(EVIDENCE, "described"):
        facts = "; ".join(f"{name}: {value}" for name, value in each["facts"].items())
        shown = f"{each['name']}: {facts}"
        answer = run.computed(shown, f"facts of {each['kind']} {each['name']}", (EVIDENCE, "described"))
        call = run.computed(each["call"], f"call of {each['kind']} {each['name']}", (EVIDENCE, "described"))
        yield paragraph(
            f"What AWS answered about the {each['kind']}", sentence("{answer} ({call}).", answer=answer, call=call)
        )
