"""IAM's policy language: documents, conditions, and the decision over all the policies that a request meets.

It knows no service and no server: what is asked, by whom and in which circumstances is told by `Request`. Not
evaluated: service control policies and resource control policies, which belong to an organization.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""
