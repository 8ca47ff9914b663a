from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.failures import Memory, known_failure, out_of_memory, tell

if TYPE_CHECKING:
    from pathlib import Path


def allocated_by_numpy() -> Exception:
    with pytest.raises(MemoryError) as raised:
        np.empty(2**45)
    return raised.value


def allocated_by_torch() -> Exception:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**58)
    return raised.value


@pytest.mark.parametrize("make", [allocated_by_numpy, allocated_by_torch])
def test_real_failures_to_allocate_are_of_the_hosts_memory(make: object) -> None:
    assert callable(make)
    assert out_of_memory(make()) is Memory.HOST


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you "
            "tried to allocate 4096000000000 bytes. Error code 12 (Cannot allocate memory)"
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes."),
        RuntimeError("could not create a memory object"),
        RuntimeError("could not create a primitive"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("unable to mmap 8 bytes from file </run/x>: Cannot allocate memory (12)"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
    ids=str,
)
def test_the_computers_memory(error: Exception) -> None:
    told = tell(error)
    assert told.bad_input
    assert "RAM" in told.message
    assert "fewer particles" in told.message
    assert "resumed" not in told.message
    assert "\n" not in told.message


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nGPU 0 …"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be …"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling x"),
        RuntimeError("HIP out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
    ],
    ids=str,
)
def test_the_devices_memory(error: Exception) -> None:
    told = tell(error, resumable=True)
    assert told.bad_input
    assert told.message.startswith("The device's memory is used up")
    assert "batch size" in told.message
    assert "can be resumed from its last checkpoint" in told.message
    assert "\n" not in told.message


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
        RuntimeError("could not create a primitive descriptor for a convolution"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("shared memory file descriptor"),
        ValueError("std::bad_alloc"),
        OSError(errno.ENOSPC, "No space left on device"),
        ZeroDivisionError("division by zero"),
        KeyError("out of memory"),
    ],
    ids=str,
)
def test_nothing_else_is_called_out_of_memory(error: Exception) -> None:
    assert out_of_memory(error) is None
    assert "memory is used up" not in tell(error).message


def test_an_unexpected_error_is_the_programs() -> None:
    told = tell(ValueError("two\nlines"))
    assert not told.bad_input
    assert told.message == "The run failed unexpectedly (ValueError: two lines)."


def test_bad_input_speaks_for_itself() -> None:
    assert tell(InputError("It is so.")) == ("It is so.", True)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EFBIG, "larger than is allowed"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "no permission"),
        (errno.EIO, "does not answer"),
        (errno.ESTALE, "has gone"),
        (errno.EMFILE, "Too many open files"),
    ],
)
def test_a_disk_that_refuses_is_told_with_the_file(number: int, words: str, tmp_path: Path) -> None:
    error = OSError(number, "Too many open files", str(tmp_path / "map.mrc"))
    for resumable, again in ((False, "start again"), (True, "resume the run")):
        told = tell(error, tmp_path, resumable=resumable)
        assert told.bad_input
        assert str(tmp_path / "map.mrc") in told.message
        assert words in told.message
        assert again in told.message


def test_a_folder_that_has_gone_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    error = FileNotFoundError(errno.ENOENT, "No such file or directory", str(folder / "map.mrc"))
    assert f"The run folder {folder} has gone" in tell(error, folder).message
    folder.mkdir()
    assert "has gone" not in tell(error, folder).message


def test_an_error_without_a_number_is_not_guessed_at() -> None:
    assert known_failure(OSError("100 requested and 3 written")) is None
