"""An HTTP server with the wire formats of InvokeEndpoint and Lambda's Invoke; the target's name selects its behaviour.

Run it as a script with the reasons of the target `hostile` as a JSON list: it prints its port. `GET /counts` returns
the number of responses by status.
"""

import asyncio
import json
import os
import sys
from collections import Counter
from typing import ClassVar

THROTTLED = (429, "x-amzn-errortype: ThrottlingException\r\n", b'{"message": "Rate exceeded"}')
MODEL_ERROR = (
    424,
    "x-amzn-errortype: ModelError:http://internal.amazon.com/coral/\r\n",
    b'{"OriginalStatusCode": 500, "OriginalMessage": "boom", "Message": "Received server error (500)"}',
)
OK_ENDPOINT = (200, "", b'{"labels": ["a"], "scores": [1.0]}')
OK_FUNCTION = (200, "", json.dumps({"statusCode": 200, "body": '{"labels": ["a"]}'}).encode())
BAD_IMAGE = (200, "", json.dumps({"statusCode": 422, "body": '{"error": {"code": "BadImage"}}'}).encode())
RAISED = (200, "x-amz-function-error: Unhandled\r\n", b'{"errorType": "ZeroDivisionError", "errorMessage": "x"}')


class Invocations(asyncio.Protocol):
    """One connection, which responds to its requests in order."""

    counts: ClassVar[Counter[str]] = Counter()
    reasons: ClassVar[list[str]] = json.loads(sys.argv[1])
    seen = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = self.received[:end].decode()
            lines = head.lower().split("\r\n")
            length = next((int(line[15:]) for line in lines if line.startswith("content-length:")), 0)
            if len(self.received) < end + 4 + length:
                return
            self.received = self.received[end + 4 + length :]
            self.answer(*head.split(" ", 2)[:2])

    def answer(self, method: str, path: str) -> None:
        if method == "GET":
            self.write(200, "", json.dumps(self.counts).encode())
            return
        name = path.split("/")[-2]
        Invocations.seen += 1
        if name == "hangs":
            return
        if name == "dies" and self.seen > 60:
            os._exit(1)
        if name == "drops":
            self.counts["dropped"] += 1
            self.transport.close()
            return
        if name == "fails-late":
            self.fail_late()
            return
        reason = {"__type": "ThrottlingException", "Reason": self.reasons[self.seen % len(self.reasons)]}
        hostile = (429, "", json.dumps(reason).encode())
        every_third = THROTTLED if self.seen % 3 == 0 else OK_ENDPOINT
        replies = {"throttles": every_third, "model-error": MODEL_ERROR, "bad-image": BAD_IMAGE, "raises": RAISED}
        replies["hostile"] = hostile
        status, headers, body = replies.get(name, OK_FUNCTION if "/functions/" in path else OK_ENDPOINT)
        self.counts[str(status)] += 1
        self.write(status, headers, body)

    def fail_late(self) -> None:
        """Answer two of three requests after 10 ms and throttle the third after 0.5 s, so that latencies differ."""
        is_third = self.seen % 3 == 0
        reply = THROTTLED if is_third else OK_ENDPOINT
        self.counts[str(reply[0])] += 1
        asyncio.get_running_loop().call_later(0.5 if is_third else 0.01, self.write, *reply)

    def write(self, status: int, headers: str, body: bytes) -> None:
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{headers}content-length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Invocations, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
