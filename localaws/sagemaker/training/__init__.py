"""Training jobs that run: a process group for each instance, with the `/opt/ml` that a container finds on SageMaker.

`operations.py` is what moto's backend gets in place of its own operations. `parsing.py` and `checks.py` make a
`JobRequest` of what was asked for, `record.py` is what Describe shows, and `runner.py` takes a job through its steps
with `channels.py` (input data), `hosts.py` (the processes), `metrics.py` and `output.py` (checkpoints and the model).
"""
