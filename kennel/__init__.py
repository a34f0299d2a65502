"""The `kennel` command: parses arguments, starts the local services, runs the flows and prints what came of it."""

__version__ = "0.1.0"

REFERENCE_DATA = "https://s3-us-west-1.amazonaws.com/udacity-aind/dog-project/dogImages.zip"
"""The dataset that a run on real AWS takes when none is named: 133 dog breeds, 8,351 images."""
SAMPLE = "sample"
"""What `--data` names where no data is named, on the embedded AWS."""
