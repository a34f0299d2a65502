"""What belongs to the AWS account and not to one stage: bucket, objects, roles, logs, container images, prices.

May import `run`.
"""
