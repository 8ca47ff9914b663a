"""The button beside the slider of epochs: branch the run from the epoch that is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Slot
from qtpy.QtWidgets import QPushButton, QWidget

from napari_cryospin.engine.runfolder.branch_points import no_branch_point, points_of
from napari_cryospin.gui.views.branch_dialog import BranchDialog
from napari_cryospin.gui.work.brancher import Brancher

if TYPE_CHECKING:
    from napari_cryospin.gui.explorer.state import Explorer


class BranchButton(QPushButton):
    """Opens the dialog of a branch from the shown epoch; live, from the last one that serves.

    An epoch that cannot be branched from is told as such, with those that can.

    Parameters
    ----------
    explorer
        Says which epoch of which run is shown.
    """

    def __init__(self, explorer: Explorer, parent: QWidget | None = None) -> None:
        super().__init__("Branch …", parent)
        self.setObjectName("branch")
        self._explorer, self.brancher = explorer, Brancher(explorer.session, self)
        self.dialog: BranchDialog | None = None
        self.clicked.connect(self._on_clicked)
        explorer.recorded_changed.connect(self._say)
        explorer.epoch_changed.connect(self._say)
        self._say()

    def _epochs(self) -> list[int]:
        folder = self._explorer.session.folder
        return [] if folder is None else list(points_of(folder))

    def _at(self) -> int | None:
        """Return the epoch that a branch would begin after, from 1; None where there is none."""
        if self._explorer.epoch is not None:
            return self._explorer.epoch + 1
        return max(self._epochs(), default=None)

    @Slot()
    @Slot(object)
    def _say(self, _what: object = None) -> None:
        """Say in the tip from where a branch would begin, or why none can."""
        session, at = self._explorer.session, self._at()
        self.setEnabled(session.folder is not None and bool(self._explorer.recorded))
        if session.folder is None or at is None:
            self.setToolTip("Branch the run: go on from an epoch of it with other settings")
        elif at in self._epochs():
            self.setToolTip(f"Branch from epoch {at}: go on from there with other settings")
        else:
            self.setToolTip(no_branch_point(session.folder, at, self._epochs()))

    @Slot()
    def _on_clicked(self) -> None:
        session, at, epochs = self._explorer.session, self._at(), self._epochs()
        if session.folder is None or session.settings is None:
            return
        if at is None or at not in epochs:
            session.message.emit(no_branch_point(session.folder, at, epochs))
            return
        self.dialog = BranchDialog(
            session.folder,
            at,
            session.settings,
            session.history,
            active=session.active,
            parent=self.window(),
        )
        self.dialog.wished.connect(self.brancher.make)
        self.dialog.finished.connect(self._on_finished)
        self.dialog.open()

    @Slot(int)
    def _on_finished(self, _result: int) -> None:
        dialog, self.dialog = self.dialog, None
        if dialog is not None:
            dialog.deleteLater()
