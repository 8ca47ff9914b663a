"""What went wrong, as one sentence for the user: full disks, lost folders, too little memory."""

from __future__ import annotations

import errno
import re
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


class Memory(StrEnum):
    """Whose memory ran out."""

    HOST = "This computer's memory (RAM)"
    DEVICE = "The device's memory"


class Failure(NamedTuple):
    """A sentence for the user, and whether input, disk or memory are to blame, not the program."""

    message: str
    bad_input: bool


# what torch, oneDNN, MKL and C++ say when the computer has no memory left
_HOST = re.compile(
    r"DefaultCPUAllocator: (can't allocate|not enough) memory"
    r"|not enough memory: you tried to allocate"
    r"|alloc_cpu\.cpp"
    r"|could not create a memory object"
    r"|could not create a primitive(?! descriptor)"
    r"|std::bad_alloc"
    r"|Cannot allocate memory"
)
# and what the libraries of a device say
_DEVICE = re.compile(
    r"(CUDA|HIP|XPU|MPS backend|NPU)( error:)? out of memory"
    r"|CU(BLAS|FFT|SOLVER|SPARSE|RAND|DNN)_(STATUS_)?\w*ALLOC\w*"
    r"|CUDNN_STATUS_INTERNAL_ERROR_(DEVICE|HOST)_ALLOCATION_FAILED"
    r"|HIP(BLAS|FFT|SOLVER|SPARSE)_(STATUS_)?\w*ALLOC\w*"
    r"|(cuda|hip)ErrorMemoryAllocation|(cuda|hip)ErrorOutOfMemory"
)
_LOWER = {
    Memory.HOST: "choose a smaller working box or fewer particles (max_particles), or close "
    "other programs",
    Memory.DEVICE: "choose a smaller working box, batch size or encoder width, fewer heads or "
    "particles, or the device cpu",
}
_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your disk quota is used up",
    errno.EFBIG: "the file would be larger than is allowed here",
}
_OUT_OF_REACH = {
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "there is no permission for it",
    errno.EPERM: "there is no permission for it",
    errno.EIO: "the disk does not answer (input/output error)",
    errno.ENXIO: "the disk does not answer",
    errno.ENODEV: "the disk has gone",
    errno.ESTALE: "the disk has gone (stale file handle)",
    errno.ENOTCONN: "the disk has gone (not connected)",
}


def out_of_memory(error: BaseException) -> Memory | None:
    """Return whose memory ran out, or None where the error says nothing of the kind."""
    if isinstance(error, MemoryError):
        return Memory.HOST
    if isinstance(error, OSError):
        return Memory.HOST if error.errno == errno.ENOMEM else None
    if not isinstance(error, RuntimeError):
        return None
    text = str(error)
    # torch's own class, told by its name: torch may not have been imported
    named = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
    if named or _DEVICE.search(text):
        return Memory.DEVICE
    return Memory.HOST if _HOST.search(text) else None


def known_failure(
    error: BaseException, folder: Path | None = None, *, resumable: bool = False
) -> str | None:
    """Return one sentence on an error that is not the program's fault, or None.

    Parameters
    ----------
    error
        What was raised.
    folder
        The run folder, if there is one: it may be what has gone.
    resumable
        Whether the run has a checkpoint to go on from.
    """
    if isinstance(error, InputError):
        return one_line(str(error))
    memory = out_of_memory(error)
    if memory is not None:
        lower = _LOWER[memory]
        if resumable:
            lower = (
                f"{lower} for a new run; with more memory free this one can be resumed from its "
                "last checkpoint"
            )
        return f"{memory} is used up: {lower}."
    if isinstance(error, OSError) and error.errno not in (None, errno.EPIPE):
        return _of_a_file(error, folder, resumable)
    return None


def tell(error: BaseException, folder: Path | None = None, *, resumable: bool = False) -> Failure:
    """Return what to say of an error that ended a run; parameters as :func:`known_failure`."""
    known = known_failure(error, folder, resumable=resumable)
    if known is not None:
        return Failure(known, bad_input=True)
    words = one_line(str(error))
    return Failure(f"The run failed unexpectedly ({type(error).__name__}: {words}).", False)


def why(error: OSError) -> str:
    """Return the reason of the operating system in plain words."""
    known = _FULL | _OUT_OF_REACH
    number = error.errno or 0
    return known.get(number) or one_line(error.strerror or str(error))


def one_line(text: str) -> str:
    """Return a text on one line."""
    return " ".join(text.split())


def _of_a_file(error: OSError, folder: Path | None, resumable: bool) -> str:
    assert error.errno is not None
    name = _name(error, folder)
    again = "then resume the run" if resumable else "then start again"
    if folder is not None and error.errno in (errno.ENOENT, errno.ENOTDIR) and _gone(folder):
        return (
            f"The run folder {folder} has gone: it was removed or renamed while the run was under "
            f"way; put it back, {again}."
        )
    full = _FULL.get(error.errno)
    if full is not None:
        kept = "; what was written before is kept" if resumable else ""
        return f"{name} cannot be written, {full}: make room, {again}{kept}."
    return f"{name} cannot be used: {why(error)}; mend that, {again}."


def _name(error: OSError, folder: Path | None) -> str:
    if error.filename is None:
        return "A file" if folder is None else f"A file of {folder}"
    return str(error.filename)


def _gone(folder: Path) -> bool:
    try:
        return not folder.is_dir()
    except OSError:
        return True
