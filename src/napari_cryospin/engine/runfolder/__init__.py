"""A run on disk: its names, versions, readers and lock; knows neither torch nor training."""
