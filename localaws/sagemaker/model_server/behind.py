"""A model that loads while the server answers already, as in AWS's images, where TorchServe's workers load it.

Source: pytorch/serve, `ApiUtils` and `InferenceRequestHandler` of its frontend: a request for which there is no worker
is a ServiceUnavailableException, 503, while `/ping` tells that the frontend is up.
"""

import threading
import time
import traceback
from collections.abc import Callable, Mapping

from localaws.sagemaker.model_server.handlers import Answer, Handlers


class NoWorker(Exception):
    """The model has not loaded yet, or could not be."""

    status_code = 503
    code = "ServiceUnavailableException"

    def __init__(self) -> None:
        super().__init__(
            'Model "model" has no worker to serve inference request. Please use scale workers API to add workers.'
        )


class LoadsBehind:
    """Handlers that a thread loads; `answer` is refused until it has, and for good if it fails."""

    def __init__(self, load: Callable[[], Handlers]) -> None:
        self._load = load
        self._handlers: Handlers | None = None
        threading.Thread(target=self._run, name="load", daemon=True).start()

    def answer(self, body: bytes, content_type: str, accept: str, headers: Mapping[str, str]) -> Answer:
        """Answer a request.

        Raises:
            NoWorker: the model is not loaded.
        """
        if self._handlers is None:
            raise NoWorker
        return self._handlers.answer(body, content_type, accept, headers)

    def _run(self) -> None:
        started = time.perf_counter()
        try:
            self._handlers = self._load()
        except Exception as error:  # noqa: BLE001 a model's code may raise anything; what it was belongs in the log
            print(f"the model could not be loaded: {type(error).__name__}: {error}", flush=True)
            traceback.print_exception(error)
        else:
            print(f"model loaded in {time.perf_counter() - started:.2f} s", flush=True)
