"""Tells people what happened: by mail, chat or webhook, at the addresses that KENNEL_NOTIFY names.

The addresses are apprise's (https://github.com/caronc/apprise): `mailto://user:password@smtp.example.org?to=me@…`,
`slack://…`, `json://host/path` for a webhook, and about a hundred more. They hold secrets, so no message names one.
"""

from __future__ import annotations

import logging

from tasks.run.settings import Settings
from tasks.run.waiting import say


def notify(title: str, text: str, settings: Settings) -> int:
    """Send a notice to each address, and return how many took it; one that did not is said, and is no error."""
    addresses = [] if settings.notify is None else settings.notify.get_secret_value().split()
    if not addresses:
        return 0
    from apprise import Apprise, NotifyFormat

    logging.getLogger("apprise").disabled = True  # its lines name addresses
    sent = 0
    for number, address in enumerate(addresses, start=1):
        service = Apprise()
        is_good = service.add(address) and service.notify(text, title=title, body_format=NotifyFormat.TEXT)
        sent += bool(is_good)
        if not is_good:
            say(f"WARNING: the notice was not taken by address {number} of KENNEL_NOTIFY: {title}")
    return sent
