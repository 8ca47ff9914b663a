"""Sums over poses, exact or sampled: what they tell of images, and searches made of them."""
