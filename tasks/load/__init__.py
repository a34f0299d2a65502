"""Runs load tests: the Locust generator, its images and report, the capacity ladder, load profiles, disturbances.

May import `run`, `account`, `ssh`, `ec2`, `scaling` and `serving`; only the workers need `account`, `ssh` and `ec2`.
"""
