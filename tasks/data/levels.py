"""Tell at which level of folders the classes are, where there are several: indexes by letter, years, parts, albums.

These are pure functions on the folders of a source, by which `tasks.data.sections` finds the sections.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Sequence

from tasks.data.entries import Listing
from tasks.data.names import Path
from tasks.data.texts import LAYOUTS, enumerated, shortened
from tasks.data.tree import Tree, inner_folder, is_split_word, is_wrapper
from tasks.run.errors import SourceRefused

_WORDS = "images?|imgs?|photos?|pictures?|part|batch|chunk|fold|volume|session|day|week|month|round|run|visit"
_PART = re.compile(rf"(?i).*({_WORDS})[ _-]*\d+")
_DATE = re.compile(r"(19|20)\d\d([-_. ]?\d\d){0,2}")
_YEARS = re.compile(r"(?i)(photos?|fotos?|foto's) (from|von|de|del|van|da|do) (19|20)\d\d")
_FEWEST = 2
_ALIKE = 0.8
"""The share of all folders that each of several has on average, from which on they have the same."""

_TABLE = "write a labels.csv with the columns file_name and label"

BY_YEAR = "Google Photos lists all photos by year, and albums have these too"
IN_NO_ALBUM = "Google Photos lists them by year, and they are in no album, so that their class is not known"


def is_list_by_year(name: str) -> bool:
    """Tell whether a folder is Google Photos' list of a year's photos, which are in its albums too."""
    return _YEARS.fullmatch(name) is not None


def is_part(name: str) -> bool:
    """Tell whether a folder is named as a numbered part of a set, such as images_001 or fold 2."""
    return _PART.fullmatch(name) is not None


def indexed_classes(tree: Tree, folder: Path) -> dict[Path, str]:
    """Return the classes below an index by first letter, by their folders; none where there is no such index.

    A class is named by its path below the letter: b/bazaar/indoor is bazaar/indoor, if bazaar has no photo of its own.
    """
    letters = tree.children(folder)
    if tree.direct(folder) or len(letters) < _FEWEST or not all(_is_letter(tree, folder, name) for name in letters):
        return {}
    classes = [found for name in letters for found in _classes_below(tree, (*folder, name))]
    return {path: "/".join(path[len(folder) + 1 :]) for path in classes}


def _is_letter(tree: Tree, folder: Path, name: str) -> bool:
    inner = tree.children((*folder, name))
    is_one = len(name) == 1 and name.isalpha() and not tree.direct((*folder, name))
    return is_one and all(each.casefold().startswith(name.casefold()) for each in inner)


def _classes_below(tree: Tree, folder: Path) -> list[Path]:
    """Return the outermost folders below one that have photos of their own."""
    found: list[Path] = []
    for name in tree.children(folder):
        inner = tree.children((*folder, name))
        is_class = tree.direct((*folder, name)) or any(is_wrapper(each) or is_split_word(each) for each in inner)
        found += [(*folder, name)] if is_class else _classes_below(tree, (*folder, name))
    return found


def joined_parts(tree: Tree, folder: Path) -> list[Path]:
    """Return the folders of years, dates or numbered parts that have the same classes in them, or none."""
    outer = tree.children(folder)
    if tree.direct(folder) or len(outer) < _FEWEST or not all(map(is_number, outer)):
        return []
    inner = [inner_folder(tree, (*folder, name)) for name in outer]
    shared = set.intersection(*(set(tree.children(each)) for each in inner))
    names = {name for each in inner for name in tree.children(each)}
    is_joined = (
        bool(shared)
        and len(names) >= _FEWEST
        and not any(map(tree.direct, inner))
        and not any(map(is_split_word, names))
    )
    return inner if is_joined else []


def is_number(name: str) -> bool:
    """Tell whether a folder is named as a year, a date or a numbered part."""
    return _DATE.fullmatch(name) is not None or is_part(name)


def refuse_unknown_level(tree: Tree, folder: Path, split: str | None, listing: Listing) -> None:
    """Return if the folders in a folder can be its classes.

    Raises:
        SourceRefused: none has photos of its own, and at least half of them have two folders or more, which may be the
            classes as well.
    """
    outer = [(*folder, name) for name in tree.children(folder)]
    inner = [inner_folder(tree, each) for each in outer]
    below = [possible_classes(tree, each) for each in inner]
    several = sum(len(each) >= _FEWEST for each in below)
    if len(outer) < _FEWEST or any(map(tree.direct, (*outer, *inner))) or several < len(outer) / 2:
        return
    shown = enumerated([each[-1] for each in outer])
    first = max(below, key=len)
    what = f"{shown} have no photos of their own, but folders in them ({outer[below.index(first)][-1]}: "
    what += f"{enumerated(first)})"
    more = ""
    if _are_alike(below):
        is_same = len({frozenset(map(folded, each)) for each in below}) == 1
        what = f"{shown} {'each have the' if is_same else 'have nearly the same'} folders {enumerated(first)}"
        one = give_folder(inner[0], listing, is_only=False)
        alone = f"keep {shortened(inner[0][-1])} alone in each split"
        more = f"; or {alone if split is not None else one}"
    why = "either level may be the classes, and kennel does not guess which"
    last = enumerated(_last_folders(tree, outer))
    cure = f"if the classes are {last}: {_command(listing, 'last')}; if they are {shown}: {_command(listing, 'first')}"
    cure += f" (the same flag for kennel run){more}"
    raise SourceRefused("data layout", what, why, f"{cure}; or {_TABLE}; {LAYOUTS}")


def possible_classes(tree: Tree, folder: Path) -> list[str]:
    """Return the folders in a folder that may be classes; none if they are years, parts, splits or only hold photos."""
    inner = tree.children(folder)
    are_none = all(is_number(each) or is_wrapper(each) for each in inner) or any(map(is_split_word, inner))
    return [] if are_none else inner


def _are_alike(below: Sequence[Sequence[str]]) -> bool:
    """Tell whether folders have the same names in them, nearly all on average, whatever their case and Unicode form."""
    found = [{folded(name) for name in each} for each in below]
    every = set.union(*found)
    return sum(len(each) / len(every) for each in found) >= _ALIKE * len(found)


def _last_folders(tree: Tree, folders: Sequence[Path]) -> list[str]:
    """Return the names of the folders that have photos of their own below some."""
    names: dict[str, str] = {}
    for folder in folders:
        for name in tree.children(folder):
            inner = (*folder, name)
            own = [name] if tree.direct(inner) and not (is_wrapper(name) or is_number(name)) else []
            for each in own or _last_folders(tree, [inner]) or [name]:
                names.setdefault(folded(each), each)
    return list(names.values())


def _command(listing: Listing, level: str) -> str:
    return f"kennel inspect {shlex.quote(str(listing.path))} --class-folder {level}"


def folded(name: str) -> str:
    """Return a name without case, in one Unicode form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def give_folder(folder: Path, listing: Listing, *, is_only: bool) -> str:
    """Return how to give a folder of a source, as a shell needs it; `is_only` says that no other one would do."""
    inner = "/".join(folder)
    if listing.kind == "folder" and (isinstance(listing.path, str) or listing.root == listing.path):
        path = shlex.quote(f"{str(listing.path).rstrip('/')}/{inner}")
        one = f"{inner}/" if is_only else "one of the folders"
        return f"give {one}: kennel inspect {path} (for kennel run: --data {path})"
    one = shlex.quote(inner) if is_only else f"one of its folders as the data, such as {shlex.quote(inner)}"
    return f"unpack {listing.path} and give {one}"


def own_photos_warning(tree: Tree, folder: Path) -> list[str]:
    """Return which classes have no photos of their own, but folders that have them and may be the classes."""
    below = {
        name: inner
        for name in tree.children(folder)
        if not tree.direct(start := inner_folder(tree, (*folder, name)))
        and len(inner := tree.children(start)) >= _FEWEST
        and possible_classes(tree, start)
    }
    if not below:
        return []
    name, inner = max(below.items(), key=lambda each: len(each[1]))
    subject = "the class" if len(below) == 1 else "the classes"
    has = "has no photos of its own" if len(below) == 1 else "have no photos of their own"
    told = f"{subject} {enumerated(list(below))} {has}: those of the folders below are taken together"
    cure = f"if these folders are the classes, give --class-folder last, or {_TABLE}"
    return [f"{told} ({shortened(name)}: {enumerated(inner)}); {cure}"]


def parts_warning(tree: Tree, folder: Path) -> list[str]:
    """Return that the classes are named as parts of one set, if all of them are."""
    outer = tree.children(folder)
    if len(outer) < _FEWEST or not all(map(is_part, outer)):
        return []
    told = f"the classes are {enumerated(outer)}, which are named as parts of one set"
    return [f"{told}: if they are no classes, write a labels.csv"]


def index_note(classes: Sequence[str]) -> str:
    """Return the note on an index by first letter."""
    examples = [name for name in classes if "/" in name][:1] + [name for name in classes if "/" not in name][:1]
    return f"folders of one letter are an index: the classes are the folders below, such as {enumerated(examples)}"


def parts_note(parts: Sequence[Path], classes: Sequence[str]) -> str:
    """Return the note on parts that were joined; `parts` are different folders."""
    depth = next(n for n, names in enumerate(zip(*parts, strict=False)) if len(set(names)) > 1)
    outer = enumerated([path[depth] for path in parts])
    return f"{outer} are parts of one set: the classes are the folders in them ({enumerated(classes)})"
