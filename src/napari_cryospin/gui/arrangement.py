"""How the docks lie: a first arrangement for the screen, then the user's own, remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtCore import QByteArray, QEvent, QObject, QSettings, Qt, QTimer, Signal, Slot
from qtpy.QtWidgets import QDockWidget, QMainWindow

from napari_cryospin.gui.work.ancestor import ancestor

if TYPE_CHECKING:
    import napari
    from qtpy.QtWidgets import QWidget

EXPLORER = "cryoSPIN posterior"
COMPARE = "cryoSPIN compare"
# logical pixels: in a smaller window the explorer is closed at first, and napari's docks are tabs
_LARGE = (1500, 800)
_DOCK_WIDTHS, _EXPLORER_HEIGHT = (340, 440), 330
_NAPARI_WIDTH = 230
# wishes within this time are one
_REMEMBER_MS = 500


class Arrangement(QObject):
    """Docks the explorer beside the main dock, and keeps how the user arranges them.

    The canvas comes first: the main dock stands to its right over the whole height, the explorer
    lies below it, wide. What the user makes of that is kept for each size of screen.

    Parameters
    ----------
    viewer
        Its window holds the docks.
    main, explorer
        Contents of the two docks; ``main`` owns this.
    compare
        Contents of a third one, which is made when it is first asked for.
    """

    explorer_shown = Signal(bool)
    compare_shown = Signal(bool)

    def __init__(
        self, viewer: napari.Viewer, main: QWidget, explorer: QWidget, compare: QWidget
    ) -> None:
        super().__init__(main)
        self._viewer, self._main, self._explorer = viewer, main, explorer
        self._compare = compare
        self._arranged = False
        self._remember = QTimer(self)
        self._remember.setSingleShot(True)
        self._remember.setInterval(_REMEMBER_MS)
        self._remember.timeout.connect(self.remember)
        # ends with this object, unlike a single shot
        self._standing = QTimer(self)
        self._standing.setSingleShot(True)
        self._standing.setInterval(0)
        self._standing.timeout.connect(self._arrange)
        main.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Arrange the docks when the main one is first shown; follow what is done with them."""
        kind = None if event is None else event.type()
        if watched is self._main and kind == QEvent.Type.Show and not self._arranged:
            self._arranged = True
            # the dock is being added to the window: once it stands
            self._standing.start()
        elif self._arranged and kind in (QEvent.Type.Resize, QEvent.Type.Show, QEvent.Type.Hide):
            self._remember.start()
        return False

    @property
    def shows_explorer(self) -> bool:
        """Whether the explorer's dock is open."""
        dock = _dock_around(self._explorer)
        return dock is not None and not dock.isHidden()

    @Slot(bool)
    def show_explorer(self, shown: bool) -> None:
        """Open or close the explorer's dock."""
        dock = _dock_around(self._explorer) or self._dock_explorer()
        if dock is None:
            return
        dock.setVisible(shown)
        if shown:
            dock.raise_()

    @Slot(bool)
    def show_compare(self, shown: bool) -> None:
        """Open or close the dock in which runs are compared; it is a tab beside the explorer."""
        dock = self._compare_dock
        if dock is None:
            window = self._window
            if window is None or not shown:
                return
            self._viewer.window.add_dock_widget(self._compare, name=COMPARE, area="bottom")
            # napari returns a stand-in
            dock = self._compare_dock
            assert dock is not None
            dock.visibilityChanged.connect(self._on_compare_visibility)
            explorer = _dock_around(self._explorer)
            if explorer is not None and not explorer.isHidden():
                window.tabifyDockWidget(explorer, dock)
            else:
                window.resizeDocks([dock], [_EXPLORER_HEIGHT], Qt.Orientation.Vertical)
        dock.setVisible(shown)
        if shown:
            dock.raise_()

    @Slot()
    def remember(self) -> None:
        """Keep the present arrangement for screens of this size."""
        window = self._window
        if window is not None and _dock_around(self._explorer) is not None:
            _settings().setValue(self._key(window), window.saveState())

    @property
    def _window(self) -> QMainWindow | None:
        window: QMainWindow | None = ancestor(self._main, QMainWindow)
        return window

    @Slot()
    def _arrange(self) -> None:
        window = self._window
        # alone, as in a test or a window of its own
        if window is None:
            return
        # it is docked already where it was asked for at once
        if _dock_around(self._explorer) is None:
            self._dock_explorer()
        self._arrange_first(window)
        kept = _settings().value(self._key(window))
        if isinstance(kept, QByteArray):
            window.restoreState(kept)
        self.explorer_shown.emit(self.shows_explorer)

    def _dock_explorer(self) -> QDockWidget | None:
        window = self._window
        if window is None:
            return None
        dock: QDockWidget = self._viewer.window.add_dock_widget(
            self._explorer, name=EXPLORER, area="bottom"
        )
        dock.visibilityChanged.connect(self._on_visibility)
        self._explorer.installEventFilter(self)
        main = _dock_around(self._main)
        if main is not None:
            main.destroyed.connect(self._on_main_gone)
        window.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
        return dock

    @Slot()
    def _on_main_gone(self) -> None:
        """Close the other docks with the main one, unless the window itself is being closed."""
        for contents in (self._explorer, self._compare):
            alive = isalive(contents)  # type: ignore[no-untyped-call]
            dock = _dock_around(contents) if alive else None
            if contents is self._compare and alive:
                dock = self._compare_dock
            window = None if dock is None else dock.parent()
            if isinstance(window, QMainWindow) and window.isVisible():
                self._viewer.window.remove_dock_widget(dock)
                # now, while all that listens to it is there, not when Python comes to its garbage
                contents.deleteLater()

    def _arrange_first(self, window: QMainWindow) -> None:
        main, explorer = _dock_around(self._main), _dock_around(self._explorer)
        assert main is not None and explorer is not None
        large = window.width() >= _LARGE[0] and window.height() >= _LARGE[1]
        napari_docks = [
            dock
            for dock in window.findChildren(QDockWidget)
            if window.dockWidgetArea(dock) == Qt.DockWidgetArea.LeftDockWidgetArea
            and not dock.isHidden()
        ]
        if not large and len(napari_docks) > 1:
            for dock in napari_docks[:-1]:
                window.tabifyDockWidget(napari_docks[-1], dock)
            napari_docks[-1].raise_()
        explorer.setVisible(large)
        sideways = Qt.Orientation.Horizontal
        window.resizeDocks([main], [_DOCK_WIDTHS[large]], sideways)
        if napari_docks:
            window.resizeDocks(napari_docks[:1], [_NAPARI_WIDTH], sideways)
        window.resizeDocks([explorer], [_EXPLORER_HEIGHT], Qt.Orientation.Vertical)

    @staticmethod
    def _key(window: QMainWindow) -> str:
        screen = window.screen()
        assert screen is not None
        size = screen.geometry()
        return f"arrangement/{size.width()}x{size.height()}"

    @property
    def _compare_dock(self) -> QDockWidget | None:
        """The dock of the comparison; until it has one it lies in the main one, out of sight."""
        dock = _dock_around(self._compare)
        return None if dock is _dock_around(self._main) else dock

    @Slot(bool)
    def _on_compare_visibility(self, _visible: bool) -> None:
        dock = self._compare_dock
        self.compare_shown.emit(dock is not None and not dock.isHidden())

    @Slot(bool)
    def _on_visibility(self, _visible: bool) -> None:
        self.explorer_shown.emit(self.shows_explorer)
        self._remember.start()


def _settings() -> QSettings:
    return QSettings(
        QSettings.Format.IniFormat, QSettings.Scope.UserScope, "napari-cryospin", "window"
    )


def _dock_around(widget: QWidget) -> QDockWidget | None:
    dock: QDockWidget | None = ancestor(widget, QDockWidget)
    return dock
