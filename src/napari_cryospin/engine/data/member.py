"""From which membership on an image counts as showing the particle: one number for all rooms."""

from __future__ import annotations

MEMBER = 0.5
