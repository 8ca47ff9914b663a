"""The dock and its views: shows engine state and sends commands; no mathematics."""
