"""The load generator: it sends an open-model load from inside Locust and judges whether the run is valid.

It runs as a process of its own (`python -m locust -f loadtest/locustfile.py`), because Locust patches the standard
library for gevent. It reads a plan file and writes its results to `loadtest.json`.
"""
