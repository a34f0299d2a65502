"""The `kennel` command: it parses arguments, starts the local servers, runs the flows and prints their results."""

__version__ = "0.1.0"

REFERENCE_DATA = "https://s3-us-west-1.amazonaws.com/udacity-aind/dog-project/dogImages.zip"
"""The default dataset of a run on real AWS: 133 dog breeds, 8,351 images."""
SAMPLE = "sample"
"""The default of `--data` on the embedded AWS."""
