"""The run folder: open formats, each file written whole or not at all."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import asdict, dataclass, fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import torch

from napari_cryospin.engine.data.mrc_writer import write_mrc
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.events import SwitchFigures
from napari_cryospin.engine.failures import why
from napari_cryospin.engine.files import replacing, writing
from napari_cryospin.engine.run.checkpoint_reading import read_checkpoint
from napari_cryospin.engine.run.metrics import read_metrics, row_of, write_metrics
from napari_cryospin.engine.run.reading import Unreadable, numbered, read_small
from napari_cryospin.engine.run.steering import COMMANDS_NAME, read_commands
from napari_cryospin.engine.run.verdict import Verdict
from napari_cryospin.engine.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from napari_cryospin.engine.events import EpochDone, Event
    from napari_cryospin.engine.run.fingerprint import Fingerprint
    from napari_cryospin.engine.run.steering import Command

_CHECKPOINTS_KEPT = 2
# a verdict is a page
_LARGEST_TEXT = 2**20
# an event is no longer than this
_TAIL = 1 << 20


@dataclass(frozen=True)
class RunFolder:
    """Paths, readers and writers of a run folder.

    Parameters
    ----------
    path
        The folder; it need not exist before :meth:`create`.
    """

    path: Path

    @property
    def settings_path(self) -> Path:
        """``settings.toml``."""
        return self.path / "settings.toml"

    @property
    def map_path(self) -> Path:
        """``map.mrc``: the final map."""
        return self.path / "map.mrc"

    @property
    def star_path(self) -> Path:
        """``particles.star``: the final poses."""
        return self.path / "particles.star"

    @property
    def fsc_path(self) -> Path:
        """``fsc.csv``."""
        return self.path / "fsc.csv"

    @property
    def verdict_path(self) -> Path:
        """``verdict.json``: what became of the run, and why."""
        return self.path / "verdict.json"

    @property
    def metrics_path(self) -> Path:
        """``metrics.csv``: one row per epoch."""
        return self.path / "metrics.csv"

    @property
    def events_path(self) -> Path:
        """``events.jsonl``: the figures of every event, appended as they happen."""
        return self.path / "events.jsonl"

    @property
    def commands_path(self) -> Path:
        """``commands.jsonl``: what was done by hand; there is none where nothing was."""
        return self.path / COMMANDS_NAME

    @property
    def fingerprint_path(self) -> Path:
        """``fingerprint.json``: the particles and settings that the run was begun with."""
        return self.path / "fingerprint.json"

    def create(self, settings: Settings, fingerprint: Fingerprint | None = None) -> None:
        """Make the folder and write ``settings.toml`` and ``fingerprint.json``.

        Raises
        ------
        InputError
            If the folder cannot be made.
        """
        try:
            for part in ("volumes", "poses", "checkpoints"):
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
            raise InputError(f"{self.path} is no run folder: it holds no settings.toml.") from None
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
        plain = {
            field.name: value
            for field in fields(event)
            if not isinstance(value := getattr(event, field.name), np.ndarray)
        }
        line = json.dumps({"event": type(event).__name__, **plain}, default=_plain)
        try:
            with self.events_path.open("ab+") as file:
                _mend(file)
                file.write((line + "\n").encode())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.events_path)) from error

    def last_event(self) -> dict[str, Any] | None:
        """Return the figures of the last event in ``events.jsonl``; None where none can be read."""
        try:
            with self.events_path.open("rb") as file:
                file.seek(max(0, self.events_path.stat().st_size - _TAIL))
                last = json.loads(file.read().splitlines()[-1])
        except (OSError, ValueError, IndexError, RecursionError):
            return None
        return last if isinstance(last, dict) else None

    def append_metrics(self, done: EpochDone) -> None:
        """Add an epoch to ``metrics.csv``; an epoch that was redone after a resume is replaced."""
        rows = [row for row in self.metrics() if int(row["epoch"]) < done.epoch]
        write_metrics(self.metrics_path, [*rows, row_of(done)])

    def metrics(self) -> list[dict[str, str]]:
        """Return the rows of ``metrics.csv`` that are whole; none before the first epoch's end."""
        return list(read_metrics(self.metrics_path).rows)

    def write_map(self, name: str, volume: NDArray[np.float32], pixel_size: float) -> Path:
        """Write a map (z, y, x) as MRC under the run folder, with its pixel size in Å."""
        path = self.path / name
        write_mrc(path, volume, pixel_size)
        return path

    def write_epoch_map(self, epoch: int, volume: NDArray[np.float32], pixel_size: float) -> Path:
        """Write the map after an epoch, in place of those from before a resume."""
        # nothing after a redone epoch belongs to the run any more
        for number, later in numbered(self.path / "volumes", ".mrc"):
            if number > epoch:
                later.unlink()
        return self.write_map(f"volumes/epoch_{epoch:04d}.mrc", volume, pixel_size)

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
        shells = len(next(iter(columns.values())))
        frequency = np.arange(shells) / (2 * (shells - 1) * pixel_size)
        table: Iterable[tuple[float, ...]] = zip(frequency, *columns.values(), strict=True)
        with (
            replacing(self.fsc_path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(["frequency_per_angstrom", *columns])
            writer.writerows([f"{value:.6g}" for value in row] for row in table)

    def write_checkpoint(self, state: dict[str, Any], epoch: int) -> Path:
        """Write a checkpoint; the last few are kept."""
        path = self.path / "checkpoints" / f"epoch_{epoch:04d}.pt"
        with writing(path) as file:
            torch.save(state, file)
        for old in self.checkpoints()[:-_CHECKPOINTS_KEPT]:
            old.unlink()
        return path

    def checkpoints(self) -> list[Path]:
        """Return the checkpoints, oldest first."""
        return [path for _, path in numbered(self.path / "checkpoints", ".pt")]

    @property
    def no_checkpoint(self) -> str:
        """The sentence for a run without a checkpoint that can be seen."""
        place = self.path / "checkpoints"
        if place.is_dir() and not os.access(place, os.R_OK | os.X_OK):
            return f"{place} cannot be read: there is no permission for it."
        return f"{self.path} holds no checkpoint to resume from: start a new run."

    def read_checkpoint(self, device: torch.device) -> dict[str, Any]:
        """Read the last checkpoint.

        Raises
        ------
        InputError
            If there is none, it is damaged, or of another format.
        """
        found = self.checkpoints()
        if not found:
            raise InputError(self.no_checkpoint)
        return read_checkpoint(found[-1], device)


def _mend(file: BinaryIO) -> None:
    """Cut off half a line that a killed process left at the end of a file."""
    end = file.seek(0, os.SEEK_END)
    if end == 0:
        return
    file.seek(end - 1)
    if file.read(1) == b"\n":
        return
    start = max(0, end - _TAIL)
    file.seek(start)
    whole = file.read().rfind(b"\n") + 1
    # a line that is longer than all that is looked at is no event
    if whole or start == 0:
        file.truncate(start + whole)
    else:
        file.write(b"\n")


def _plain(value: object) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Verdict):
        return value.figures()
    if isinstance(value, SwitchFigures):
        return asdict(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} does not belong into events.jsonl")
