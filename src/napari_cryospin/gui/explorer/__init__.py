"""The posterior explorer: its state, its panels, and who computes for them."""
