"""Answers one request as AWS's inference toolkit does in TorchServe: `serve.py MODEL_DIR CONTENT_TYPE < body`.

Prints the status, the content type and the answer as JSON.
"""

import json
import sys
from typing import Any

from sagemaker_pytorch_serving_container.handler_service import HandlerService  # type: ignore[import-not-found]

MODEL_DIR, CONTENT_TYPE = sys.argv[1:]


class Context:
    """What TorchServe tells a handler, and what the handler tells of its answer."""

    model_name = "model"

    def __init__(self) -> None:
        self.system_properties = {"model_dir": MODEL_DIR, "gpu_id": None}
        self.request_processor = [self]
        self.answer: dict[str, Any] = {"status": 200}

    def get_request_properties(self) -> dict[str, str]:
        return {"Content-Type": CONTENT_TYPE, "Accept": "application/json"}

    def set_response_content_type(self, _: int, value: str) -> None:
        self.answer["content_type"] = value

    def set_response_status(self, code: int, phrase: str, *_: object) -> None:
        self.answer |= {"status": code, "phrase": phrase}


context, service = Context(), HandlerService()
service.initialize(context)
(body,) = service.handle([{"body": sys.stdin.buffer.read()}], context)
text = body.decode() if isinstance(body, bytes | bytearray) else body
print(json.dumps({**context.answer, "body": text}))
