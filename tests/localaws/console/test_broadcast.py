"""The broadcaster renders for those who look, and for nobody else."""

import asyncio

from localaws.console.broadcast import MOST_VIEWERS, NOT_RENDERED, Broadcaster

PATIENCE_SECONDS = 30.0


class Counting:
    """Renders a page as how often it was rendered, or always the same."""

    def __init__(self, changes: bool = True) -> None:
        self.times: dict[str, int] = {}
        self._changes = changes

    def __call__(self, page: str, query: str) -> str:
        self.times[page] = self.times.get(page, 0) + 1
        if page == "broken":
            raise ValueError("as a test asks")
        return f"{page}?{query} {self.times[page] if self._changes else ''}"


def run(scene: object) -> None:
    asyncio.run(asyncio.wait_for(scene, PATIENCE_SECONDS))  # type: ignore[arg-type]


def test_viewers_of_one_page_share_its_rendering_and_leave_silence_behind() -> None:
    async def scene() -> None:
        render = Counting()
        broadcaster = Broadcaster(render, pause_seconds=0.01)
        first, second = broadcaster.follow("jobs", "a=1"), broadcaster.follow("jobs", "a=1")
        shown = [*await asyncio.gather(anext(first), anext(second))]
        assert shown == ["jobs?a=1 1"] * 2
        assert await anext(first) != shown[0]
        await first.aclose()
        await second.aclose()
        await asyncio.sleep(0.05)
        before = dict(render.times)
        await asyncio.sleep(0.1)
        assert render.times == before, "nobody looks"
        again = broadcaster.follow("jobs", "")
        assert (await anext(again)).startswith("jobs? ")
        await again.aclose()

    run(scene())


def test_a_page_that_did_not_change_is_not_sent_again() -> None:
    async def scene() -> None:
        render = Counting(changes=False)
        broadcaster = Broadcaster(render, pause_seconds=0.001)
        viewer = broadcaster.follow("jobs", "")
        await anext(viewer)
        further = asyncio.ensure_future(anext(viewer))
        while render.times["jobs"] < 20:
            await asyncio.sleep(0.001)
        assert not further.done()
        broadcaster.close()
        try:
            await further
        except StopAsyncIteration:
            return
        raise AssertionError("the stream did not end with the server")

    run(scene())


def test_one_page_that_fails_leaves_the_others_alive() -> None:
    async def scene() -> None:
        broadcaster = Broadcaster(Counting(), pause_seconds=0.001)
        broken, whole = broadcaster.follow("broken", ""), broadcaster.follow("jobs", "")
        assert [*await asyncio.gather(anext(broken), anext(whole))] == [NOT_RENDERED, "jobs? 1"]
        assert await anext(whole) == "jobs? 2"
        broadcaster.close()
        await broken.aclose()
        await whole.aclose()

    run(scene())


def test_there_is_an_end_to_the_number_of_viewers() -> None:
    async def scene() -> None:
        broadcaster = Broadcaster(Counting(), pause_seconds=0.001)
        viewers = [broadcaster.follow("jobs", "") for _ in range(MOST_VIEWERS)]
        states = [broadcaster.is_full]
        await asyncio.gather(*(anext(each) for each in viewers))
        states.append(broadcaster.is_full)
        for each in viewers:
            await each.aclose()
        assert [*states, broadcaster.is_full] == [False, True, False]

    run(scene())
