"""The order of a bucket's keys: pages are those that moto's own way of listing makes, whatever is added and removed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto.s3.models import FakeBucket as MotosBucket
from moto.s3.models import FakeKey as MotosKey
from moto.s3.models import S3Backend, s3_backends

from localaws.object_contents import Store
from localaws.s3.backend import ExecutingS3, PolicedBucket, StoredKey
from localaws.s3.key_store import OrderedKeyStore

ACCOUNT = "123456789012"
NAMES = st.text(st.sampled_from("ab/\U0010ffff"), min_size=1, max_size=5)
CHANGES = st.lists(st.tuples(st.booleans(), NAMES), max_size=30)


class OneKey:
    """A version of a key."""

    def dispose(self) -> None:
        """Do nothing: it has no content."""


@given(changes=CHANGES)
@settings(deadline=None)
def test_names_are_in_order_after_any_additions_and_removals(changes: list[tuple[bool, str]]) -> None:
    store = OrderedKeyStore()
    for is_added, name in changes:
        if is_added:
            store.setlist(name, [OneKey()])
        elif name in store:
            store.pop(name)
        if name.endswith("a"):  # it is read now and then, not always
            assert list(store.names_from("", "", "")) == sorted(store)
    assert list(store.names_from("", "", "")) == sorted(store)


def test_a_name_that_is_removed_while_names_are_read_disturbs_no_reader() -> None:
    store = OrderedKeyStore()
    for name in ("a", "b", "c"):
        store[name] = OneKey()
    reading: Iterator[str] = store.names_from("", "", "")
    assert next(reading) == "a"
    store.pop("b")
    store["b0"] = OneKey()
    assert "c" in list(reading)
    assert list(store.names_from("", "", "")) == ["a", "b0", "c"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    StoredKey.store = Store(Path(tmp_path_factory.mktemp("objects")))
    yield StoredKey.store
    s3_backends.bucket_accounts.pop("bucket", None)


@given(
    names=st.sets(NAMES, max_size=12),
    prefix=st.sampled_from(["", "a", "a/", "b"]),
    delimiter=st.sampled_from(["", "/", "b"]),
    after=st.sampled_from(["", "a", "a/", "a/b", "b"]),
    size=st.integers(0, 5),
)
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_page_is_the_one_that_moto_makes_by_looking_at_all_keys(
    store: Store, names: set[str], prefix: str, delimiter: str, after: str, size: int
) -> None:
    def page(backend: Any, bucket: Any, make: type[Any]) -> tuple[list[str], bool, bool]:
        for name in names:
            bucket.keys[name] = make(name, b"", ACCOUNT, "us-east-1")
        found, is_truncated, token = backend.list_objects_v2(bucket, prefix, delimiter, None, after, size)
        names_found = [each if isinstance(each, str) else each.name for each in found]
        return names_found, is_truncated, token is not None

    about = ("bucket", ACCOUNT, "us-east-1")
    buckets: tuple[Any, Any] = PolicedBucket, MotosBucket  # abstract to mypy
    own = page(ExecutingS3("aws", ACCOUNT), buckets[0](*about), StoredKey)
    moto = page(S3Backend("aws", ACCOUNT), buckets[1](*about), MotosKey)
    assert own == moto
