"""What a page says that is asked for something that is not there."""


class Missing(Exception):
    """There is no such thing (any more); the message names it."""
