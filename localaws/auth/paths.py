"""Where localaws's own paths begin."""

PREFIX = "/_localaws/"
CONSOLE = PREFIX + "console/"
