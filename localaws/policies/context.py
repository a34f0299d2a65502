"""The circumstances of a request, which conditions and variables of a policy ask for by key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

Values = list[str]
Source = Callable[[str], Values | None]


class Context:
    """Values by key; keys are not case-sensitive. `sources` are asked in turn, and only for the keys that are needed.

    A source gets a key in lower case and returns its values, or None if it has none.
    """

    def __init__(self, values: Mapping[str, Values] | None = None, sources: Iterable[Source] = ()) -> None:
        self._values = {name.lower(): value for name, value in (values or {}).items()}
        self._sources = tuple(sources)
        self._found: dict[str, Values | None] = {}

    def get(self, key: str) -> Values | None:
        """Return the values of a key, None if the request has none."""
        if key not in self._found:
            self._found[key] = self._search(key)
        return self._found[key]

    def shown(self, keys: Iterable[str]) -> tuple[tuple[str, tuple[str, ...] | None], ...]:
        """Return the values of these keys in an order of their own: equal for equal circumstances."""
        return tuple((key, tuple(found) if (found := self.get(key)) is not None else None) for key in sorted(keys))

    def known(self) -> dict[str, Values]:
        """Return what was given as values, and what was asked for and found."""
        return {**self._values, **{key: value for key, value in self._found.items() if value is not None}}

    def _search(self, key: str) -> Values | None:
        if key in self._values:
            return self._values[key]
        return next((found for source in self._sources if (found := source(key)) is not None), None)


NOTHING = Context()
