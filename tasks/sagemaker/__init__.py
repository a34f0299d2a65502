"""Training on SageMaker: the job is created or adopted, followed and checked, and its result is downloaded.

May import `run`, `account` and `model`.
"""
