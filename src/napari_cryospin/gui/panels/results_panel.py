"""The Results tab: take the map and the poses away, repeat the run, open or resume another."""

from __future__ import annotations

import shutil
from os.path import isdir, isfile
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QUrl, Slot
from qtpy.QtGui import QDesktopServices, QGuiApplication
from qtpy.QtWidgets import (
    QBoxLayout,
    QCheckBox,
    QComboBox,
    QFileDialog,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.files import replacing
from napari_cryospin.engine.run.command import command_line
from napari_cryospin.engine.runfolder import names
from napari_cryospin.engine.runfolder.class_files import class_number, maps_of_classes, of_class
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.protected import inputs_of, require_not_in_use
from napari_cryospin.engine.runfolder.records import recorded_epochs
from napari_cryospin.engine.runfolder.standing import Doing
from napari_cryospin.engine.runfolder.verdict import Verdict
from napari_cryospin.gui.panels.symmetry_row import SymmetryRow
from napari_cryospin.gui.views.fsc_view import FscView
from napari_cryospin.gui.views.scrolling import scrolling_layout
from napari_cryospin.gui.work.long_task import LongTask
from napari_cryospin.gui.work.saving import ask_where

if TYPE_CHECKING:
    from napari_cryospin.gui.work.long_task import Report
    from napari_cryospin.gui.work.session import Session

_SAVE = (
    (
        "map",
        "Save map…",
        names.MAP,
        "MRC maps (*.mrc)",
        "The map, particles white, as MRC; of several classes that of the class beside",
    ),
    (
        "fsc",
        "Save FSC…",
        names.FSC,
        "Tables (*.csv)",
        "FSC of the half-maps by frequency (1/Å): of independent halves unmasked, masked, with "
        "random phases and corrected, of halves that share their poses an upper bound; and "
        "against the truth where it is known",
    ),
)


def _verdict(folder: Path) -> Verdict | str | None:
    """Return the verdict on a run, where there is one, or what is wrong with it."""
    run = RunFolder(folder)
    if not isfile(run.verdict_path):
        return None
    try:
        return run.verdict()
    except InputError as error:
        return str(error)


def _in_words(verdict: Verdict | str | None) -> tuple[str, ...]:
    if not isinstance(verdict, Verdict):
        return () if verdict is None else (verdict,)
    return (f"<b>Verdict: {verdict.outcome}</b>", *verdict.sentences)


class ResultsPanel(QWidget):
    """Buttons for the results of the session's run.

    Parameters
    ----------
    session
        Its folder and settings are used; it is told to open or resume a run.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._class_shown: int | None = None
        self._exporting = LongTask("cryospin-export", self)
        self._exporting.progressed.connect(self._on_progress)
        self._exporting.done.connect(self._on_exported)
        self._exporting.failed.connect(session.message)
        layout = scrolling_layout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self._this_run())
        layout.addWidget(self._other_runs())
        layout.addStretch()
        for signal in (
            session.state_changed,
            session.standing_changed,
            session.epoch_done,
            session.run_opened,
        ):
            signal.connect(self._refresh)
        self._refresh()

    def _this_run(self) -> QGroupBox:
        box = QGroupBox("This run")
        column = QVBoxLayout(box)
        # above the verdict, which may be longer than the screen is high
        self.symmetry = SymmetryRow(self._session)
        column.addWidget(self.symmetry)
        self.summary = QLabel()
        self.summary.setObjectName("results_summary")
        self.summary.setWordWrap(True)
        column.addWidget(self.summary)
        self.fsc = FscView()
        self.fsc.hide()
        column.addWidget(self.fsc)
        self.save: dict[str, QPushButton] = {}
        maps = QHBoxLayout()
        column.addLayout(maps)
        for name, text, _, _, tip in _SAVE:
            row = maps if name == "map" else column
            self.save[name] = self._button(row, text, f"save_{name}", tip)
        # as wide as the others: a combo box beside it takes what it needs
        self.save["map"].setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.map_of = QComboBox()
        self.map_of.setObjectName("results_map_of")
        self.map_of.setToolTip("Class whose map is saved: at first the one that the canvas shows")
        self.map_of.hide()
        maps.addWidget(self.map_of)
        self.save["map"].clicked.connect(self._on_save_map)
        self.save["fsc"].clicked.connect(self._on_save_fsc)
        self._add_export(column)
        self.show_folder = self._button(
            column, "Show run folder", "show_folder", "Open the folder in the file manager"
        )
        self.show_folder.clicked.connect(self._on_show_folder)
        self.copy = self._button(
            column,
            "Copy as command line",
            "copy",
            "The command that repeats this run in a terminal",
        )
        self.copy.clicked.connect(self._on_copy)
        return box

    def _add_export(self, column: QVBoxLayout) -> None:
        self.export = self._button(
            column,
            "Export poses…",
            "export",
            "The last poses in your own table: .star for RELION, .cs for cryoSPARC",
        )
        self.export.clicked.connect(self._on_export)
        self.flip_hand = QCheckBox("other hand")
        self.flip_hand.setToolTip("Poses in the mirror image of the map, which is written too")
        self.invert = QCheckBox("invert images")
        self.invert.setToolTip("Also write the images with their contrast turned, as .mrcs")
        row = QHBoxLayout()
        for box in (self.flip_hand, self.invert):
            row.addWidget(box)
        row.addStretch()
        column.addLayout(row)

    def _other_runs(self) -> QGroupBox:
        box = QGroupBox("Runs on disk")
        column = QVBoxLayout(box)
        self.open = self._button(
            column, "Open a run…", "open", "Show a run folder: its map, poses and figures"
        )
        self.open.clicked.connect(self._on_open)
        self.resume = self._button(
            column, "Resume this run", "resume", "Go on from the last checkpoint of the shown run"
        )
        self.resume.clicked.connect(self._on_resume)
        return box

    def _button(self, layout: QBoxLayout, text: str, name: str, tip: str) -> QPushButton:
        button = QPushButton(text)
        button.setObjectName(f"results_{name}")
        button.setToolTip(tip)
        layout.addWidget(button)
        return button

    @Slot()
    @Slot(object)
    def _refresh(self, _event: object = None) -> None:
        folder = self._session.folder
        for name, _, file, _, _ in _SAVE:
            self.save[name].setEnabled(folder is not None and isfile(folder / file))
        self._offer_classes(folder)
        run = None if folder is None else RunFolder(folder)
        poses = run is not None and bool(run.checkpoints() or recorded_epochs(run))
        self.export.setEnabled(poses)
        self.show_folder.setEnabled(folder is not None and isdir(folder))
        self.copy.setEnabled(self._session.settings is not None and folder is not None)
        self.open.setEnabled(not self._session.active)
        standing = self._session.standing
        self.resume.setEnabled(standing is not None and standing.resumable)
        # while a run goes on, here or elsewhere, its verdict is that of an earlier end
        written = standing is not None and standing.doing is Doing.WRITTEN
        under_way = self._session.active or written
        verdict = None if folder is None or under_way else _verdict(folder)
        self.summary.setText(self._summary(folder, verdict))
        self.symmetry.offer(folder, verdict.symmetry if isinstance(verdict, Verdict) else None)
        # and so are its curves
        curves = {} if run is None or under_way else run.fsc()
        self.fsc.show_curves(curves)
        self.fsc.setVisible(bool(curves))

    def _offer_classes(self, folder: Path | None) -> None:
        """Let the class whose map is saved be chosen, where there are several."""
        maps = [] if folder is None else maps_of_classes(folder / names.MAP)
        numbers = [number for path in maps if (number := class_number(path)) is not None]
        if numbers != [self.map_of.itemData(place) for place in range(self.map_of.count())]:
            self.map_of.clear()
            for number in numbers:
                self.map_of.addItem(f"class {number}", number)
            self.show_class(self._class_shown)
        self.map_of.setVisible(len(numbers) > 1)

    @Slot(object)
    def show_class(self, number: int | None) -> None:
        """Choose the class, from 0, that the canvas shows; None: all of them."""
        self._class_shown = number
        place = -1 if number is None else self.map_of.findData(number + 1)
        if place >= 0:
            self.map_of.setCurrentIndex(place)

    def _summary(self, folder: Path | None, verdict: Verdict | str | None) -> str:
        if folder is None:
            return "No run yet."
        history = self._session.history
        if not history:
            return f"{folder}: no epoch has ended yet."
        last = history[-1]
        parts = [f"{folder}", f"{last.epoch + 1} epochs, loss {last.loss:.4g}"]
        if last.resolution is not None:
            parts.append(f"{last.resolution:.1f} Å against the true map (FSC 0.5)")
        if last.resolution_halves is not None:
            parts.append(f"{last.resolution_halves:.1f} Å by independent halves (FSC 0.143)")
        if last.median_pose_error is not None:
            parts.append(
                f"pose error {last.median_pose_error:.1f}° median, {last.mean_pose_error:.1f}° mean"
            )
        return "<br>".join((*parts, *_in_words(verdict)))

    @Slot()
    def _on_save_map(self) -> None:
        self._save_copy("map")

    @Slot()
    def _on_save_fsc(self) -> None:
        self._save_copy("fsc")

    def _save_copy(self, name: str) -> None:
        folder = self._session.folder
        assert folder is not None
        _, title, file, kind, _ = next(row for row in _SAVE if row[0] == name)
        source, number = folder / file, self.map_of.currentData()
        if name == "map" and number is not None:
            source = of_class(source, number)
        target = ask_where(self, title, f"{folder.name}_{source.name}", kind)
        if target is None:
            return
        try:
            require_not_in_use(target, self._inputs())
            with replacing(target) as temporary:
                shutil.copyfile(source, temporary)
        except InputError as error:
            self._session.message.emit(str(error))
        except OSError as error:
            self._session.message.emit(f"{target} could not be written: {error.strerror}.")
        else:
            self._session.message.emit(f"Saved {target}.")

    def _inputs(self) -> list[Path]:
        return inputs_of(self._session.settings, self._session.table)

    @Slot()
    def _on_export(self) -> None:
        folder = self._session.folder
        assert folder is not None
        kinds = "RELION (*.star);;cryoSPARC (*.cs)"
        out = ask_where(self, "Export poses", f"{folder.name}_{names.STAR}", kinds)
        if out is None:
            return
        flip_hand, invert = self.flip_hand.isChecked(), self.invert.isChecked()

        def task(report: Report) -> list[str]:
            from napari_cryospin.engine.run.export import export_poses

            return export_poses(
                RunFolder(folder),
                out,
                flip_hand=flip_hand,
                invert=invert,
                # the dialog has asked
                may_replace=True,
                progress=report,
            )

        if self._exporting.start(task):
            self._session.message.emit(f"Writing {out.name} …")

    @Slot(int, int)
    def _on_progress(self, done: int, total: int) -> None:
        self._session.message.emit(f"Writing images: {done:,} of {total:,} …")

    @Slot(object)
    def _on_exported(self, said: list[str]) -> None:
        self._session.message.emit(" ".join(said))

    @Slot()
    def _on_show_folder(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._session.folder)))

    @Slot()
    def _on_copy(self) -> None:
        settings, folder = self._session.settings, self._session.folder
        assert settings is not None and folder is not None
        QGuiApplication.clipboard().setText(command_line(settings, folder))
        self._session.message.emit("The command line is on the clipboard.")

    @Slot()
    def _on_open(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Choose a run folder")
        if name:
            self._session.open_run(Path(name))

    @Slot()
    def _on_resume(self) -> None:
        assert self._session.folder is not None
        self._session.resume_run(self._session.folder)
