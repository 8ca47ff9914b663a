"""One slot between two threads, in which the latest wins."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """Holds at most one item: a new one replaces one that nobody has taken.

    So a slow reader skips states, and never slows the writer or lets a queue grow.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._item: Item | None = None

    def put(self, item: Item | None) -> None:
        """Leave an item, or empty the slot with None."""
        with self._lock:
            self._item = item

    def take(self) -> Item | None:
        """Take the item out, or None if there is none."""
        with self._lock:
            item, self._item = self._item, None
            return item
