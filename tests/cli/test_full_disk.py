"""Commands beside `reconstruct` on a full disk: the sentence, and no half of a file."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from command_calls import call, is_one_sentence

if TYPE_CHECKING:
    from pathlib import Path

# in the order in which they get their names, when all have been written
_FILES = ("particles.mrcs", "truth.mrc", "truth.star", "particles.star")


@pytest.mark.parametrize("whole", range(-1, 6))
def test_simulate(
    whole: int, small_stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no room for the images at all, or for what comes after some flushed files."""
    flushed = 0

    def refuse(*_: object) -> None:
        nonlocal flushed
        if flushed >= whole:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flushed += 1

    monkeypatch.setattr(os, "posix_fallocate" if whole < 0 else "fsync", refuse)
    out = tmp_path / "stack"
    options = ["--out", out, "--box", 32, "--n-particles", 9]
    result = call("simulate", small_stack / "truth.mrc", *options)
    assert result.exit_code == 2, result.output
    assert is_one_sentence(result)
    assert "the disk is full" in result.stderr
    # the tables are flushed twice
    assert sorted(path.name for path in out.iterdir()) == sorted(_FILES[: max(whole - 2, 0)])
