"""The processes that were started together, as torchrun and other launchers do."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed
from accelerate import PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import parse_flag_from_env

from emoca_core.errors import EmocaError

LAUNCHED = (
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT"),
    *("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"),
)
"""Variables of the launchers that tell a process that it has siblings."""


def processes() -> PartialState:
    """The processes that share the work, and which of them this one is. Joins them when it is first called.

    Without a GPU they meet on the CPU, for which Accelerate would want the variable ``ACCELERATE_USE_CPU``.

    Raises:
        EmocaError: A launcher started several, but Accelerate knows of one: each would do all the work, and all would
            write to the same files.
    """
    started = max(int(os.environ.get(name) or 1) for name in LAUNCHED if name.endswith("SIZE"))
    without_gpu = torch.accelerator.current_accelerator(check_available=True) in (None, torch.device("mps"))
    state = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or (started > 1 and without_gpu))
    if started > 1 and state.num_processes == 1:
        raise EmocaError(
            f"{started} processes were started, but Accelerate sees one ({state.distributed_type}, {state.device}): "
            "start them by torchrun --nproc_per_node N -m -- emoca_core ..."
        )
    return state


@contextmanager
def together() -> Iterator[None]:
    """Say in one line that a sibling is gone, which the exchange with it tells in many.

    Raises:
        EmocaError: Another process ended while this one was waiting for it.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.distributed.DistError) or "gloo" in str(error):
            raise EmocaError(
                "another process of this run has ended, and this one with it: the same command goes on from what was "
                "written (training with --resume)"
            ) from error
        raise


def go_on_alone() -> bool:
    """End the work in common. True in the process that goes on, which is then as if it had been started alone."""
    state = processes()
    goes_on = bool(state.is_main_process)
    if state.num_processes > 1:
        if torch.distributed.is_initialized():  # training ends it
            state.wait_for_everyone()
            state.destroy_process_group()
        AcceleratorState._reset_state(reset_partial_state=True)
        for name in LAUNCHED:
            os.environ.pop(name, None)
    return goes_on
