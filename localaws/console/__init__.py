"""The console: read-only pages of what this server runs, for a person who has the address with its token.

`access.py` says who gets in, `pages.py` which pages there are; `views/` makes what a page shows from the services'
records, `rendering.py` makes HTML of it, in which `masking.py` hides what is secret. `broadcast.py` renders a page
again, at most once a second, for those who look at it. Nothing is changed, and no service is called over HTTP.
"""

from localaws.console.site import Console

__all__ = ["Console"]
