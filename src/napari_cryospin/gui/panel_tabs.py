"""Tabs whose panels scroll only where the window is too small for them."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QTabWidget, QWidget


class PanelTabs(QTabWidget):
    """Tabs of panels; a panel stands for its page, which scrolls up and down."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pages: dict[QWidget, QScrollArea] = {}

    def add_panel(self, panel: QWidget, name: str) -> None:
        """Add a tab for a panel."""
        page = QScrollArea()
        page.setWidgetResizable(True)
        page.setFrameShape(QFrame.Shape.NoFrame)
        page.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        page.setWidget(panel)
        # room beside the panel for the scroll bar: nothing is hidden to the right
        bar = page.verticalScrollBar().sizeHint().width()
        page.setMinimumWidth(panel.minimumSizeHint().width() + bar)
        self._pages[panel] = page
        self.addTab(page, name)

    def setCurrentWidget(self, widget: QWidget | None) -> None:
        """Show the tab of a panel."""
        assert widget is not None
        super().setCurrentWidget(self._pages[widget])
