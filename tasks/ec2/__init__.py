"""Training on EC2: prices, plan, access and launch of the instances, the job on them, its result, their termination.

May import `run`, `account`, `model` and `ssh`.
"""
