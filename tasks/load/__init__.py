"""Runs load tests: the Locust generator, its images and report, the capacity ladder, load profiles, disturbances.

May import `run`, `scaling` and `serving`.
"""
