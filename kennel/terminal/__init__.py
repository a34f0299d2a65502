"""What a person sees in a terminal: one live view or plain lines, tables, errors, and the log of the run."""
