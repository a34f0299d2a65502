"""Processing jobs that run: a process group for each instance, with `/opt/ml/processing` as a container finds it.

`operations.py` is what moto's backend gets in place of its own operations. `parsing.py` and `checks.py` make a
`ProcessingRequest` of what was asked for, `record.py` is what Describe shows, and `runner.py` takes a job through its
steps by the machinery of `localaws/sagemaker/jobs`.
"""
