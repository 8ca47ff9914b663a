"""The run folder: open formats, each file written whole or not at all."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cryospin.engine.data.mrc_writer import write_map
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.failures import why
from napari_cryospin.engine.files import replacing
from napari_cryospin.engine.runfolder import names
from napari_cryospin.engine.runfolder.class_files import further_classes, of_class
from napari_cryospin.engine.runfolder.commands import read_commands
from napari_cryospin.engine.runfolder.fsc import read_fsc, write_fsc
from napari_cryospin.engine.runfolder.log import append_event, last_event
from napari_cryospin.engine.runfolder.metrics import read_metrics, row_of, write_metrics
from napari_cryospin.engine.runfolder.reading import Unreadable, numbered, read_small, require_file
from napari_cryospin.engine.runfolder.records import read_poses, recorded_epochs
from napari_cryospin.engine.runfolder.verdict import Verdict
from napari_cryospin.engine.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_cryospin.engine.events import EpochDone, Event, PosesUpdated
    from napari_cryospin.engine.runfolder.commands import Command
    from napari_cryospin.engine.runfolder.fingerprint import Fingerprint

# a verdict is a page
_LARGEST_TEXT = 2**20


@dataclass(frozen=True)
class RunFolder:
    """Paths, readers and writers of a run folder; epochs count from 0.

    Maps are read from their paths, by :func:`~napari_cryospin.engine.data.density.read_map`.
    The methods that write are the run's own.

    Parameters
    ----------
    path
        The folder; it need not exist before :meth:`create`.
    """

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    @property
    def settings_path(self) -> Path:
        """``settings.toml``."""
        return self.path / names.SETTINGS

    @property
    def map_path(self) -> Path:
        """``map.mrc``: the final map."""
        return self.path / names.MAP

    @property
    def star_path(self) -> Path:
        """``particles.star``: the final poses."""
        return self.path / names.STAR

    @property
    def fsc_path(self) -> Path:
        """``fsc.csv``."""
        return self.path / names.FSC

    @property
    def verdict_path(self) -> Path:
        """``verdict.json``: what became of the run, and why."""
        return self.path / names.VERDICT

    @property
    def metrics_path(self) -> Path:
        """``metrics.csv``: one row per epoch."""
        return self.path / names.METRICS

    @property
    def events_path(self) -> Path:
        """``events.jsonl``: the figures of every event, appended as they happen."""
        return self.path / names.EVENTS

    @property
    def commands_path(self) -> Path:
        """``commands.jsonl``: what was done by hand; there is none where nothing was."""
        return self.path / names.COMMANDS

    @property
    def set_aside_path(self) -> Path:
        """``set_aside.csv``: particles that are not used because of their images, if any."""
        return self.path / names.SET_ASIDE

    @property
    def parent_path(self) -> Path:
        """``parent.json``: which run a branch was made of; there is none where it is no branch."""
        return self.path / names.PARENT

    @property
    def half_map_paths(self) -> tuple[Path, Path]:
        """``half1.mrc`` and ``half2.mrc``: the half-maps."""
        first, second = names.HALF_MAPS
        return self.path / first, self.path / second

    @property
    def full_size_path(self) -> Path:
        """``map_fullsize.mrc``: the final map in the box of the particles on disk."""
        return self.path / names.FULL_SIZE_MAP

    @property
    def fingerprint_path(self) -> Path:
        """``fingerprint.json``: the particles and settings that the run was begun with."""
        return self.path / names.FINGERPRINT

    @property
    def encoder_weights_path(self) -> Path:
        """``encoder/weights.pt``: the encoder's weights; ``encoder.toml`` beside it tells of them.

        There is none before auto-encoding has ended, nor without it.
        """
        return self.path / names.ENCODER / names.ENCODER_WEIGHTS

    def epoch_map_path(self, epoch: int) -> Path:
        """Return the path of the map after an epoch, such as ``volumes/epoch_0007.mrc``."""
        return self._of_epoch(names.VOLUMES, epoch)

    def poses_path(self, epoch: int) -> Path:
        """Return the path of the poses after an epoch, such as ``poses/epoch_0007.npy``."""
        return self._of_epoch(names.POSES, epoch)

    def checkpoint_path(self, epoch: int) -> Path:
        """Return the path of a checkpoint, such as ``checkpoints/epoch_0007.pt``."""
        return self._of_epoch(names.CHECKPOINTS, epoch)

    def branch_point_path(self, epoch: int) -> Path:
        """Return the path of a branch point, such as ``branch_points/epoch_0007.pt``."""
        return self._of_epoch(names.BRANCH_POINTS, epoch)

    def _of_epoch(self, part: str, epoch: int) -> Path:
        return self.path / part / names.of_epoch(epoch, names.PARTS[part])

    def create(self, settings: Settings, fingerprint: Fingerprint | None = None) -> None:
        """Make the folder and write ``settings.toml`` and ``fingerprint.json``.

        Raises
        ------
        InputError
            If the folder cannot be made.
        """
        try:
            for part in names.PARTS:
                (self.path / part).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"The run folder {self.path} cannot be made: {why(error)}.") from error
        if fingerprint is not None:
            with replacing(self.fingerprint_path) as temporary:
                temporary.write_text(json.dumps(fingerprint.figures()) + "\n", encoding="utf-8")
        self.write_settings(settings)

    def write_settings(self, settings: Settings) -> None:
        """Write ``settings.toml``."""
        with replacing(self.settings_path) as temporary:
            temporary.write_text(settings.to_toml(), encoding="utf-8")

    def settings(self) -> Settings:
        """Read the settings.

        Raises
        ------
        InputError
            If the folder holds no run, or its settings are damaged.
        """
        try:
            text = read_small(self.settings_path, _LARGEST_TEXT)
        except FileNotFoundError:
            raise InputError(
                f"{self.path} is no run folder: it holds no {names.SETTINGS}."
            ) from None
        except Unreadable as error:
            raise InputError(f"{self.settings_path} {error}.") from error
        return Settings.of_text(text, self.settings_path)

    def commands(self) -> list[Command]:
        """Read what was done by hand.

        Raises
        ------
        InputError
            If ``commands.jsonl`` is damaged.
        """
        # a link to nowhere is no run that was left alone
        return read_commands(self.commands_path) if os.path.lexists(self.commands_path) else []

    def append_event(self, event: Event) -> None:
        """Append an event's figures to ``events.jsonl`` (arrays are left out)."""
        append_event(self.events_path, event)

    def last_event(self) -> dict[str, Any] | None:
        """Return the figures of the last event in ``events.jsonl``; None where none can be read."""
        return last_event(self.events_path)

    def append_metrics(self, done: EpochDone) -> None:
        """Add an epoch to ``metrics.csv``; an epoch that was redone after a resume is replaced."""
        rows = [row for row in self.metrics() if int(row["epoch"]) < done.epoch]
        write_metrics(self.metrics_path, [*rows, row_of(done)])

    def metrics(self) -> list[dict[str, str]]:
        """Return the rows of ``metrics.csv`` that are whole; none before the first epoch's end."""
        return list(read_metrics(self.metrics_path).rows)

    def history(self) -> tuple[EpochDone, ...]:
        """Return the figures of all epochs so far, in order, as far as they can be read."""
        return read_metrics(self.metrics_path).epochs

    def recorded_epochs(self) -> list[int]:
        """Return the epochs whose poses were recorded, ascending."""
        return recorded_epochs(self)

    def poses(self, epoch: int | None = None) -> PosesUpdated:
        """Return the poses of all n particles after an epoch, by default after the last recorded.

        Shifts and losses were rounded to half precision; the truth is not among them.

        Raises
        ------
        InputError
            If they were not recorded, or the file is damaged.
        """
        if epoch is None:
            recorded = recorded_epochs(self)
            if not recorded:
                raise InputError(f"{self.path} has recorded no poses yet: wait for an epoch's end.")
            epoch = recorded[-1]
        return read_poses(self, epoch)

    def write_epoch_maps(
        self, epoch: int, maps: Sequence[NDArray[np.float32]], pixel_size: float
    ) -> Path:
        """Write each class's map after an epoch, in place of those from before a resume."""
        # nothing after a redone epoch belongs to the run any more
        for number, later in numbered(self.path, names.VOLUMES):
            if number > epoch:
                for each in (later, *further_classes(later)):
                    each.unlink()
        path = self.epoch_map_path(epoch)
        for number, volume in enumerate(maps[1:], 2):
            write_map(of_class(path, number), volume, pixel_size)
        write_map(path, maps[0], pixel_size)
        return path

    def write_verdict(self, verdict: Verdict) -> None:
        """Write ``verdict.json``: what became of the run, and why."""
        with replacing(self.verdict_path) as temporary:
            text = json.dumps(verdict.figures(), indent=2, ensure_ascii=False)
            temporary.write_text(text + "\n", encoding="utf-8")

    def verdict(self) -> Verdict | None:
        """Return the verdict on the run, or None where there is none yet.

        Raises
        ------
        InputError
            If the file is damaged.
        """
        try:
            text = read_small(self.verdict_path, _LARGEST_TEXT)
            return Verdict.of_figures(json.loads(text))
        except FileNotFoundError:
            return None
        except Unreadable as error:
            raise InputError(f"{self.verdict_path} {error}.") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"{self.verdict_path} is damaged: delete it.") from error

    def write_fsc(self, columns: dict[str, NDArray[np.float64]], pixel_size: float) -> None:
        """Write FSC curves, each of shape (D/2 + 1,), against frequency to ``fsc.csv``."""
        write_fsc(self.fsc_path, columns, pixel_size)

    def fsc(self) -> dict[str, NDArray[np.float64]]:
        """Return the columns of ``fsc.csv`` by name, each of shape (k,); none where it is not."""
        return read_fsc(self.fsc_path)

    def maps(self) -> list[Path]:
        """Return the maps, the newest last: a resumed run has a map older than its epochs'."""
        written: list[tuple[float, Path]] = []
        found = [path for _, path in numbered(self.path, names.VOLUMES)]
        for path in (*found, self.map_path):
            # a map may be replaced, or taken away, while they are looked through
            with suppress(OSError, Unreadable):
                require_file(path)
                written.append((path.stat().st_mtime, path))
        return [path for _, path in sorted(written)]

    def checkpoints(self) -> list[Path]:
        """Return the checkpoints, oldest first."""
        return [path for _, path in numbered(self.path, names.CHECKPOINTS)]

    def branch_points(self) -> dict[int, Path]:
        """Return the branch points by the number of epochs that were done, ascending."""
        return dict(numbered(self.path, names.BRANCH_POINTS))

    @property
    def no_checkpoint(self) -> str:
        """The sentence for a run without a checkpoint that can be seen."""
        place = self.path / names.CHECKPOINTS
        if place.is_dir() and not os.access(place, os.R_OK | os.X_OK):
            return f"{place} cannot be read: there is no permission for it."
        return f"{self.path} holds no checkpoint to resume from: start a new run."
