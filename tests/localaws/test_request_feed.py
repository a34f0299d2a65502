"""The feed of requests: bounded, named by what was found out, and with IAM's decision."""

import asyncio

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from localaws.request_feed import ALLOWED, MOST_INVOCATIONS, MOST_OTHERS, Answered, Feeding, RequestFeed


async def nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def drop(_: Message) -> None:
    return None


def answered(path: str, answer: Response, **found: object) -> list[Answered]:
    """Return what the feed has of one request, of which the gates found `found`."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope.update(found)
        await answer(scope, receive, send)

    feed = RequestFeed()
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "headers": []}
    asyncio.run(Feeding(app, feed, "/_localaws/")(scope, nothing, drop))
    return feed.newest()


def test_what_is_denied_and_let_pass_is_told_from_what_is_allowed() -> None:
    [passed] = answered("/x", Response("ok"), **{ALLOWED: False})
    [allowed] = answered("/x", Response("ok"), **{ALLOWED: True})
    assert (passed.decision, allowed.decision, passed.status) == ("would be denied", "allowed", 200)


def test_an_errors_code_is_read_from_each_kind_of_body() -> None:
    bodies = ['{"__type": "com.amazon#AccessDeniedException"}', "<E><Code>AccessDenied</Code></E>", "what?"]
    found = [answered("/x", Response(body, 403))[0] for body in bodies]
    assert [each.error for each in found] == ["AccessDeniedException", "AccessDenied", "403"]
    assert [each.decision for each in found] == ["denied", "denied", ""]


def test_localawss_own_paths_are_not_in_it() -> None:
    assert answered("/_localaws/health", Response("ok")) == []


def test_it_is_bounded_and_invocations_push_out_nothing_else() -> None:
    feed = RequestFeed()
    for number in range(3 * MOST_OTHERS):
        feed.add(Answered(number, "s3", "PutObject", "/", "", "", 200, 1.0, ""))
    for number in range(3 * MOST_OTHERS):
        feed.add(Answered(number, "lambda", "Invoke", "/", "", "", 200, 1.0, ""))
    kept = [each.operation for each in feed.newest()]
    assert (kept.count("PutObject"), kept.count("Invoke")) == (MOST_OTHERS, MOST_INVOCATIONS)
