"""Permissions at work: who asks, what a request asks for, what policies decide about it, and the record of it all.

The policy language itself is in `localaws.policies`; IAM's own operations are in `localaws.iam`.
"""
