"""Order and decisions: one file per flow that a person deploys or runs. No AWS client, no torch in here."""
