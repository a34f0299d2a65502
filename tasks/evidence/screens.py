"""Decides which pages of the console a run has to show: those that the reference project asks pictures of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

from tasks.run.handle import Run
from tasks.run.records import DatasetRef, EndpointRef, FunctionRef, InstanceModel, TrainedModel

_WHERE = {"model": "SageMaker", "ec2-model": "EC2, packed from its TrainedModels folder"}


@dataclass(frozen=True)
class Wanted:
    """A page to keep: the name of its file, what it shows, and its address below the console's token."""

    name: str
    caption: str
    page: str


def wanted_screens(run: Run) -> list[Wanted]:
    """Return the pages that show what the run made, in the order in which it made it.

    Raises:
        LedgerRefused: the ledger or a record cannot be read.
    """
    rows = run.ledger.rows()
    notebooks = [row for row in rows if row.kind == "notebook-instance" and row.is_live]
    instances = [row.identifier for row in rows if row.kind == "instance" and row.identifier]
    scaled = any(row.kind == "scalable-target" and row.is_live for row in rows)
    wanted = [Wanted("notebooks", "The notebook instances", "notebooks")] if notebooks else []
    wanted += _stored(run)
    if instances:
        wanted.append(Wanted("ec2", "The EC2 instances", "instances"))
        last = _page("instance", id=instances[-1])
        wanted.append(Wanted("ec2-console", "The last EC2 instance, its security group and its console output", last))
    return [*wanted, *_served(run, is_scaled=scaled)]


def _stored(run: Run) -> Iterator[Wanted]:
    dataset = run.find(DatasetRef)
    if dataset is not None:
        page = _page("bucket", name=dataset.bucket, prefix=f"{dataset.prefix}/")
        yield Wanted("bucket", "The bucket: the staged photos, in shards by split", page)
    for name, model in (("model", run.find(TrainedModel)), ("ec2-model", run.find(InstanceModel))):
        if model is not None:
            bucket, _, key = model.model_uri.removeprefix("s3://").partition("/")
            page = _page("bucket", name=bucket, prefix=f"{key.rpartition('/')[0]}/")
            yield Wanted(name, f"The bucket: the model that was trained on {_WHERE[name]}", page)


def _served(run: Run, *, is_scaled: bool) -> Iterator[Wanted]:
    endpoint, function = run.find(EndpointRef), run.find(FunctionRef)
    if endpoint is not None:
        page = _page("endpoint", name=endpoint.name, parts="instances,log")
        yield Wanted("endpoint", "The endpoint, its variant and its instances", page)
    if function is not None:
        page = _page("function", name=function.name, parts="versions,log")
        yield Wanted("function", "The function after its test: versions, alias and last invocations", page)
        yield Wanted(
            "role", "The function's role: what it used, and its policies", _page("role", arn=function.role_arn)
        )
        page = _page("function", name=function.name, parts="concurrency,charts")
        yield Wanted("concurrency", "The function's concurrency: reserved, provisioned and in use", page)
    if endpoint is not None and is_scaled:
        page = _page("endpoint", name=endpoint.name, parts="scaling,charts")
        yield Wanted("autoscaling", "The endpoint's autoscaling: limits, policy, alarms, activities", page)


def _page(page: str, /, **query: str) -> str:
    return f"{page}?{urlencode(query, errors='replace')}"
