"""Say which files of a source are not used, and why, in sentences for a person; the functions are pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from tasks.data.contents import Contents, Others
from tasks.data.label_rows import Labels
from tasks.data.names import Names, Path
from tasks.data.refusals import views_text
from tasks.data.texts import counted, listed_files, shortened


def views_warnings(found: Names, files: Contents, labels: Labels) -> list[str]:
    """Return the warning of folders that may be masks or views of one thing; none where tables give the classes."""
    text = None if labels.rows else views_text(found, files)
    return [f"{text}: if they are masks or views of one thing, they are no classes"] if text else []


def unused_warnings(unused: Sequence[tuple[str, str]], told: Collection[str]) -> list[str]:
    """Return a warning for each reason why files that look like photos are not used; not for those told elsewhere."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for name, reason in unused:
        if reason not in told:
            by_reason[reason].append(name)
    return [
        f"{counted(len(files), 'file looks like a photo and is', 'files look like photos and are')} not used: "
        f"{reason} ({listed_files(files)})"
        for reason, files in by_reason.items()
    ]


def unnamed_text(folder: Path, files: Sequence[str], named: int) -> str:
    """Return how many photos of a folder a table does not name, of `named` and them, as the end of a sentence."""
    where = f"{shortened('/'.join(folder))}/" if folder else "the source"
    verb = "is" if len(files) == 1 else "are"
    if not named:
        return f"the {counted(len(files), 'photo')} of {where}, which {verb}"
    return (
        f"{len(files):,} of the {counted(named + len(files), 'photo')} of {where} ({listed_files(files)}), which {verb}"
    )


def others_note(others: Others) -> list[str]:
    """Return the note on files that are not photos."""
    if not others.total():
        return []
    are_not = "is not a photo and is" if others.total() == 1 else "are not photos and are"
    return [f"{others.text()} {are_not} not used{others.example()}"]
