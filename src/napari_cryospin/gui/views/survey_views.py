"""Plots of how sure the poses of a run are: modes and coverage over epochs, calibration."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt

from napari_cryospin.engine.stages import Inference
from napari_cryospin.gui.colours import foreground
from napari_cryospin.gui.views.epoch_plot import EpochPlot
from napari_cryospin.gui.views.themed import ThemedPlot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from qtpy.QtWidgets import QWidget

    from napari_cryospin.engine.run.survey import EpochSurvey

_BLUE, _ORANGE, _GREEN, _PURPLE = "#56B4E9", "#E69F00", "#009E73", "#CC79A7"
# modes from which a point of a reliability diagram is as large as it gets
_MANY = 50
_WEIGHTS = "Weights of the heads"


class SurveyPlot(EpochPlot):
    """Shares (%) over epochs from figures of :class:`~.engine.run.survey.EpochSurvey`.

    Parameters
    ----------
    title
        What is plotted.
    curves
        Name, colour and figure of each curve.
    """

    def __init__(
        self,
        title: str,
        curves: dict[str, tuple[str, str]],
        parent: QWidget | None = None,
    ) -> None:
        self._figures = {name: figure for name, (_, figure) in curves.items()}
        self._surveys: list[EpochSurvey] = []
        colours = {name: colour for name, (colour, _) in curves.items()}
        super().__init__(title, "particles (%)", colours, parent=parent)
        self.title = title
        self.setYRange(0, 100, padding=0.03)

    def set_surveys(self, surveys: Sequence[EpochSurvey]) -> None:
        """Show the surveys, ascending by epoch."""
        self._surveys = list(surveys)
        for name, figure in self._figures.items():
            known = [one for one in surveys if getattr(one, figure) is not None]
            self.set_curve(
                name,
                [one.epoch + 1 for one in known],
                [100 * getattr(one, figure) for one in known],
            )
        changes = [
            (later.epoch + 0.5, Inference(later.inference).label)
            for one, later in itertools.pairwise(surveys)
            if later.inference != one.inference
        ]
        self.mark_stages(changes)

    def graphics(self) -> list[pg.PlotWidget]:
        """Return what is drawn, for saving."""
        return [self]

    def table(self) -> dict[str, NDArray[np.float64]]:
        """Return all figures of the surveys, for saving."""
        rows = [one.figures() for one in self._surveys]
        texts = ("inference", "weights", "truth_weights")
        names = [name for name in (rows[0] if rows else {}) if name not in texts]
        columns = {
            name: np.array([np.nan if row[name] is None else row[name] for row in rows], float)
            for name in names
        }
        return columns


class ModesOverEpochs(SurveyPlot):
    """The share of particles with more than one mode."""

    def __init__(self, parent: QWidget | None = None) -> None:
        curves = {
            "several": (_ORANGE, "multimodal"),
            "in best": (_BLUE, "winner_in_best_mode"),
        }
        super().__init__("Modes", curves, parent)


class HeadCoverageView(SurveyPlot):
    """What the heads cover of the posteriors, and as many random poses."""

    def __init__(self, parent: QWidget | None = None) -> None:
        curves = {
            "heads": (_BLUE, "coverage"),
            "random": (_ORANGE, "random_coverage"),
        }
        super().__init__("Covered by", curves, parent)


class CoverageView(SurveyPlot):
    """What holds the true pose."""

    def __init__(self, parent: QWidget | None = None) -> None:
        curves = {
            "any candidate": (_BLUE, "candidates_hold_truth"),
            "best mode": (_GREEN, "best_mode_holds_truth"),
            "any mode": (_PURPLE, "modes_hold_truth"),
        }
        super().__init__("True pose in", curves, parent)


class _DiagonalPlot(ThemedPlot):
    """Shares (%) that should be what is said of them, the dashed line."""

    title = "calibration"

    def __init__(self, title: str, left: str, bottom: str, parent: QWidget | None = None) -> None:
        super().__init__(title, left, bottom, parent)
        self._diagonal = self.plot([0, 100], [0, 100])
        pen = pg.mkPen(_ORANGE, width=2)
        self.curve = self.plot(pen=pen, symbol="o", symbolSize=5, symbolBrush=_ORANGE)
        self.setRange(xRange=(0, 100), yRange=(0, 100), padding=0.03)
        self.restyle()

    def graphics(self) -> list[pg.PlotWidget]:
        """Return what is drawn, for saving."""
        return [self]

    def restyle(self) -> None:
        """Take the theme's colours."""
        super().restyle()
        # called once by the base class before there is a diagonal
        diagonal = getattr(self, "_diagonal", None)
        if diagonal is not None:
            diagonal.setPen(pg.mkPen(foreground(self), style=Qt.PenStyle.DashLine))


class WeightsView(_DiagonalPlot):
    """The reliability diagram of the weights of the heads' modes, in one epoch."""

    title = "weights"

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(_WEIGHTS, "right (%)", "weight (%)", parent)
        pen = pg.mkPen(_GREEN, width=2)
        self.by_truth = self.plot(pen=pen, symbol="o", symbolBrush=_GREEN)
        self._survey: EpochSurvey | None = None

    def set_survey(self, survey: EpochSurvey | None) -> None:
        """Show what the posterior has where the modes are, and how often the truth lies there."""
        self._survey = survey
        if survey is None:
            self.say(_WEIGHTS)
            return
        self.say(
            f"Weights, epoch {survey.epoch + 1}: "
            f"{_coloured(_ORANGE, 'posterior', survey.calibration_error)}"
            f"{_coloured(_GREEN, ', truth', survey.truth_calibration_error)}"
        )
        for curve, bins in (
            (self.curve, survey.weights),
            (self.by_truth, survey.truth_weights),
        ):
            curve.setData(
                [100 * one.weight for one in bins],
                [100 * one.right for one in bins],
                # how many modes there are
                symbolSize=[4 + 8 * min(one.number / _MANY, 1) for one in bins],
            )

    def table(self) -> dict[str, NDArray[np.float64]]:
        """Return the diagram, for saving."""
        bins = () if self._survey is None else self._survey.weights
        return {
            "weight": np.array([one.weight for one in bins]),
            "posterior_there": np.array([one.right for one in bins]),
            "modes": np.array([one.number for one in bins]),
        }


def _coloured(colour: str, name: str, error: float | None) -> str:
    """Return the name of a curve with its error, in its colour."""
    if error is None:
        return ""
    return f'<span style="color: {colour}">{name} {100 * error:.0f} % off</span>'


class ReliabilityView(_DiagonalPlot):
    """The reliability diagram: credible sets of which probability hold how many true poses."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Calibration", "true poses in (%)", "credible set (%)", parent)
        self.levels = np.empty(0)

    def set_levels(self, levels: NDArray[np.float64]) -> None:
        """Show the credible levels of true poses, (n,)."""
        self.levels = levels
        columns = self.table()
        self.curve.setData(100 * columns["credible_set"], 100 * columns["share_of_true_poses"])

    def forget(self) -> None:
        """Show no measurement."""
        self.levels = np.empty(0)
        self.curve.setData([], [])

    def table(self) -> dict[str, NDArray[np.float64]]:
        """Return the diagram, for saving."""
        nominal = np.linspace(0.05, 0.95, 19)
        if len(self.levels) == 0:
            return {"credible_set": nominal, "share_of_true_poses": np.full(19, np.nan)}
        # with it comes torch, which is at hand where levels were computed
        from napari_cryospin.engine.evaluation.posteriors import reliability

        share = reliability(self.levels, nominal)
        return {"credible_set": nominal, "share_of_true_poses": share}
