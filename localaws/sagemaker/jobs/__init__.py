"""What the jobs that run on hosts have in common: a process group for each instance, with the `/opt/ml` of a container.

Training and processing jobs are built on it. `requests.py` is what every request asks for, `checks.py` checks it,
`runner.py` takes a job through its steps with `channels.py` (input data), `hosts.py` (the processes) and `network.py`.
"""
