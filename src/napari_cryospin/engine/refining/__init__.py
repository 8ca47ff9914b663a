"""Poses refined against a map that stays, each image for itself."""
