"""The embedded AWS: moto's state and wire protocol, with processes that really do the work. Imports nothing of ours."""
