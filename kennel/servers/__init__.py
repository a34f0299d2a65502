"""The local servers: the embedded AWS, Prefect's server and work pool, their processes and ports."""
