"""Which pages the console has, with what each shows and whether it is kept up to date."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from localaws.console.account import Account
from localaws.console.views import endpoints, functions, identities, jobs, machines, measures, overview, storage
from localaws.console.views.missing import Missing

__all__ = ["PAGES", "Missing", "Page"]

Values = Callable[[Account, Mapping[str, str]], dict[str, Any]]


@dataclass(frozen=True)
class Page:
    """One page. `values` makes what its template shows of the account and the query.

    `within`: the page that leads to it. A page that is not live shows what would take long to look at each second.
    """

    name: str
    title: str
    values: Values
    within: str = ""
    is_live: bool = True

    @property
    def template(self) -> str:
        """The file of its template."""
        return f"{self.name or 'overview'}.html"


PAGES = {
    page.name: page
    for page in (
        Page("", "Overview", overview.values),
        Page("jobs", "Jobs", jobs.listed),
        Page("job", "Training job", jobs.one, "jobs"),
        Page("tuning", "Tuning job", jobs.tuning, "jobs"),
        Page("processing", "Processing job", jobs.processing, "jobs"),
        Page("endpoints", "Endpoints", endpoints.listed),
        Page("endpoint", "Endpoint", endpoints.one, "endpoints"),
        Page("functions", "Functions", functions.listed),
        Page("function", "Function", functions.one, "functions"),
        Page("instances", "EC2", machines.instances),
        Page("instance", "Instance", machines.instance, "instances"),
        Page("notebooks", "Notebooks", machines.notebooks),
        Page("buckets", "S3", storage.buckets, is_live=False),
        Page("bucket", "Bucket", storage.bucket, "buckets", is_live=False),
        Page("roles", "IAM", identities.listed),
        Page("role", "Role", identities.one, "roles"),
        Page("alarms", "Alarms", measures.alarms),
        Page("metrics", "Metrics", measures.metrics),
        Page("requests", "Requests", measures.requests),
    )
}
