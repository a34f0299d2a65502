"""Work with resources of the AWS account that several stages share: bucket, objects, roles, logs, images, prices.

This room may import `run`.
"""
