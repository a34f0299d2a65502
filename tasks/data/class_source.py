"""Tell where a source has its classes: in tables of labels, or in which of the folders around the photos.

These are pure functions on a listing, except that the bytes of tables are read by the function that is given.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from tasks.data.class_names import name_classes
from tasks.data.contents import Contents
from tasks.data.deciding_table import agreeing_column, user_labels
from tasks.data.entries import Listing
from tasks.data.label_rows import Labels, Read, read_labels
from tasks.data.label_table import is_text, may_be_table
from tasks.data.names import Names, Path
from tasks.data.nested_splits import nested_splits_refusal
from tasks.data.photo_index import Located, split_above
from tasks.data.refusals import detection_refusal, unknown_layout, views_refusal
from tasks.data.sections import Section, find_sections, unknown_levels, unlabelled
from tasks.data.split_lists import SplitLists
from tasks.data.texts import shortened
from tasks.data.tree import Tree
from tasks.run.errors import SourceRefused
from tasks.run.options import ClassFolder

_FEW_TABLES = 3
"""So many tables that are not used are named, with the reason."""


class ClassSource:
    """Where a source has its classes: the labels that tables give, and the sections of its folders.

    `unused` maps tables of the user to why they do not decide, and `column` is the table and its column that tell that
    the folders in which photos lie are the classes.

    Raises:
        SourceRefused: a split exists twice, images are in an unknown folder, a table names photos by names that several
            have, or the folders are no classes and no table names the photos.
    """

    def __init__(
        self, listing: Listing, found: Names, files: Contents, read: Read | None, class_folder: ClassFolder
    ) -> None:
        self._listing, self._found, self._files, self._read = listing, found, files, read
        self._photos = [(index, found.files[index]) for index in files.photos]
        self.unused: dict[Path, str] = {}
        self.column: tuple[Path, str] | None = None
        self.sections: Sequence[Section]
        sections = find_sections(found, files.tree, is_last=class_folder == "last")
        refused = views_refusal(listing, found, files) or detection_refusal(listing, found, files)
        is_read = sections is not None and refused is None
        has_classes = _has_classes(sections or (), files.tree)
        user = self._user_labels() if has_classes or not is_read else Labels()
        if not user.rows and (nested := nested_splits_refusal(listing, files.tree)):
            raise nested
        if user.rows:
            user.named_by += _against_folders(class_folder) if has_classes else []
            self.labels, self.sections = user, self._labelled_sections(user, sections)
        elif sections is not None and is_read:
            self.labels = _labels(listing, found, files, sections, read)
            self.sections = sections if class_folder != "auto" else self._levelled(sections)
        else:
            self.labels, self.sections = self._labels_alone(refused)

    @property
    def notes(self) -> list[str]:
        """Which column tells the level of the classes."""
        if self.column is None:
            return []
        path, column = self.column
        where = f"column {shortened(column)} of {shortened('/'.join(path))}"
        return [f"{where} has the names of the folders that the photos lie in: these are the classes"]

    def unused_tables(self, used: Collection[Path], lists: SplitLists) -> dict[Path, str]:
        """Map the tables beside the photos that are not used to why, if they are few or named as the user's."""
        told = {each.name for each in self.labels.problems}
        left = [
            path
            for path in self._files.others.files
            if may_be_table(path) and not is_text(path) and path not in self.unused and path not in used
        ]
        texts = " ".join((*lists.warnings, *told))
        left = [path for path in left if "/".join(path) not in texts]
        tables = self.labels.tables
        why = f"{tables[0].name} gives the classes" if tables else "the folders give the classes"
        few = left if len(left) <= _FEW_TABLES else []
        return {path: text for path, text in self.unused.items() if path not in used} | dict.fromkeys(few, why)

    def _user_labels(self) -> Labels:
        if self._read is None or not self._photos:
            return Labels()
        decision = user_labels(self._listing, self._found, self._photos, self._read)
        self.unused = decision.unused
        decision.labels.lists = name_classes(decision.labels, self._listing, self._found, self._read, ())
        return decision.labels

    def _levelled(self, sections: Sequence[Section]) -> Sequence[Section]:
        """Return the sections, or those of the folders that photos lie in, if a table beside them has their names."""
        if self._read is None or self.labels.rows or not unknown_levels(sections, self._files.tree):
            return sections
        last = find_sections(self._found, self._files.tree, is_last=True) or []
        by_folder = {each.folder: each.own_name for each in last if each.own_name is not None}
        own = {index: name for index, path in self._photos if (name := by_folder.get(path[:-1])) is not None}
        photos = [each for each in self._photos if each[0] in own]
        self.column = agreeing_column(self._listing, self._found, photos, own, self._read)
        return sections if self.column is None else last

    def _labels_alone(self, refused: SourceRefused | None) -> tuple[Labels, Sequence[Section]]:
        """Return the labels that tables give where the folders are no classes, and the sections for them."""
        read, photos = self._read, self._photos
        labels = read_labels(self._listing, self._found, [photos], read) if read and photos else Labels()
        if not labels.rows:
            raise refused or unknown_layout(self._listing, self._found, self._files, labels.problems)
        labels.lists = name_classes(labels, self._listing, self._found, read, ()) if read else []
        return labels, self._labelled_sections(labels, None)

    def _labelled_sections(self, labels: Labels, sections: Sequence[Section] | None) -> list[Section]:
        """Return the sections of a source whose classes tables give: the folders of splits, and all others as one."""
        known = {self._found.files[index][:-1] for index in labels.rows}
        splits = {folder: split_above(folder) for folder in sorted(known)}
        if sections is not None:
            splits = {each.folder: each.split for each in sections if each.folder}
        return [unlabelled(()), *(unlabelled(folder, split) for folder, split in splits.items() if split)]


def _has_classes(sections: Sequence[Section], tree: Tree) -> bool:
    """Tell whether folders would be classes."""
    return any(each.reason is None and (each.class_name or tree.children(each.folder)) for each in sections)


def _against_folders(class_folder: ClassFolder) -> list[str]:
    """Return what is to be said where a table decides although folders would be classes."""
    told = ["the folders are no classes, because this table names the photos"]
    chosen = f"--class-folder {class_folder} changes nothing, because a table has the classes"
    return told if class_folder == "auto" else [*told, chosen]


def _labels(listing: Listing, found: Names, files: Contents, sections: Sequence[Section], read: Read | None) -> Labels:
    """Return what tables say of the photos that lie in no folder of a class, if a section has only such photos."""
    flat = [each for each in sections if each.class_name is None and not files.tree.children(each.folder)]
    if read is None or not any(each.reason is None or each.is_unlabelled for each in flat):
        return Labels()
    in_folder: dict[Path, list[Located]] = defaultdict(list)
    for index in files.photos:
        in_folder[found.files[index][:-1]].append((index, found.files[index]))
    groups = [in_folder[each.folder] for each in sorted(flat, key=lambda each: each.split != "train")]
    folders = {name for each in sections if each.reason is None for name in files.tree.children(each.folder)}
    labels = read_labels(listing, found, groups, read, folders)
    labels.lists = name_classes(labels, listing, found, read, folders)
    return labels
