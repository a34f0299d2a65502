"""Prepare the inputs of a training and read its result: backbones, weights, packaged code, the model archive.

This room may import `run` and `account`.
"""
