"""Data in: particle tables and stacks, CTF, preprocessing, and the simulator."""
