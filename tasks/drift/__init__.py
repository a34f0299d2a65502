"""Whether the photos that an endpoint is asked about, and its answers, have changed since it was tested."""
