"""Marginal inference: the map from posteriors of poses, over all poses of a grid."""
