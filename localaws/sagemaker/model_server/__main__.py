"""`python -m localaws.sagemaker.model_server`: load the model, then listen; exit status 1 if it cannot be served.

With `LOCALAWS_PINGS_EARLY` it listens first, as TorchServe does, and goes on if the model cannot be loaded.

Environment: `SM_MODEL_DIR` (the unpacked artefact), `LOCALAWS_LISTENER` (the descriptor of a bound socket; without it,
`SAGEMAKER_BIND_TO_PORT` of `MODEL_SERVER_HOST`, default 127.0.0.1, is bound), `LOCALAWS_TOKEN` (what requests must
bring; without it, all are answered),
`SAGEMAKER_PROGRAM` (default `inference.py`), `SAGEMAKER_SUBMIT_DIRECTORY` (default
`/opt/ml/model/code`), `SAGEMAKER_MODEL_SERVER_WORKERS` (handler threads, default the number of cores, at most 4),
`SAGEMAKER_MODEL_JOB_QUEUE_SIZE` (requests that may wait for a thread, default 100),
`SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT` (default `application/json`).
SIGTERM: no new connection is taken, requests in flight are finished, the process ends.
"""

import os
import socket
import sys
import time
import traceback
from pathlib import Path

from localaws.sagemaker.model_server import LISTENER, PINGS_EARLY, TOKEN
from localaws.sagemaker.model_server.application import Answering, ModelServer
from localaws.sagemaker.model_server.behind import LoadsBehind
from localaws.sagemaker.model_server.handlers import Handlers, check_requirements, find_code, import_script

MAX_DEFAULT_THREADS = 4
DRAIN_SECONDS = 3600  # who sends SIGTERM decides how long to wait; requests in flight are never cut from here


def main() -> int:
    """Serve until SIGTERM; return 1 when the model cannot be loaded, with the trace on stdout."""
    started = time.perf_counter()
    listener, token = take_socket(), os.environ.pop(TOKEN, None)
    model_dir = Path(os.environ["SM_MODEL_DIR"])
    if os.environ.pop(PINGS_EARLY, ""):
        serve(LoadsBehind(lambda: load_model(model_dir)), listener, token)
        return 0
    try:
        handlers = load_model(model_dir)
    except Exception as error:  # noqa: BLE001 a model's code may raise anything; what it was belongs in the log
        traceback.print_exception(error, file=sys.stdout)
        print(f"the model could not be loaded: {type(error).__name__}: {error}", flush=True)
        return 1
    print(f"model loaded in {time.perf_counter() - started:.2f} s", flush=True)
    serve(handlers, listener, token)
    return 0


def take_socket() -> socket.socket:
    """Return the socket to listen on; programs that the model starts do not get it."""
    if LISTENER in os.environ:
        listener = socket.socket(fileno=int(os.environ.pop(LISTENER)))
        listener.set_inheritable(False)
        return listener
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    host = os.environ.get("MODEL_SERVER_HOST", "127.0.0.1")
    listener.bind((host, int(os.environ["SAGEMAKER_BIND_TO_PORT"])))
    return listener


def load_model(model_dir: Path) -> Handlers:
    """Import the model's script and call its `model_fn`; whatever they raise comes through.

    Raises:
        HandlersRefused: no script, wrong functions, or a requirement that is not installed.
    """
    program = os.environ.get("SAGEMAKER_PROGRAM", "inference.py")
    submit_directory = os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY", "/opt/ml/model/code")
    script = find_code(model_dir, program, submit_directory)
    check_requirements(script.parent)
    handlers = Handlers(import_script(script), model_dir)
    handlers.load()
    return handlers


def serve(handlers: Answering, listener: socket.socket, token: str | None) -> None:
    """Listen, and answer until SIGTERM who brings the token."""
    import uvicorn

    app = ModelServer(
        handlers,
        threads=int(os.environ.get("SAGEMAKER_MODEL_SERVER_WORKERS", min(MAX_DEFAULT_THREADS, os.cpu_count() or 1))),
        queue_size=int(os.environ.get("SAGEMAKER_MODEL_JOB_QUEUE_SIZE", 100)),
        default_accept=os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "application/json"),
        token=token,
    )
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=3600,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    with listener:
        listener.listen(1024)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    sys.exit(main())
