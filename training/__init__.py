"""The training and serving code, which runs in SageMaker's containers and on EC2 instances.

It imports nothing else of this repository.
"""
