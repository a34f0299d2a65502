"""The order of a bucket's keys: pages are those that moto's own way of listing makes, whatever is added and removed."""

import asyncio
import threading
import weakref
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto.s3.models import FakeBucket as MotosBucket
from moto.s3.models import FakeKey as MotosKey
from moto.s3.models import S3Backend, s3_backends

from localaws.object_contents import Store
from localaws.s3.answers import Target
from localaws.s3.backend import ExecutingS3, PolicedBucket, StoredKey
from localaws.s3.frequent import MOST_KEYS_HERE, listed
from localaws.s3.key_store import OrderedKeyStore
from localaws.s3.listing import list_objects

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


class Counted(str):
    """A name that counts how often such names are compared."""

    comparisons: ClassVar[int] = 0

    def __lt__(self, other: str) -> bool:
        Counted.comparisons += 1
        return super().__lt__(other)

    def __gt__(self, other: str) -> bool:
        Counted.comparisons += 1
        return super().__gt__(other)


def test_a_page_after_a_change_does_not_put_all_names_in_order_anew() -> None:
    store = OrderedKeyStore()
    for number in range(5000):
        store[Counted(f"k{number:05}")] = OneKey()
    assert len(list(store.names_from("", "", ""))) == 5000
    Counted.comparisons = 0
    for number in range(20):
        store[Counted(f"k{number:05}a")] = OneKey()
        store.pop(Counted(f"k{number + 100:05}"))
        assert len(list(islice(store.names_from("", "", ""), 10))) == 10
    assert Counted.comparisons < 20 * 500


def test_the_names_of_removed_keys_are_not_kept() -> None:
    store, left = OrderedKeyStore(), []
    for number in range(1000):
        name = Counted(f"k{number}")
        left.append(weakref.ref(name))
        store[name] = OneKey()
        store.pop(name)
    del name
    assert sum(each() is not None for each in left) < 10


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


class WatchedStore(OrderedKeyStore):
    """A store that notes which threads look keys up."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.threads.add(threading.get_ident())
        return super().get(key, default)


@pytest.mark.parametrize(("count", "is_here"), [(10, True), (MOST_KEYS_HERE + 1, False)])
def test_a_large_bucket_is_listed_beside_the_event_loop(store: Store, count: int, is_here: bool) -> None:
    make: Any = PolicedBucket  # abstract to mypy
    bucket = make("bucket", ACCOUNT, "us-east-1")
    bucket.keys = WatchedStore()
    one = StoredKey("k", b"", ACCOUNT, "us-east-1")
    for number in range(count):
        bucket.keys[f"k{number}"] = one
    answer = asyncio.run(listed(Target(ExecutingS3("aws", ACCOUNT), bucket, ""), "list-type=2&encoding-type=url"))
    assert answer is not None and answer.status == 200
    assert (threading.get_ident() in bucket.keys.threads) == is_here


def test_a_page_has_at_most_a_thousand_keys(store: Store) -> None:
    make: Any = PolicedBucket  # abstract to mypy
    bucket, one = make("bucket", ACCOUNT, "us-east-1"), StoredKey("k", b"", ACCOUNT, "us-east-1")
    for number in range(1001):
        bucket.keys[f"k{number}"] = one
    target = Target(ExecutingS3("aws", ACCOUNT), bucket, "")
    answer = list_objects(target, "list-type=2&encoding-type=url&max-keys=5000")
    assert answer is not None and bytes(answer.body).count(b"<Key>") == 1000
    assert b"<IsTruncated>true</IsTruncated>" in bytes(answer.body)
