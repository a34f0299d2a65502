"""What a training starts from and leaves: backbones, weights, packaged code, the archive of a trained model.

May import `run` and `account`.
"""
