"""Gives a program its variables through a file, so that the program that makes its container is not run with them.

What loads a program also obeys its environment: the dynamic linker LD_PRELOAD, the C library GCONV_PATH and LOCPATH. A
program of localaws's that runs outside any container must have none of a user's variables, whatever their names, and
its command line is no place for them either: all users can read it.
"""

import contextlib
import marshal
import os
import tempfile
from collections.abc import Iterator, Mapping

from localaws.programs.container import HANDOVER

NEEDED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")  # by the Python that localaws runs in, perhaps; its own are passed on


@contextlib.contextmanager
def handed_over(content: Mapping[str, object]) -> Iterator[tuple[dict[str, str], tuple[int]]]:
    """Yield the environment and the descriptor that the starting program gets; `container.take_over` reads the content.

    `content` has `variables`, the user's; it can be marshalled.

    Raises:
        OSError: there is no room for the file.
    """
    with tempfile.TemporaryFile() as file:
        file.write(marshal.dumps(dict(content)))
        file.seek(0)
        own = {name: os.environ[name] for name in NEEDED if name in os.environ}
        yield {**own, HANDOVER: str(file.fileno())}, (file.fileno(),)
