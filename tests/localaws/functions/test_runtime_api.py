"""A connection that ends while it is being judged asks for no event: nobody would get it."""

import asyncio
import socket

from localaws.functions.runtime_api import RuntimeConnection
from localaws.peers import Address

NEXT = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n"
WAIT_SECONDS = 30.0


class Slow:
    """What an environment answers for; it takes its time to judge, and notes what it hears."""

    def __init__(self) -> None:
        self.asked, self.may_judge, self.is_gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.heard: list[str] = []

    async def is_own(self, near: Address, far: Address) -> bool:
        assert near and far
        self.asked.set()
        await self.may_judge.wait()
        return True

    def on_next(self, connection: RuntimeConnection) -> None:
        self.heard.append("next")
        connection.deliver(b"{}", {})

    def on_response(self, request_id: str, body: bytes) -> bool:
        raise NotImplementedError

    on_error = on_response

    def on_oversized_response(self, request_id: str, size_bytes: int) -> None:
        raise NotImplementedError

    def on_init_error(self, body: bytes) -> None:
        raise NotImplementedError

    def on_disconnect(self, connection: RuntimeConnection) -> None:
        self.heard.append("gone")
        self.is_gone.set()


def test_a_client_that_goes_while_it_is_judged_gets_no_event() -> None:
    async def story() -> None:
        slow, made = Slow(), []

        def connection() -> RuntimeConnection:
            made.append(RuntimeConnection(slow))
            return made[-1]

        server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
        async with server, asyncio.timeout(WAIT_SECONDS):
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(NEXT)
            await slow.asked.wait()
            writer.close()
            await slow.is_gone.wait()
            slow.may_judge.set()
            judging = made[0]._judging
            assert judging is not None
            await judging
        assert slow.heard == ["gone"]

    asyncio.run(story())


def test_a_connection_whose_far_end_is_unknown_is_closed() -> None:
    """The system does not tell the address of a client that has gone."""

    async def story() -> None:
        slow = Slow()
        near, far = socket.socketpair()
        with far:
            async with asyncio.timeout(WAIT_SECONDS):
                await asyncio.get_running_loop().connect_accepted_socket(lambda: RuntimeConnection(slow), near)
                await slow.is_gone.wait()
        assert slow.heard == ["gone"] and not slow.asked.is_set()

    asyncio.run(story())
