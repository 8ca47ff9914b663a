"""Layers, spheres and the camera of the canvas."""
