"""What an endpoint has served: the run's own model first, then the versions that were promoted to it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tasks.run.handle import RunFolder
from tasks.run.record_store import Record


@dataclass(frozen=True)
class Release:
    """A model that an endpoint serves; without a `package`, an ARN, it is the run's own, as `deploy` serves it.

    `name` is the package's in the ledger, `label` how a person names it, `trained_by` the run that trained it. `at` is
    when the endpoint had it on all instances, or was told to have it, UTC in ISO 8601.
    """

    package: str
    name: str
    label: str
    trained_by: str
    model_uri: str
    image: str
    trained_uri: str
    at: str
    why: str

    @property
    def resources(self) -> tuple[tuple[str, str], ...]:
        """The package, if it is one, and the prefix that holds the model."""
        prefix = ("s3-prefix", "/".join([*self.model_uri.split("/")[:5], ""]))
        return (("model-package", self.name), prefix) if self.package else (prefix,)


@dataclass(frozen=True)
class Releases(Record, file="releases.json", called="releases", made_by="promote"):
    """The releases of a run's endpoint, the oldest first; the last one serves."""

    all: tuple[Release, ...]

    @property
    def serving(self) -> Release:
        """The release that serves."""
        return self.all[-1]

    @property
    def before(self) -> Release | None:
        """The release that a rollback goes back to, None if there is none."""
        return self.all[-2] if len(self.all) > 1 else None

    def promoted(self, release: Release) -> Releases:
        """Return the releases after a promotion."""
        return replace(self, all=(*self.all, release))

    def rolled_back(self) -> Releases:
        """Return the releases after a rollback, which forgets the last one."""
        return replace(self, all=self.all[:-1])


def promoted_release(run: RunFolder) -> Release | None:
    """Return the promoted version that the run's endpoint serves, or None while it serves the run's own model.

    Raises:
        LedgerRefused: the record cannot be read.
    """
    found = run.find(Releases)
    return found.serving if found is not None and found.serving.package else None
