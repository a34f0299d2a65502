"""Who may ask: requests of this machine's programs, signed with a key that this server issued, and no web page's."""
