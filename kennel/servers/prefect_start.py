"""Prefect's server in this process: what `prefect server start` runs, without the command line around it.

`python -m kennel.servers.prefect_start PORT`. The command line's own imports cost 0.3 s of CPU, and the garbage
collector's looks at everything that is being imported another 0.5 s (2 × Xeon, n = 3).
"""

from __future__ import annotations

import gc
import sys

KEEP_ALIVE_SECONDS = 5


def main(port: int) -> None:
    """Serve on loopback until a signal ends it."""
    gc.disable()
    import uvicorn
    from prefect.server.api.server import create_app

    app = create_app(final=True)
    gc.freeze()
    gc.enable()
    uvicorn.run(app, host="127.0.0.1", port=port, timeout_keep_alive=KEEP_ALIVE_SECONDS, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]))
