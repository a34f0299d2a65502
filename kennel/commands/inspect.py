"""`kennel inspect`: what is in a source of photos, and what is wrong with it, before any server or money is needed."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from kennel import flags
from kennel.commands.pipeline_options import Staged
from kennel.servers import environment
from kennel.terminal.console import begin, print_json, print_plain
from tasks.run.options import DataOptions

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.inspection.record import FoundPhoto, Inspection

REFUSED = 3
STAGES = ("decode and check", "measure sharpness", "embed")
SHOWN, SHOWN_CLASSES = 3, 8
MOST_CHARACTERS = 40
"""Of the name of an inspection's folder, without the digest."""

Source = Annotated[
    str,
    Parameter(help="As `--data` of `kennel run`: an archive, a folder, a URL, s3://BUCKET/PREFIX/, `sample`, or `-`."),
]
Sample = Annotated[
    int,
    Parameter(
        validator=Number(gte=0, lte=100_000),
        help="Judge labels, and estimate the accuracy, by so many photos at most; 0 leaves it out.",
    ),
]


def inspect(
    data: Source,
    /,
    *,
    data_options: Staged = DataOptions(),
    sample: Sample = 2000,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
) -> int:
    """Inspect photos before they are used, and write a page about them; return 3 if they would be refused.

    Raises:
        SourceRefused: there is no such source, it cannot be read, or it has no layout that is known.
        KennelError: the kind that tasks/inspection/inspect.py names.
    """
    begin("kennel inspect", STAGES, quiet=quiet, verbose=verbose)
    from kennel.commands.data_argument import check_data_argument, read_data_argument
    from kennel.commands.interrupted import handle_interrupts
    from tasks.data.staging import locate
    from tasks.inspection.inspect import inspect_source
    from tasks.run.naming import run_id_for
    from tasks.run.progress import show_progress
    from tasks.run.settings import Settings
    from tasks.run.source_name import keep_in_memory

    handle_interrupts()
    settings = Settings(home=environment.home_and_runs()[0])
    given = read_data_argument(data) or data
    check_data_argument(given, settings, data_options.class_folder)
    source = keep_in_memory(given)
    located = locate(source, settings, show_progress, data_options)
    folder = settings.home / "inspections" / _folder_name(located.name, run_id_for(source))
    found = inspect_source(located, settings, show_progress, folder, sample=sample)
    _show(found, folder, as_json=json)
    return 0 if found.is_accepted else REFUSED


def _folder_name(name: str, run_id: str) -> str:
    """Return the whole words of the data's name that fit, and the digest of its source, by which a run id ends."""
    words = re.sub(r"[^a-z0-9]+", " ", name.lower())
    return "-".join([*textwrap.shorten(words, MOST_CHARACTERS, placeholder="").split(), run_id.rpartition("-")[2]])


def _show(found: Inspection, folder: Path, *, as_json: bool) -> None:
    from tasks.inspection.inspect import PAGE, RECORD

    if as_json:
        from dataclasses import asdict

        print_json({**asdict(found), "is_accepted": found.is_accepted, "page": str(folder / PAGE)})
        return
    for line in _lines(found):
        print_plain(line)
    print_plain(f"the page with photos: {folder / PAGE} (all that was found is in {RECORD} beside it)")


def _lines(found: Inspection) -> list[str]:
    """Return what a person reads in the terminal."""
    from tasks.data.judgement import WHAT_TO_DO
    from tasks.data.texts import counted
    from tasks.inspection.page import training_text

    splits = ", ".join(f"{sum(by_class.values()):,} {split}" for split, by_class in found.counts.items())
    shown = ", ".join(found.classes[:SHOWN_CLASSES]) + (", ..." if len(found.classes) > SHOWN_CLASSES else "")
    lines = [f"REFUSED: {text}" for text in found.problems]
    lines += [f"what to do: {WHAT_TO_DO}"] if found.problems else []
    lines += [
        f"{counted(found.images, 'photo')}: {splits}",
        f"{counted(len(found.classes), 'class', 'classes')}: {shown}",
    ]
    lines += [f"WARNING: {text}" for text in found.warnings]
    lines += list(found.notes)
    lines += _of_photos("perhaps labelled wrongly", found.suspects)
    for what, photos in (("darker", found.dark), ("brighter", found.bright), ("less sharp", found.blurred)):
        lines += _of_photos(f"much {what} than the others", photos)
    if found.accuracy is not None:
        low, high = 100 * found.accuracy.low, 100 * found.accuracy.high
        lines.append(f"expected accuracy: {low:.0f} to {high:.0f} %, from {found.embedded:,} photos left out in turn")
    if found.training is not None:
        lines.append(training_text(found.training))
    return lines


def _of_photos(what: str, photos: tuple[FoundPhoto, ...]) -> list[str]:
    from tasks.data.texts import counted

    if not photos:
        return []
    shown = ", ".join(f"{photo.name}{'' if photo.text == what else f' ({photo.text})'}" for photo in photos[:SHOWN])
    more = f" and {len(photos) - SHOWN:,} more" if len(photos) > SHOWN else ""
    return [f"{counted(len(photos), 'photo')} {what}: {shown}{more}"]
