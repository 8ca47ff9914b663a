"""Models: encoder, volume, image formation."""
