"""What a widget is in: a dock widget, a window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget


def ancestor(widget: QWidget, kind: type[Any]) -> Any:
    """Return the nearest widget of a kind that a widget is in, or None."""
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, kind):
        parent = parent.parentWidget()
    return parent
