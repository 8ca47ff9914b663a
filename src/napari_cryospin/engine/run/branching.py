"""A branch of a run: what became of another run up to an epoch, and other settings from there on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def make_branch(
    run: Path,
    at: int,
    out: Path,
    *,
    switch_at: int | Literal["now", "auto", "never"] | None = None,
    changes: Mapping[str, Any] | None = None,
    switch_back: bool = False,
) -> None:
    """Make the run folder of a branch, which :meth:`.Reconstruction.resume` runs to its end.

    The run may be finished, killed, or still being written: nothing of it is changed.

    Parameters
    ----------
    run
        Folder of the run to branch from.
    at
        Epochs of it that the branch has in common with it, as people count them: the branch goes on
        after epoch ``at``, the first being 1. One of :func:`branch_epochs`.
    out
        Folder to make; there must be nothing in it.
    switch_at
        When auto-encoding ends: "now" with epoch ``at``; after so many epochs of its stage; "auto"
        by its criterion; "never". None leaves that as it is.
    changes
        Other settings from then on, by dotted name as for :meth:`.Settings.set`. The name of an
        inference stands for the present stage or the first one after it that has it.
    switch_back
        Auto-encode again, on the present map and with the encoder as it was at the switch, before
        the present stage is begun anew; ``switch_at`` is then about this stage.

    Raises
    ------
    InputError
        If the run cannot be branched from there, a change cannot be made in the midst of a run, or
        something is in ``out`` already.
    """
    raise NotImplementedError


def branch_epochs(run: Path) -> list[int]:
    """Return the epochs after which a run can be branched from, as people count them, ascending.

    Raises
    ------
    InputError
        If the folder holds no run.
    """
    raise NotImplementedError
