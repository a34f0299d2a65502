"""Staging by jobs of one, two and three hosts gives what staging here gives, and no photo goes over this machine."""

import json

from tasks.data.upload import dataset_prefix
from tests.tasks.data.datasets import good_files
from tests.tasks.data.workplace import Workplace
from tests.tasks.processing.photo_buckets import PhotoBucket, stage_remotely


def manifest_of(place: Workplace, digest: str) -> dict[str, object]:
    found = json.loads(place.body(f"{dataset_prefix(digest)}/manifest.json"))
    return {name: value for name, value in found.items() if name != "checksum"}


def test_one_two_and_three_hosts_stage_the_same_dataset_as_this_machine(photos: PhotoBucket) -> None:
    source = photos.put({**good_files(root="", train=6), "train/cat/broken.jpg": b"no photo", "notes.txt": b"x"})
    here = photos.place(max_quarantined_fraction=0.2)
    dataset, _ = here.stage(source)
    wanted = manifest_of(here, dataset.digest)

    for instances in (1, 2, 3):
        place = photos.place(max_quarantined_fraction=0.2)
        outcome = stage_remotely(place, source, instances)
        assert outcome.dataset.digest == dataset.digest, instances
        assert manifest_of(place, dataset.digest) == wanted
        assert place.rows(outcome.dataset) == here.rows(dataset)
        assert {each.name for each in outcome.findings.quarantined} == {"train/cat/broken.jpg"}
