"""Deploys what answers requests: endpoint, function, their autoscaling and concurrency, and the smoke test.

May import `run`, `account` and `scaling`.
"""
