"""The row of the Results tab that goes on with the symmetry that a run has found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Slot
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QSizePolicy, QWidget

from napari_cryospin.engine.runfolder.symmetry import symmetrised_name
from napari_cryospin.engine.symmetry_names import parts_of
from napari_cryospin.gui.work.brancher import Brancher, Wish

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.gui.work.session import Session


class SymmetryRow(QWidget):
    """A button that goes on with the point group of a verdict, or with a part of it.

    Parameters
    ----------
    session
        Its run is gone on from, in a run of its own, which begins at once.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._run: Path | None = None
        self.brancher = Brancher(session, self)
        self.button = QPushButton()
        self.button.setObjectName("results_symmetrise")
        self.button.setToolTip(
            "A new run: map and poses are turned to the axes of the symmetry, and all poses are "
            "found again with it. This run stays as it is"
        )
        self.button.clicked.connect(self._on_clicked)
        self.group = QComboBox()
        self.group.setObjectName("results_symmetry")
        self.group.setToolTip("The symmetry that was found, and the groups that are parts of it")
        self.group.currentTextChanged.connect(self._say)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self.button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        row.addWidget(self.button)
        row.addWidget(self.group)
        self.hide()

    def offer(self, run: Path | None, symmetry: str | None) -> None:
        """Offer to go on from a run with a point group; without one there is nothing to see."""
        if (run, symmetry) != (self._run, self._offered):
            self._run = run
            self.group.clear()
            if symmetry is not None:
                self.group.addItems([symmetry, *parts_of(symmetry)])
        self.setVisible(symmetry is not None)

    @property
    def _offered(self) -> str | None:
        return self.group.itemText(0) or None

    @Slot(str)
    def _say(self, symmetry: str) -> None:
        self.button.setText(f"Go on with {symmetry}")

    @Slot()
    def _on_clicked(self) -> None:
        run, symmetry = self._run, self.group.currentText()
        if run is None:
            return
        out, number = symmetrised_name(run, symmetry), 2
        while out.exists() or out.is_symlink():
            out, number = run.with_name(f"{run.name}_{symmetry}-{number}"), number + 1
        self.brancher.make(Wish(run, 0, out, symmetrise=symmetry))
