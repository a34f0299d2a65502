"""Runs Prefect's server in this process, as `prefect server start` does, but guarded and without its command line.

It is started as `python -m kennel.servers.prefect_start PORT`. The imports of the command line would take 0.3 s of CPU,
and the garbage collector, which is off during the imports, another 0.5 s (2 × Xeon, n = 3).
"""

from __future__ import annotations

import errno
import gc
import os
import socket
import sys

KEEP_ALIVE_SECONDS = 5
PAGES_UMASK = 0o022
"""Prefect copies its pages beside its own package, which other users of the environment need to read too."""


def main(port: int) -> None:
    """Serve on loopback until a signal ends the process.

    It listens before the imports, which take seconds: what connects meanwhile waits, and is not refused.
    """
    try:
        listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        sys.exit(f"port {port} is taken by another program")
    os.chdir(os.environ["PREFECT_HOME"])  # Prefect reads settings from .env and prefect.toml in the current folder
    gc.disable()
    import uvicorn
    from prefect.server.api.server import create_app

    from kennel.servers.prefect_guard import Guard

    private = os.umask(PAGES_UMASK)
    app = create_app(final=True)
    os.umask(private)
    gc.freeze()
    gc.enable()
    config = uvicorn.Config(Guard(app), timeout_keep_alive=KEEP_ALIVE_SECONDS, log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(int(sys.argv[1]))
