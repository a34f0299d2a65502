"""Starts and stops the local servers: the embedded AWS, and Prefect's server with its work pool."""
