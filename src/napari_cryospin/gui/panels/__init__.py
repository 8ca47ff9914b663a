"""The panels of the dock, but for the explorer."""
