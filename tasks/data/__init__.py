"""Turn a source of images into a staged dataset: download, read, check the layout, decode, judge, pack and upload.

This room may import `run` and `account`.
"""
