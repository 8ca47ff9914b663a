"""What the engine tells the world: typed, frozen events, in the order they happen.

The same stream drives the dock, the command line's progress bars and the tests. Exactly one
terminal event (:class:`Finished` or :class:`Failed`) ends every stream.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_cryospin.engine.event import Event as Event
from napari_cryospin.engine.live_events import PosesUpdated as PosesUpdated
from napari_cryospin.engine.live_events import VolumeUpdated as VolumeUpdated
from napari_cryospin.engine.steering_events import CommandMissed as CommandMissed
from napari_cryospin.engine.steering_events import MembersChosen as MembersChosen
from napari_cryospin.engine.steering_events import ParticlesChosen as ParticlesChosen
from napari_cryospin.engine.steering_events import Paused as Paused
from napari_cryospin.engine.steering_events import Rescheduled as Rescheduled
from napari_cryospin.engine.steering_events import Resumed as Resumed

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.half_resolution import HalfResolution
    from napari_cryospin.engine.runfolder.verdict import Verdict
    from napari_cryospin.engine.stages import Inference
    from napari_cryospin.engine.switch_at import SwitchAt
    from napari_cryospin.engine.switch_figures import SwitchFigures


@dataclass(frozen=True)
class RunStarted(Event):
    """The data are loaded, the models built; training begins.

    ``box`` is the working box in pixels, ``pixel_size`` its Å per pixel, ``device`` a readable
    name, ``notes`` sentences about the data for the user. ``n_heads`` is 0 without an encoder.
    ``first_epoch`` is above 0 on resume.
    """

    folder: Path
    n_particles: int
    box: int
    pixel_size: float
    n_heads: int
    device: str
    seed: int
    inference: Inference
    first_epoch: int
    n_epochs: int
    truth_known: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Progress(Event):
    """Progress of work that is not a training batch (loading, pose search, final maps).

    ``total`` is 0 where nobody knows how much there is.
    """

    task: str
    done: int
    total: int


@dataclass(frozen=True)
class EpochStarted(Event):
    """An epoch begins; ``epoch`` counts from 0 over the run, ``n_epochs`` is its planned end.

    ``stage_epoch`` epochs of the stage (and start) are done, and ``ends`` says when it does, as for
    :meth:`.Controls.set_switch`.
    """

    epoch: int
    n_epochs: int
    inference: Inference
    stage: int
    start: int
    stage_epoch: int = 0
    ends: SwitchAt | None = None


@dataclass(frozen=True)
class BatchDone(Event):
    """``batch`` of ``n_batches`` batches of the epoch are done.

    ``loss`` is that of the last one, per Fourier coefficient; the rate is smoothed.
    ``seconds_left`` is what is left of the present stage, or start, at most, by its own pace; None
    where that is not known yet. What comes after it goes at another pace.
    """

    epoch: int
    batch: int
    n_batches: int
    inference: Inference
    loss: float
    images_per_second: float
    seconds_left: float | None


@dataclass(frozen=True)
class EpochDone(Event):
    """The figures of a finished epoch; one row of ``metrics.csv``.

    ``head_share`` is the fraction of particles won by each head, (M,); by each candidate where
    there are no heads. ``stage`` and ``start`` count from 0. ``held_out_gain`` is the
    log-likelihood of held-out particles with the map less that with its rotational average, nats
    per particle, where the epoch has measured it. ``switch`` is what the criterion of the switch
    measured, in auto-encoding. ``resolution`` (Å) is where the FSC falls below 0.5 against the true
    map where it is known, else None. Pose errors (degrees, after global alignment over both hands)
    are None where the truth is not known. ``batches`` of its ``n_batches`` were done: fewer where a
    switch by hand ended it. ``outliers`` is the share of the images that are not likely to show the
    particle, where they are looked for, ``resolution_halves`` (Å) the resolution by independent
    halves, where they agree. These four are None in figures of earlier versions. ``class_share`` is
    the share of the particles in each class, where there are several.
    """

    epoch: int
    inference: Inference
    loss: float
    head_share: tuple[float, ...]
    stage: int
    start: int
    held_out_gain: float | None
    switch: SwitchFigures | None
    median_pose_error: float | None
    mean_pose_error: float | None
    resolution: float | None
    seconds: float
    batches: int | None = None
    n_batches: int | None = None
    outliers: float | None = None
    resolution_halves: float | None = None
    class_share: tuple[float, ...] = ()

    @property
    def effective_heads(self) -> float | None:
        """Number of heads that as many particles would use alike; None where there are no heads.

        The exponential of the entropy of their shares: 1 where one head wins all, M at most.
        """
        shares = [share for share in self.head_share if share > 0]
        if not shares or not self.inference.has_heads:
            return None
        return math.exp(-sum(share * math.log(share) for share in shares))

    @property
    def end(self) -> float:
        """Where the epoch ended, in epochs of the run."""
        if self.batches is None or not self.n_batches:
            return self.epoch + 1.0
        return self.epoch + self.batches / self.n_batches


@dataclass(frozen=True)
class Switched(Event):
    """A stage begins with ``epoch``, or another start of the first one.

    ``stage`` and ``start`` count from 0; ``by`` says what ended the stage before: "schedule",
    "criterion" or "hand". By hand it came after ``batch`` of the ``n_batches`` of the epoch before.
    """

    epoch: int
    inference: Inference
    stage: int
    start: int
    by: str
    batch: int | None = None
    n_batches: int | None = None

    def sentence(self) -> str:
        """Return in words which stage begins, and why and where."""
        name, where = self.inference.label, f"after epoch {self.epoch}"
        if self.batch == 0:
            where = f"before the first batch of epoch {self.epoch}"
        elif self.batch is not None:
            where = f"after batch {self.batch} of {self.n_batches} of epoch {self.epoch}"
        if self.start > 0 and self.stage == 0:
            when = f" by hand {where}," if self.by == "hand" else ""
            return f"Start {self.start + 1} of {name} begins{when} from another random map."
        why = {"hand": "by hand", "schedule": "by schedule", "criterion": "by the criterion"}
        return f"Stage {self.stage + 1}, {name}, begins {why[self.by]} {where}."


@dataclass(frozen=True)
class CheckpointWritten(Event):
    """The run can be resumed from here."""

    path: Path
    epoch: int


@dataclass(frozen=True)
class Finished(Event):
    """The run ended in order (``stopped`` when the user ended it).

    Where it is ``kept`` it can be resumed, and with ``results`` its maps and poses are on disk.
    ``halves`` says how far the half-maps agree, ``verdict`` what became of the run; they are None
    without results. ``before`` says that it had finished before it was resumed: nothing was done.
    ``discarded`` says that what the run wrote was removed, and ``left`` names what could not be.
    """

    folder: Path
    stopped: bool
    kept: bool
    halves: HalfResolution | None
    verdict: Verdict | None = None
    results: bool = True
    before: bool = False
    discarded: bool = False
    left: tuple[str, ...] = ()

    def halves_sentence(self) -> str:
        """Return in words how far the half-maps agree; nothing where the verdict says so."""
        told = self.verdict is not None and self.verdict.shared_by_halves is not None
        return "" if told or self.halves is None else self.halves.sentence()

    def sentence(self) -> str:
        """Return in words what is left of a run without results."""
        if self.kept:
            return f"Stopped without results; the run in {self.folder} can be resumed."
        if not self.discarded:
            return "Stopped before the run began; nothing was written."
        if self.left:
            return f"Discarded, but {', '.join(self.left)} in {self.folder} could not be removed."
        return f"Discarded: what the run wrote in {self.folder} has been removed."


@dataclass(frozen=True)
class Failed(Event):
    """The run ended by an error; ``message`` is one sentence for the user.

    ``details`` is the traceback, for the log; ``bad_input`` says that the input is to blame.
    What was computed before stays on disk.
    """

    message: str
    details: str
    bad_input: bool = False
