"""Checks each request against botocore's model of its operation before anything answers it."""
