"""Whether an endpoint's model is to be trained anew, and what came of it."""
