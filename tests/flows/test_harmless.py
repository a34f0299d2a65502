"""What a flow's errors say is harmless in Prefect's states, in its tracebacks and in its logs; without a server."""

import asyncio
import importlib
import inspect
import io
import logging
import pkgutil

import pytest
from prefect import Flow
from prefect.states import exception_to_failed_state

import flows
from flows.harmless import harmless_errors
from tasks.run.errors import AwsFailed, KennelError, StageFailed, Unexpected
from tests.hostile import CORPUS, harmful_in


@harmless_errors
async def fail(error: Exception) -> None:
    """Raise the error, from one with the same text."""
    raise error from ValueError(str(error))


def caught(error: Exception) -> Exception:
    with pytest.raises(type(error) if isinstance(error, KennelError) else Exception) as found:
        asyncio.run(fail(error))
    return found.value


@pytest.mark.parametrize("text", CORPUS)
def test_the_state_of_a_failed_flow_is_harmless(text: str) -> None:
    for error in (StageFailed(text, text, text, text), AwsFailed(text, text, text, text), OSError(text)):
        state = asyncio.run(exception_to_failed_state(caught(error)))
        assert state.message is not None and harmful_in(state.message) <= {repr("\t")}


def test_an_error_whose_text_is_harmless_stays_what_it_is() -> None:
    assert type(caught(ValueError("no such number"))) is ValueError
    assert type(caught(ValueError("\x1b[2J"))) is Unexpected


@pytest.mark.filterwarnings("ignore:Logger .* attempted to send logs to the API")
@pytest.mark.parametrize(
    "name", ["prefect.flow_runs", "prefect.task_runs", "prefect.engine", "prefect.flow_runs.runner"]
)
def test_prefect_s_loggers_have_no_raw_character_in_a_line_or_traceback(name: str) -> None:
    text = "".join(CORPUS)
    out = io.StringIO()
    handler, logger = logging.StreamHandler(out), logging.getLogger(name)
    logger.addHandler(handler)
    try:
        try:
            asyncio.run(fail(StageFailed(text, text, text, text)))
        except StageFailed:
            logger.exception("Finished in state %s", text)
    finally:
        logger.removeHandler(handler)
    assert "Traceback" in out.getvalue() and harmful_in(out.getvalue()) <= {repr("\t")}


def test_every_flow_raises_harmless_errors() -> None:
    modules = [importlib.import_module(each.name) for each in pkgutil.iter_modules(flows.__path__, "flows.")]
    found = {each.name: each.fn for module in modules for each in vars(module).values() if isinstance(each, Flow)}
    assert len(found) >= 9
    for name, work in found.items():
        assert work.__code__ is fail.__code__ and hasattr(work, "__wrapped__"), name
        assert inspect.iscoroutinefunction(work)
