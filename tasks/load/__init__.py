"""Load tests: the Locust generator, its images and report, the capacity ladder, profiles, what disturbs a machine.

May import `run`, `scaling` and `serving`.
"""
