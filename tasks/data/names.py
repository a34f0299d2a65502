"""Normalise the names in a source, and tell photos from other files by them, before the layout is judged.

These are pure functions. Messages keep the names as the source has them. What is not used is never silent: a file of
another kind is counted in one line of the report, and what looks like a photo is a warning (`tasks.data.layout`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from tasks.data.entries import MOST_FOLDERS, Listing
from tasks.run.escaping import valid_text

Path = tuple[str, ...]
"""The folders of a name and the file, from the outside in."""

IMAGE_SUFFIXES = frozenset(
    {
        *("jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "dib", "gif", "tif", "tiff", "heic", "heif", "avif"),
        *("jp2", "jxl", "ppm", "pgm", "pbm", "pnm", "dng", "cr2", "nef", "arw"),
    }
)
OTHER_SUFFIXES = frozenset(
    {
        *("txt", "xml", "json", "jsonl", "csv", "tsv", "md", "rst", "html", "htm", "yaml", "yml", "toml", "ini", "cfg"),
        *("pdf", "doc", "docx", "xls", "xlsx", "db", "dat", "mat", "npy", "npz", "pkl", "h5", "parquet", "arrow"),
        *("tfrecord", "pt", "pth", "names", "data", "sql", "log", "py", "ipynb", "m", "sh", "bat", "exe", "lnk", "url"),
        *("zip", "tar", "gz", "tgz", "bz2", "xz", "7z", "rar", "mp4", "mov", "avi", "mkv", "mpg", "mp3", "wav", "thm"),
        *("aae", "xmp", "lock", "part", "tmp", "bak", "svg", "eps", "psd", "ai"),
    }
)
"""Endings of files that lie beside photos and are none; a file with another ending, or none, may be a photo."""

TABLE_SUFFIXES = frozenset({"csv", "tsv", "jsonl", "txt"})
"""Endings of files that may say what photos show."""

_DOCUMENTS = frozenset({"readme", "license", "licence", "copying", "copyright", "notice", "authors", "changelog"})
"""Stems, in lower case, of files that are for people."""

_FOREIGN = {
    "__macosx": "it is a Mac's shadow of a file",
    "@eadir": "it is a preview that a Synology disk made",
    "$recycle.bin": "it is in a recycle bin",
    ".trash": "it is in a recycle bin",
    ".trashes": "it is in a recycle bin",
    "system volume information": "it is a file of Windows",
    "thumbs.db": "it is a file of Windows",
    "ehthumbs.db": "it is a file of Windows",
    "desktop.ini": "it is a file of Windows",
    ".ds_store": "it is a file of macOS",
    "icon\r": "it is a file of macOS",
    ".appledouble": "it is a file of macOS",
    ".spotlight-v100": "it is a file of macOS",
    ".fseventsd": "it is a file of macOS",
    ".ipynb_checkpoints": "it is a copy that Jupyter made",
    ".thumbnails": "it is a preview that a viewer made",
    ".git": "it is a file of git",
    ".svn": "it is a file of Subversion",
    ".cache": "it is in a cache",
    "lost+found": "it is a file of the disk",
}
"""Maps the names, in lower case, of files and folders that other programs leave beside photos to what they are."""


_USUAL_SPELLINGS = {
    name.casefold(): name for name in ("Thumbs.db", "ehthumbs.db", "desktop.ini", ".DS_Store", "@eaDir")
}


_OLD_NAMES = "cp437"
"""How names in a zip are read that are not marked as UTF-8."""

_OTHER_PAGES = ("cp866", "cp1251")
"""What Windows writes in Russian; names in Chinese or Japanese pages also make letters in others, so are not told."""

_SURE = 0.95


@dataclass(frozen=True)
class Names:
    """The normalised paths of a listing's entries, in their order, and of its folders; `notes` say what was changed."""

    files: tuple[Path, ...]
    folders: tuple[Path, ...]
    notes: tuple[str, ...]


def normalised(listing: Listing) -> Names:
    r"""Return the paths of a listing, without `./`, with `/` for `\` if no name has `/`, and with readable UTF-8.

    The Unicode form stays: it is a class's spelling (`tasks.data.spelling`).
    """
    every = [*(entry.name for entry in listing.entries), *listing.folders]
    repaired = [_as_utf_8(name) for name in every] if listing.kind == "zip" else every
    guessed = [new for new, old in zip(repaired, every, strict=True) if new == old and not new.isascii()]
    page = _code_page(guessed) if listing.has_old_names and guessed else _OLD_NAMES
    if page != _OLD_NAMES:
        repaired = [_read_again(new, page) if new == old else new for new, old in zip(repaired, every, strict=True)]
    if not any("/" in name for name in every) and any("\\" in name for name in every):
        repaired = [name.replace("\\", "/") for name in repaired]
    paths = [_parts(name) for name in repaired]
    count = len(listing.entries)
    own = [path[:-1] for path in paths[:count] if path[-1:] == ("",)]  # a folder of a zip with `\`
    notes = [_code_page_note(_read_again(guessed[-1], page), page)] if listing.has_old_names and guessed else []
    return Names(tuple(paths[:count]), (*(path for path in paths[count:] if path), *own), tuple(notes))


def _code_page(old: Sequence[str]) -> str:
    """Return the code page in which names that were read as code page 437 have letters where that has symbols."""
    together = "".join(old)
    if _letters(together) >= _SURE:
        return _OLD_NAMES
    return next((page for page in _OTHER_PAGES if _letters(_read_again(together, page)) >= _SURE), _OLD_NAMES)


def _read_again(name: str, page: str) -> str:
    try:
        return name.encode(_OLD_NAMES).decode(page)
    except UnicodeError:
        return name


def _letters(text: str) -> float:
    """Return the share of letters among the characters that are not ASCII."""
    odd = [unicodedata.category(each)[0] in "LM" for each in text if not each.isascii()]
    return sum(odd) / max(1, len(odd))


def _code_page_note(name: str, page: str) -> str:
    example = next(part for part in name.replace("\\", "/").split("/") if not part.isascii())
    shown = unicodedata.normalize("NFC", example)
    return f"names were read as {page}, such as {valid_text(shown)}: if they look wrong, give the unpacked folder"


def foreign_reason(path: Sequence[str]) -> str | None:
    """Return what a file of another program is, by its name or that of a folder that it is in; else None."""
    if not path:
        return None
    if path[-1].startswith("._"):
        return _FOREIGN["__macosx"]
    return _foreign_folder(tuple(path[:-1])) or _FOREIGN.get(path[-1].casefold())


@lru_cache(maxsize=4096)
def _foreign_folder(folder: Path) -> str | None:
    return next((reason for part in folder if (reason := _FOREIGN.get(part.casefold()))), None)


def foreign_mark(path: Sequence[str]) -> str:
    """Return by which part of its name a hidden file, or one of another program, is known: ._*, Thumbs.db, .cache/."""
    if is_shadow(path):
        return "._*"
    at = next((n for n, part in enumerate(path) if part.casefold() in _FOREIGN), len(path) - 1)
    part = _USUAL_SPELLINGS.get(path[at].casefold(), path[at])
    return part.strip() if at == len(path) - 1 else f"{part}/"


def is_shadow(path: Sequence[str]) -> bool:
    """Tell whether a file is a Mac's `._photo.jpg`, which has a photo's name and no picture in it."""
    return path[-1].startswith("._")


def is_image_name(path: Sequence[str]) -> bool:
    """Tell whether a file's name is that of a picture."""
    return suffix(path) in IMAGE_SUFFIXES


def is_other_name(path: Sequence[str]) -> bool:
    """Tell whether a file's name is that of another kind of file, such as a list of labels."""
    return path[-1] == "" or suffix(path) in OTHER_SUFFIXES


def is_text_of_labels(path: Sequence[str]) -> bool:
    """Tell whether a file may be a table or a list that says what photos show, by its ending and as no README."""
    return suffix(path) in TABLE_SUFFIXES and not is_document(path) and foreign_reason(path) is None


def may_name_classes(path: Sequence[str]) -> bool:
    """Tell whether a file may be a list of the names of classes, by its ending: as a table, or JSON."""
    return is_text_of_labels(path) or (suffix(path) == "json" and foreign_reason(path) is None)


def is_document(path: Sequence[str]) -> bool:
    """Tell whether a file is a README, a licence or the like, with or without an ending."""
    return path[-1].partition(".")[0].lower() in _DOCUMENTS


def suffix(path: Sequence[str]) -> str:
    """Return the ending of a file's name in lower case, without its dot; "" for none."""
    stem, dot, ending = path[-1].rpartition(".")
    return ending.lower() if dot and stem else ""


def visible(name: str) -> str:
    """Return a name without what a person does not see: invisible characters, and blanks at its ends."""
    return "".join(each for each in name if unicodedata.category(each) not in {"Cf", "Cc"}).strip()


def _parts(name: str) -> Path:
    """Return the folders of a name and the file; of a file below too many, which is refused, the last are one part."""
    return tuple(part for part in name.split("/", MOST_FOLDERS) if part != ".")


def _as_utf_8(name: str) -> str:
    """Return what a zip means that has UTF-8 without saying so (flag bit 11), and that was read as code page 437."""
    if name.isascii():
        return name
    try:
        return name.encode(_OLD_NAMES).decode("utf-8")
    except UnicodeError:
        return name
