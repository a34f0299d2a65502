"""The order of a staging job survives the way to a host, and what other stagings add does not change its identity."""

from pathlib import Path

from tasks.account.encryption import Encryption
from tasks.account.objects import StoredObject
from tasks.data.bucket_source import Place, RemoteObjects
from tasks.data.entries import Entry, Listing
from tasks.data.judgement_cache import LocatedSource
from tasks.processing.order import Order
from tasks.run.settings import Settings

OLDEST_FIRST = {"f" * 64: "test", "a" * 64: "train"}


def order_of(known: dict[str, str]) -> Order:
    place = Place("photos", "dogs/")
    remote = RemoteObjects(
        place, (StoredObject("dogs/a.jpg", 1, "e"),), Listing(place.uri, "folder", (Entry("a.jpg", 1),), ())
    )
    source = LocatedSource(place.uri, "dogs", Path("dogs"), objects=remote)
    where = {
        "account_id": "1" * 12,
        "region": "us-east-1",
        "bucket": "kennel-bucket",
        "encryption": Encryption(),
        "shares": 4,
    }
    return Order.of(source, Settings(), known, **where)


def test_the_known_splits_stay_in_the_order_of_their_age() -> None:
    order = order_of(OLDEST_FIRST)

    assert list(Order.from_bytes(order.to_bytes()).known.items()) == list(OLDEST_FIRST.items())
    assert Order.from_bytes(order.to_bytes()).to_bytes() == order.to_bytes()


def test_splits_of_other_sources_do_not_make_another_job() -> None:
    assert order_of({}).digest == order_of(OLDEST_FIRST).digest
    assert order_of({}).to_bytes() != order_of(OLDEST_FIRST).to_bytes()
