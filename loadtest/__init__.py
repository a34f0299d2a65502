"""The load generator: an open model inside Locust, and the maths that says what a run is worth.

Runs as a process of its own (`python -m locust -f loadtest/locustfile.py`), because Locust patches the standard
library for gevent. What it is told comes in a plan file, what it measured goes into `loadtest.json`.
"""
