"""From a source of images to a staged dataset: download, archive, layout, judging, shards, upload, report.

May import `run` and `account`.
"""
