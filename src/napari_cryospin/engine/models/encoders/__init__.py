"""Encoders of images: M heads that each propose poses, behind one interface."""
