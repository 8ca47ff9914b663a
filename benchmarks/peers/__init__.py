"""Other programs for ab-initio reconstruction, each run as its users run it."""
