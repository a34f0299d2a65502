"""Starts Locust workers on EC2 instances over SSH, for a load test whose master is on this machine."""
