"""The Classes tab of the explorer: the classes of a run, and what to do with some of them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Signal, Slot
from qtpy.QtWidgets import QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_cryospin.gui.explorer.of_classes import class_words
from napari_cryospin.gui.views.classes_view import ClassCertainty, ClassMembers, ClassTable
from napari_cryospin.gui.views.export import SaveButtons
from napari_cryospin.gui.views.flowing import turning_box, turning_row
from napari_cryospin.gui.views.scrolling import scrolling_layout

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtGui import QShowEvent

    from napari_cryospin.engine.events import PosesUpdated
    from napari_cryospin.gui.explorer.state import Explorer


class ClassesPanel(QWidget):
    """A table of the classes with buttons, and how sure particles are to be of theirs.

    The signals carry the particles of the selected classes, an int64 array.

    Parameters
    ----------
    explorer
        What is looked at.
    """

    select_asked = Signal(object)
    drop_asked = Signal(object)
    take_back_asked = Signal(object)
    save_asked = Signal(object)

    def __init__(self, explorer: Explorer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._explorer = explorer
        self._members: ClassMembers | None = None
        self._build()
        explorer.poses_changed.connect(self._refresh)
        explorer.run_changed.connect(self._refresh)
        explorer.particle_changed.connect(self._say_particle)

    def _build(self) -> None:
        self.table, self.certainty = ClassTable(self), ClassCertainty(self)
        self.table.changed.connect(self._on_selection)
        for view in (self.table, self.certainty):
            # as high as the page leaves them: low ones do without scrolling
            view.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self.select = self._button("Select particles")
        self.select.setToolTip(
            "Select the particles of the selected classes in the table of particles"
        )
        self.drop = self._button("Drop class")
        self.drop.setToolTip(
            "Leave the particles that are now of the selected classes out of training from the "
            "next epoch on. Their maps stay in the run, and particles that are in use may still "
            "change to them"
        )
        self.take_back = self._button("Take back")
        self.take_back.setToolTip(
            "Use the particles that are now of the selected classes in training again, from the "
            "next epoch on"
        )
        self.save = self._button("Export class…")
        self.save.setToolTip(
            "Save the particles in use of the selected classes with their present poses as a STAR "
            "file: the particles of a next run. Several selected classes are merged into one file; "
            "each keeps the poses relative to its own map"
        )
        for button, signal in (
            (self.select, "select"),
            (self.drop, "drop"),
            (self.take_back, "take_back"),
            (self.save, "save"),
        ):
            button.clicked.connect(partial(self._ask, signal))
        self.note = QLabel("", self)
        self.note.setWordWrap(True)
        self.particle = QLabel("", self)
        self.particle.setWordWrap(True)
        save = SaveButtons(self.certainty, self)
        save.message.connect(self._explorer.message)
        left, right = QVBoxLayout(), QVBoxLayout()
        left.addWidget(self.note)
        left.addWidget(self.table, 1)
        left.addLayout(turning_row(self, self.select, self.save, self.drop, self.take_back))
        right.addWidget(self.particle)
        right.addWidget(self.certainty, 1)
        right.addWidget(save)
        layout = scrolling_layout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.addLayout(turning_box(self, (left, 1), (right, 1)), 1)
        self._on_selection()

    def _button(self, text: str) -> QPushButton:
        button = QPushButton(text, self)
        button.setMinimumWidth(button.sizeHint().width())
        return button

    def showEvent(self, event: QShowEvent | None) -> None:
        """Catch up with what happened while the tab was hidden."""
        super().showEvent(event)
        self._refresh()

    @Slot()
    @Slot(object)
    def _refresh(self, _event: object = None) -> None:
        poses = self._explorer.poses
        if not self.isVisible():
            return
        self._members = _members_of(poses)
        self.table.set_members(self._members)
        self.certainty.set_members(self._members)
        self._on_selection()
        self._say_particle()

    @Slot()
    @Slot(int)
    def _say_particle(self, _particle: int = 0) -> None:
        explorer = self._explorer
        poses, particle = explorer.poses, explorer.particle
        known = poses is not None and particle < len(poses.used)
        words = class_words(poses, particle) if known else ""
        number = explorer.number(particle) if words else 0
        self.particle.setText(f"Particle {number}: {words}" if words else "")

    def _ask(self, what: str, _checked: bool = False) -> None:
        in_use, now = what in ("drop", "save"), what in ("drop", "take_back")
        getattr(self, f"{what}_asked").emit(self.chosen(in_use=in_use, now=now))

    def chosen(self, *, in_use: bool, now: bool = False) -> NDArray[np.int64]:
        """Return the particles of the selected classes, those in use alone or all.

        They are of these classes ``now``, as the run tells it, or in the epoch that is shown.
        """
        # training goes on, whichever epoch is looked at
        members = _members_of(self._explorer.session.latest_poses) if now else self._members
        if members is None:
            return np.empty(0, dtype=np.int64)
        here = np.isin(members.classes, self.table.selected)
        if in_use:
            here &= members.used
        return np.flatnonzero(here)

    @Slot()
    def _on_selection(self) -> None:
        n = len(self.table.selected)
        for button in (self.select, self.drop, self.take_back, self.save):
            button.setEnabled(n > 0)
        self.save.setText("Export merged…" if n > 1 else "Export class…")
        merged = f"{n} classes are selected: what is exported is one file of them all."
        self.note.setText(
            merged if n > 1 else "" if n else "Select a class, or several to merge them (Ctrl)."
        )


def _members_of(poses: PosesUpdated | None) -> ClassMembers | None:
    """Return who is of which class; None where there is one map alone."""
    if poses is None or poses.classes is None or poses.class_weights is None:
        return None
    # who has no pose yet is of no class
    placed = poses.winner >= 0
    classes = np.where(placed, poses.classes, -1)
    return ClassMembers(classes, poses.class_weights, poses.used & placed)
