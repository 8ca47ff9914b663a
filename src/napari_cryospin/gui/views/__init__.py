"""Views of data: each shows what it is given, and knows nothing of sessions."""
