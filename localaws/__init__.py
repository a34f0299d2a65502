"""An AWS embedded in one process: moto's state and wire protocol, with processes that really do the work.

It imports nothing from the other rooms of this project.
"""
