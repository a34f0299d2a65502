"""EC2: instances that run, with SSH, user data and instance metadata."""
