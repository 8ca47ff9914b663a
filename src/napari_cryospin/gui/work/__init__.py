"""The session, and work off the main thread."""
