"""Hyperparameter tuning jobs that run: they propose values, start ordinary training jobs with them, and find the best.

`operations.py` is what moto's backend gets in place of its own operations. `parsing.py` makes a `TuningRequest` of what
was asked for, of `ranges.py`. `search.py` proposes values and knows nothing of jobs, `stopping.py` decides which
training jobs are stopped early and when the tuning is over, `trials.py` looks at one of them, `record.py` is what
Describe shows, and `runner.py` does it all.
"""
