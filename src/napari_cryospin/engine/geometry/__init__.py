"""Geometry: rotations, pose grids, Fourier and Hartley transforms."""
