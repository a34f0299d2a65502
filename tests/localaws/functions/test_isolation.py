"""What a function cannot do to its neighbours: take their events, answer for them."""

from localaws.functions.runtime_api import RESPONSE_LIMIT_BYTES
from tests.localaws.functions.functions_kit import Functions

VICTIM = """
import os
def handler(event, context):
    return {"port": os.environ["AWS_LAMBDA_RUNTIME_API"], "event": event}
"""
CALLER = """
import http.client, os, subprocess, sys
ASK = '''
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], timeout=10)
try:
    connection.request(sys.argv[2], "/2018-06-01/runtime/" + sys.argv[3], b"x" * int(sys.argv[4]))
    print(connection.getresponse().status)
except OSError as error:
    print(type(error).__name__)
'''
def handler(event, context):
    own = os.environ["AWS_LAMBDA_RUNTIME_API"]
    return [
        subprocess.run(
            [sys.executable, "-c", ASK, port or own, method, path, str(size)], capture_output=True, text=True,
            start_new_session=True,
        ).stdout.strip()
        for port, method, path, size in event["requests"]
    ]
"""


def test_a_function_can_neither_take_a_neighbours_event_nor_answer_for_it(functions: Functions) -> None:
    victim, attacker = functions.make(VICTIM), functions.make(CALLER)
    port = functions.invoke(victim)["Payload"]["port"]
    requests = [
        (port, "GET", "invocation/next", 0),
        (port, "POST", "init/error", 0),
        (port, "POST", "invocation/1/response", 0),
    ]
    assert functions.invoke(attacker, {"requests": requests})["Payload"] == ["403", "403", "403"]
    answer = functions.invoke(victim, {"still": "mine"})["Payload"]
    assert answer == {"port": port, "event": {"still": "mine"}}, "it serves on, in the same environment"


def test_a_stranger_cannot_fill_the_servers_memory_before_it_is_refused(functions: Functions) -> None:
    victim, attacker = functions.make(VICTIM), functions.make(CALLER)
    port = functions.invoke(victim)["Payload"]["port"]
    request = (port, "POST", "init/error", 2 * RESPONSE_LIMIT_BYTES)
    (outcome,) = functions.invoke(attacker, {"requests": [request]})["Payload"]
    assert outcome in ("403", "BrokenPipeError", "ConnectionResetError", "RemoteDisconnected")
    assert functions.invoke(victim)["Payload"]["port"] == port


def test_a_process_that_a_function_starts_counts_as_the_function(functions: Functions) -> None:
    name = functions.make(CALLER)
    asked = functions.invoke(name, {"requests": [(None, "POST", "invocation/unknown/response", 0)]})
    assert asked["Payload"] == ["400"], "the Runtime API heard it, and there is no such invocation"
