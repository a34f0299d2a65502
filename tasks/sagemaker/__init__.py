"""A SageMaker training job: create or adopt it, follow it, check its result, keep what it made.

May import `run`, `account` and `model`.
"""
