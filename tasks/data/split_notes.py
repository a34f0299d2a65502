"""Say how splits were made, of which photos, and why they may be far from the shares that were asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tasks.data.texts import counted
from tasks.run.options import DataOptions
from tasks.run.records import SPLITS

_EXACT, _NEAR = 0.02, 0.05
"""How far shares may be from those that were asked for, to be told as these, and as about these."""


def split_note(options: DataOptions, made: Sequence[str], splits: Iterable[str], why: str) -> str:
    """Return the note on splits that were made; `splits` are those of all photos.

    `why` says what may have kept them from their shares.
    """
    counts = Counter(splits)
    if len(made) == len(SPLITS):
        parts = [f"{counts[split]:,} {split}" for split in SPLITS]
        shown = f"{parts[0]}, {parts[1]} and {counts['test']:,} test photos"
        return f"the data has no splits: {_shares(options, counts, made, why)}: {shown}"
    total = sum(counts[split] for split in made)
    lacking = " and no ".join(made[1:])
    first, *others = [f"{counts[split]:,}" for split in made[1:]]
    verb = "is" if first == "1" else "are"
    taken = f"{first} of its {counted(total, 'train photo')} {verb} taken for {made[1]}"
    taken += "".join(f" and {count} for {split}" for split, count in zip(made[2:], others, strict=True))
    return f"the data has no {lacking} split: {taken} (seed {options.split_seed})"


def _shares(options: DataOptions, counts: Mapping[str, int], made: Sequence[str], why: str) -> str:
    """Return the shares of the made splits; of small classes no part of a photo is taken."""
    photos, shares = sum(counts[split] for split in made), sum(options.shares[split] for split in made)
    parts = {split: counts[split] / max(1, photos) for split in made}
    farthest = max(abs(parts[split] - options.shares[split] / shares) for split in made)
    if farthest <= _EXACT:
        return f"kennel made {options.split} (seed {options.split_seed})"
    if farthest <= _NEAR:
        return f"kennel made about {options.split} (seed {options.split_seed}; {why})"
    reached = "/".join(f"{100 * parts[split]:.0f}" for split in made)
    return f"kennel made {reached} instead of {options.split} (seed {options.split_seed}; {why})"


def reason_of_shares(column: str | None, *, has_twins: bool, has_known: bool) -> str:
    """Return what may keep splits from their shares: groups, copies, photos that had a split, or small classes."""
    if column is not None:
        return f"the photos of one {column} stay together"
    if has_twins:
        return "photos that are nearly the same stay together"
    return (
        "photos keep the split that they had before" if has_known else "a class of few photos cannot be split exactly"
    )
