"""Staging in the cloud: a processing job of SageMaker whose hosts read photos from S3, judge them and write the shards.

`tasks.data` has the rules, which are the same here and there. `host` and what it imports also runs in the containers.
"""
