"""One host of a staging job, started in its container as `python -m tasks.processing.host` in the folder of the code.

It lists the source as the order says, reads and decodes its share of the photos, and gives what it found to the others.
The first host judges all of it; when the machine that started the job answers that the dataset is wanted, each host
packs its share of the shards into the job's area. A host that fails says why in the job's ExitMessage and in the area,
which ends the others.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tasks.data.archive import Reader
from tasks.data.bucket_source import fetch_listed, fetch_objects, read_remote
from tasks.data.entries import Listing
from tasks.data.examination import Examined, judge_decoded, limits_of
from tasks.data.judgement_cache import LocatedSource
from tasks.data.layout import Layout, read_layout
from tasks.data.shards import ShardPlan, SpoolReader, StagedImage, image_rows, pack_shard, plan_shards
from tasks.data.unpacking import list_unpacked
from tasks.data.upload import shard_row
from tasks.data.worker_pool import Decoded, decode_all
from tasks.processing import area as areas
from tasks.processing.area import WHERE, Area
from tasks.processing.order import Order
from tasks.processing.outcomes import in_order, outcomes_of, rows_of, share_of
from tasks.processing.verdict import Verdict
from tasks.run.aws import Aws
from tasks.run.errors import KennelError, unexpected
from tasks.run.progress import LOGGER, show_progress
from tasks.run.records import SPLITS
from tasks.run.sealed import parse_json
from tasks.run.settings import MOST_PROCESSES, Settings
from tasks.run.waiting import say

AREA_VARIABLE = "KENNEL_STAGING"
PROCESSES_VARIABLE = "KENNEL_STAGING_PROCESSES"
ROWS_SECONDS = 4 * 3600.0
"""Until all hosts have decoded their shares; the job's own limit ends it before."""
ANSWER_SECONDS = 1800.0
"""For the machine that started the job to answer; it may have been put to sleep."""
MESSAGE_CHARACTERS = 250
"""Of the job's ExitMessage, which has room for 1 KB of all hosts together."""


class ContainerAws(Aws):
    """AWS from inside a container: its credentials are those that the container is given."""

    def _credentials(self) -> dict[str, str]:
        return {}


@dataclass(frozen=True)
class Container:
    """Where a host runs: `root` is what it sees as /opt/ml, `number` counts from 0."""

    root: Path
    name: str
    hosts: tuple[str, ...]

    @classmethod
    def around(cls, code: Path) -> Container:
        """Return the container whose code is in a folder: /opt/ml/processing/input/code."""
        root = code.resolve().parents[2]
        resources: Any = parse_json((root / "config" / "resourceconfig.json").read_text())
        return cls(root, resources["current_host"], tuple(resources["hosts"]))

    @property
    def number(self) -> int:
        """The host's place among the hosts."""
        return self.hosts.index(self.name)

    @property
    def work(self) -> Path:
        """The folder for what the host reads and makes."""
        return self.root / "processing" / "work"

    def input(self, name: str) -> list[Path]:
        """Return the files of an input, in order."""
        return sorted(path for path in (self.root / "processing" / "input" / name).iterdir() if path.is_file())


class Staging:
    """The work of one host."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._order = Order.from_bytes(container.input("order")[0].read_bytes())
        self._settings = settings_in(container.work, self._order)
        self._aws = ContainerAws(self._settings)
        bucket, _, prefix = os.environ[AREA_VARIABLE].removeprefix("s3://").partition("/")
        self._area = Area(self._aws, bucket, prefix)
        self._aws.client("s3")  # made before several threads ask for it
        self._spools = container.work / "parts"

    def run(self) -> None:
        """Do the host's part.

        Raises:
            KennelError: the source is refused, AWS refused, or another host failed.
        """
        self._aws.once(f"encryption {self._order.bucket}", lambda: self._order.encryption)
        source = self._order.located(self._settings)
        listing, layout = self._laid_out(source)
        self._decode_share(source, listing, layout)
        outcomes = self._outcomes_of_all(layout)
        plans = None
        if self._container.number == 0:
            with SpoolReader() as spools:
                examined = judge_decoded(
                    *(source, self._settings, (listing, layout), outcomes),
                    staged=spools.read,
                    known=self._order.known,
                )
            plans = self._tell_verdict(examined)
        answer = self._area.wait(
            "the answer of the machine that started the job",
            lambda: self._area.hear_if_told(areas.ANSWER),
            deadline_seconds=ANSWER_SECONDS,
        )
        if answer["is_wanted"]:
            decoded = {each.index: each for each in outcomes if isinstance(each, Decoded)}
            self._pack_share(listing, decoded)
            if plans is not None:
                self._area.put(f"{areas.MADE}/images.jsonl", b"".join(image_rows(plans)), "application/jsonl")

    def _laid_out(self, source: LocatedSource) -> tuple[Listing, Layout]:
        """Return what the source has and how it is laid out; an archive is fetched for it."""
        if source.objects is not None:
            read = partial(read_remote, self._aws, source.objects, show_progress)
            return source.objects.listing, read_layout(source.objects.listing, read)
        fetch_listed(self._aws, self._order.place, self._order.objects[0], source.path)
        self._scratch.mkdir(parents=True, exist_ok=True)
        listing = list_unpacked(source.path, self._settings, self._scratch, show_progress)
        with Reader(listing.root, listing.kind) as reader:
            return listing, read_layout(listing, reader.read)

    @property
    def _scratch(self) -> Path:
        return self._container.work / "unpacked"

    def _decode_share(self, source: LocatedSource, listing: Listing, layout: Layout) -> None:
        """Decode this host's photos, and give the others what was found and the staged bytes."""
        began, used = time.perf_counter(), _processor_seconds()
        candidates = [candidate.index for candidate in layout.candidates]
        numbers = [int(path.stem) for path in self._container.input("shares")]
        wanted = [index for number in numbers for index in share_of(candidates, number, self._order.shares)]
        if source.objects is not None:
            fetch_objects(self._aws, source.objects, wanted, show_progress)
        own = self._spools / self._container.name
        own.mkdir(parents=True, exist_ok=True)
        outcomes = decode_all(
            listing,
            wanted,
            limits=limits_of(self._settings),
            processes=self._settings.staging_processes,
            spool_dir=own,
            progress=show_progress,
        )
        if len(self._container.hosts) > 1:
            for path in sorted(own.glob("*.spool")):
                self._area.send_file(path, f"{areas.PARTS}/{self._container.name}/{path.name}")
        self._area.tell(f"{areas.ROWS}/{self._container.name}", rows_of(outcomes))
        seconds, processor = time.perf_counter() - began, _processor_seconds() - used
        of_all = f"{len(wanted):,} of {len(candidates):,} photos"
        say(f"decoded {of_all} in {seconds:.2f} s, with {processor:.2f} s of processor time")

    def _outcomes_of_all(self, layout: Layout) -> list[Any]:
        """Wait for the other hosts, fetch the staged bytes of their photos, and return all that was found."""
        hosts = self._container.hosts
        self._area.wait(
            "what the other hosts found",
            lambda: set(hosts) <= set(self._area.told(areas.ROWS)) or None,
            deadline_seconds=ROWS_SECONDS,
        )
        found = []
        for host in hosts:
            outcomes = outcomes_of(self._area.hear(f"{areas.ROWS}/{host}"), self._spools / host)
            found += outcomes
            if host != self._container.name:
                for path in sorted({each.spool for each in outcomes if isinstance(each, Decoded)}):
                    self._area.fetch_file(f"{areas.PARTS}/{host}/{path.name}", path)
        return in_order(found, layout)

    def _tell_verdict(self, examined: Examined) -> list[ShardPlan]:
        """Tell how the shards are packed, and then the verdict; return the plans of the shards."""
        size_bytes = self._settings.shard_size_bytes
        plans = [plan for split in SPLITS for plan in plan_shards(examined.images, split, size_bytes)]
        rows = [
            [plan.split, plan.key, [[number, image.decoded.index, image.class_index] for number, image in plan.images]]
            for plan in plans
        ]
        self._area.tell(areas.PLAN, rows)
        self._area.tell(areas.VERDICT, Verdict.of(examined).to_json())
        return plans

    def _pack_share(self, listing: Listing, decoded: dict[int, Decoded]) -> None:
        """Pack and send every n-th shard, and tell the manifest's rows of them."""
        rows = self._area.hear(areas.PLAN)[self._container.number :: len(self._container.hosts)]

        def send(row: Sequence[Any]) -> dict[str, Any]:
            split, key, members = row
            images = tuple(
                (number, StagedImage(split, label, "", listing.entries[index].name, decoded[index]))
                for number, index, label in members
            )
            plan = ShardPlan(split, key, images)
            data = pack_shard(plan)
            self._area.put(f"{areas.MADE}/{key}", data, "application/x-tar")
            return shard_row(plan, data)

        with ThreadPoolExecutor(self._settings.upload_threads) as pool:
            sent = list(pool.map(send, rows))
        self._area.tell(f"{areas.SHARDS}/{self._container.name}", sent)
        say(f"sent {len(sent)} shards")

    def tell_failure(self, error: KennelError) -> None:
        """Say in the area why this host failed, for the machine that started the job and for the other hosts."""
        here = str(self._order.located(self._settings).path)
        told = [part.replace(here, self._order.place.uri) for part in error.args[:4]]
        self._area.tell(f"{areas.FAILED}/{self._container.name}", {"kind": type(error).__name__, "parts": told})


def settings_in(work: Path, order: Order) -> Settings:
    """Return the settings of a host: the rules of the order, folders of its own, and the processors that it has."""
    processes = os.environ.get(PROCESSES_VARIABLE) or min(len(os.sched_getaffinity(0)), MOST_PROCESSES)
    return Settings(
        home=work / "home",
        runs=work / "runs",
        region=order.region,
        account_id=order.account_id,
        bucket=order.bucket,
        endpoint_url=os.environ.get("AWS_ENDPOINT_URL"),
        staging_processes=int(processes),
        **order.rules,
    )


def _processor_seconds() -> float:
    """Return the processor time of this process and of the workers that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main() -> int:
    """Do this host's part of the job; return 1 when it failed."""
    logging.basicConfig(stream=sys.stdout, level=logging.WARNING, format="%(message)s")
    LOGGER.setLevel(logging.INFO)
    container = Container.around(Path.cwd())
    container.work.mkdir(parents=True, exist_ok=True)
    staging: Staging | None = None
    try:
        staging = Staging(container)
        staging.run()
    except Exception as raised:  # noqa: BLE001 the other hosts would wait for a host that does not say that it ended
        error = raised if isinstance(raised, KennelError) else unexpected(raised, WHERE)
        LOGGER.error(str(error), exc_info=None if error is raised else raised)
        message = container.root / "output" / "message"
        message.parent.mkdir(parents=True, exist_ok=True)
        message.write_text(f"{container.name}: {error.what}: {error.why}. "[:MESSAGE_CHARACTERS])
        if staging is not None:
            staging.tell_failure(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
