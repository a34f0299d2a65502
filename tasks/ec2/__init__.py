"""Training on EC2 instances: prices, plan, access, launch, the remote job and its result, the end of the instances.

May import `run`, `account`, `model` and `ssh`.
"""
