"""Makes a page of the console one file that needs no server: style and scripts are in it, and nothing follows it up.

It is what a screenshot is taken of, and what is kept where there is no browser: `still/PAGE?query` below the token.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

STYLES, SCRIPTS = ("uPlot.min.css", "console.css"), ("uPlot.iife.min.js", "console.js")
_PAGER = re.compile(r"<a rel=[^>]*>[^<]*</a>")
_LINK = re.compile(r"</?a\b[^>]*>")


class Still:
    """Makes the values of `still.html` from a page's fragment. `files`: the console's own, by name."""

    def __init__(self, files: Mapping[str, tuple[bytes, str]]) -> None:
        texts = {name: files[name][0].decode() for name in (*STYLES, *SCRIPTS)}
        style = "\n".join(texts[name] for name in STYLES)
        self._style = Markup(f"<style>\n{style}</style>")  # noqa: S704 files of ours
        self._scripts = [Markup(texts[name]) for name in SCRIPTS]  # noqa: S704
        allowed = " ".join(f"'sha256-{_digest(script)}'" for script in self._scripts)
        self.policy = (
            f"default-src 'none'; style-src 'unsafe-inline'; script-src {allowed}; img-src data:; base-uri 'none'; "
            "form-action 'none'"
        )

    def values(self, fragment: str) -> dict[str, Any]:
        """Return what the template shows; links lead nowhere from a file, so only their text is left."""
        body = Markup(_LINK.sub("", _PAGER.sub("", fragment)))  # noqa: S704 templates escaped it
        return {"body": body, "style": self._style, "scripts": self._scripts, "policy": Markup(self.policy)}  # noqa: S704


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
