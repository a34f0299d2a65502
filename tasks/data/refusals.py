"""Say why a source has no layout that kennel reads: what was seen, why it does not fit, and what to do about it.

Data for object detection and segmentation is named: its photos have several labels, boxes or masks, and no class.
These are pure functions on names.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from tasks.data import names
from tasks.data.contents import MASK, Contents
from tasks.data.entries import Listing
from tasks.data.label_table import Table
from tasks.data.masks import shared_names
from tasks.data.names import Names, Path
from tasks.data.texts import LAYOUTS, counted, enumerated, listed, shortened
from tasks.data.tree import is_annotation, is_wrapper, split_of
from tasks.run.errors import SourceRefused

_WHERE = "data layout"
_WRITE_TABLE = "write a labels.csv with the columns file_name and label"
_CUT = f"each whole photo needs one class: {_WRITE_TABLE}, or cut the boxes out, one folder a class; {LAYOUTS}"
_FOLDERS = f"put each photo into a folder of its class, or {_WRITE_TABLE}; {LAYOUTS}"
_COCO = re.compile(
    r"(instances|captions|person_keypoints|panoptic|stuff|image_info)_.*\.json|.*annotations\.coco\.json|coco.*\.json"
)
_ARCHIVES = frozenset({"zip", "tar", "gz", "tgz", "bz2", "xz", "zst", "7z", "rar"})
_LEAST_SIDECARS = 0.5
_WORD = re.compile(r"([^\W\d_]+(?:[ _-][^\W\d_]+)*)[ _.-]*\(?\d+\)?")
_SHOWN_WORDS = 4
_MOST_VIEWS = 3


def detection_refusal(listing: Listing, found: Names, files: Contents) -> SourceRefused | None:
    """Return the refusal of data whose photos have boxes or masks and lie in no folders of classes, or None."""
    if len({_class_folder(folder) for folder in files.tree.folders()}) > 1:
        return None
    seen = _coco(found) or _sidecars(found, files, "xml", "Pascal VOC") or _sidecars(found, files, "txt", "YOLO")
    masks = sum(reason == MASK for _, reason in files.unused)
    kinds = [f"object detection ({seen[0]})"] if seen else []
    kinds += ["segmentation"] if masks else []
    if not kinds:
        return None
    why = [seen[1]] if seen else []
    why += [counted(masks, "file is a mask of a photo", "files are masks of photos")] if masks else []
    why += [f"they are data for {' and '.join(kinds)}, where a photo has several labels"]
    what = f"{listing.path} contains {files.tree.picture()}"
    words = _words_of_names(found, files)
    if not words:
        return SourceRefused(_WHERE, what, "; ".join(why), _CUT)
    why += [_words_text(words)]
    more = f"if the words are the classes, {_table_for(found, files, words)}, or cut the boxes out, one folder a class"
    return SourceRefused(_WHERE, what, "; ".join(why), f"{more}; {LAYOUTS}")


def views_text(found: Names, files: Contents) -> str | None:
    """Return which two folders have files of the same names, so that they may be masks or views of one photo."""
    photos = [found.files[index] for index in files.photos]
    pair = shared_names([path for path in photos if names.is_image_name(path)])
    if pair is None or any(split_of(folder[-1]) for folder in pair if folder):
        return None
    one, other = (shortened("/".join(folder)) for folder in pair)
    return f"most files of {one}/ and {other}/ have the same names"


def views_refusal(listing: Listing, found: Names, files: Contents) -> SourceRefused | None:
    """Return the refusal of two or three folders whose files have the same names, so that they are no classes.

    More folders may be classes of letters, with a file of each font or writer: they are warned of.
    """
    if len(files.tree.folders()) > _MOST_VIEWS or (text := views_text(found, files)) is None:
        return None
    why = f"{text}, so they are masks or views of one photo and no classes"
    return SourceRefused(_WHERE, f"{listing.path} contains {files.tree.picture()}", why, _CUT)


def unknown_layout(listing: Listing, found: Names, files: Contents, tables: Sequence[Table] = ()) -> SourceRefused:
    """Return the refusal of a source in which no photo has a class, by what was seen in it.

    `tables` are those in it that may have the classes and are not understood.
    """
    if not files.photos and not files.refused:
        return _without_photos(listing, found, files)
    what = f"{listing.path} contains {files.tree.picture()}"
    if any(table.candidates for table in tables):
        return _without_label(listing, files, sorted(tables, key=lambda each: not each.candidates))
    if tables:
        why = _tables_text(tables)
        more = f"correct the table, so that it has the columns file_name and label, such as {_example(found, files)}"
        return SourceRefused(_WHERE, what, why, f"{more}; {LAYOUTS}")
    if refused := detection_refusal(listing, found, files):
        return refused
    if words := _words_of_names(found, files):
        return _listed_by_name(listing, found, files, words)
    flat = files.tree.direct(()) if files.tree.folders() != [()] else 0
    if flat:
        why = f"{counted(flat, 'photo lies', 'photos lie')} beside the folders, in no folder of a class"
        return SourceRefused(
            _WHERE, what, why, f"move each into the folder of its class, or out of the data; {LAYOUTS}"
        )
    return SourceRefused(_WHERE, what, "the photos lie in no folders of classes, and no table names them", _FOLDERS)


def _tables_text(tables: Sequence[Table]) -> str:
    """Return which tables are not understood, and why; those of the same columns and reason are told once."""
    alike: dict[tuple[object, ...], list[Table]] = defaultdict(list)
    for table in tables:
        alike[table.header, table.problem].append(table)
    texts = []
    for first, *more in list(alike.values())[:3]:
        same = f"; the same holds for {enumerated([each.name for each in more])}" if more else ""
        texts.append(f"{first.refusal()}{same}")
    return "; ".join(texts)


def _without_label(listing: Listing, files: Contents, tables: Sequence[Table]) -> SourceRefused:
    """Return the refusal of tables that name the photos, of which the first has columns that may be the classes."""
    first = tables[0]
    why = f"it contains {files.tree.picture()}; " + _tables_text(tables)
    is_named = first.file.strip().lower() == "file_name"
    photos = "" if is_named else f"the column {shortened(first.file)} to file_name and "
    one_of = listed([shortened(name) for name in first.candidates])
    more = f"in {first.name}, rename {photos}the one column of the classes (of {one_of}) to label, so that it has the "
    more += f"columns file_name and label; {LAYOUTS}"
    return SourceRefused(_WHERE, f"{listing.path}: no column says which class a photo has", why, more)


def _without_photos(listing: Listing, found: Names, files: Contents) -> SourceRefused:
    own = [path for path in found.files if path[-1:] != ("",) and names.foreign_reason(path) is None]
    packed = [path for path in own if names.suffix(path) in _ARCHIVES]
    if packed:
        counts = Counter(map(names.suffix, packed)).most_common()
        shown = " and ".join(f"{count:,} .{kind}" for kind, count in counts)
        more = (
            f"unpack {shortened('/'.join(packed[0]))} and give its folder; of several, each into a folder of its name"
        )
        return SourceRefused(
            _WHERE, f"{listing.path} contains {shown} and no photo", "what is in them is not read", more
        )
    what = f"{listing.path} contains no photo" if listing.entries else f"{listing.path} contains nothing"
    others = files.others.text()
    why = f"it has only {others}" if others else "it has no file"
    return SourceRefused(_WHERE, what, why, f"give a folder or an archive that has photos as --data; {LAYOUTS}")


def _listed_by_name(listing: Listing, found: Names, files: Contents, words: Sequence[str]) -> SourceRefused:
    folders = files.tree.folders()
    where = listed([f"{shortened('/'.join(folder))}/" for folder in folders if folder]) or "no folder"
    what = f"{listing.path}: all {counted(files.tree.below(()), 'photo')} are in {where}"
    more = f"if these are the classes, {_table_for(found, files, words)}; {LAYOUTS}"
    return SourceRefused(_WHERE, what, f"no folder is a class; {_words_text(words)}", more)


def _words_text(words: Sequence[str]) -> str:
    shown = ", ".join([shortened(word) for word in words[:_SHOWN_WORDS]] + ["..."] * (len(words) > _SHOWN_WORDS))
    return f"the names begin with {len(words):,} words ({shown})"


def _table_for(found: Names, files: Contents, words: Sequence[str]) -> str:
    return f"write a labels.csv, for example: {_example(found, files, words)}"


def _example(found: Names, files: Contents, words: Sequence[str] = ()) -> str:
    """Return the first lines of a labels.csv for these photos."""
    photos = [found.files[index] for index in files.photos]
    path = min(filter(names.is_image_name, photos), default=photos[0])
    match = _WORD.match(path[-1])
    own = match[1] if match and match[1] in words else "cat"
    return f"file_name,label / {shortened('/'.join(path))},{own}"


def _words_of_names(found: Names, files: Contents) -> list[str]:
    """Return the words that names begin with, before a number: at least two, each of several photos; else none."""
    photos = (path[-1] for index in files.photos if names.is_image_name(path := found.files[index]))
    words = Counter(match[1] if (match := _WORD.match(name)) else "" for name in photos)
    is_of_few = len(words) <= words.total() / 2
    return sorted((word for word in words if word), key=str.casefold) if is_of_few and len({*words} - {""}) > 1 else []


def _class_folder(folder: Path) -> Path:
    """Return the innermost folder whose name may be that of a class, and not only that of a split or of photos."""
    while folder and (is_wrapper(folder[-1]) or is_annotation(folder[-1]) or split_of(folder[-1]) is not None):
        folder = folder[:-1]
    return folder


def _coco(found: Names) -> tuple[str, str] | None:
    files = sorted({path[-1] for path in found.files if path and _COCO.fullmatch(path[-1].casefold())})
    return ("COCO", f"the photos have annotations in {listed([shortened(name) for name in files])}") if files else None


def _sidecars(found: Names, files: Contents, ending: str, kind: str) -> tuple[str, str] | None:
    """Return a kind of data where most photos have a file of their name with this ending."""
    stems = {path[-1].rpartition(".")[0] for path in found.files if names.suffix(path) == ending}
    photos = [path for index in files.photos if names.is_image_name(path := found.files[index])]
    count = sum(path[-1].rpartition(".")[0] in stems for path in photos)
    if not photos or count < _LEAST_SIDECARS * len(photos):
        return None
    return kind, f"{count:,} of {counted(len(photos), 'photo')} have a .{ending} of their name"
