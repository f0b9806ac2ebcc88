"""Read from the environment what an MPI launcher sets for its processes."""

import os

# MPICH and PMI-2, Open MPI, MVAPICH; and srun, which names the tasks of a step whether MPI joins them or not.
_SIZE_VARIABLES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
_RANK_VARIABLES = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK", "SLURM_PROCID")
_PREFIXES = ("PMI_", "PMIX_", "OMPI_", "MPI_LOCAL", "MV2_", "HYDI_", "SLURM_STEP_NUM_TASKS")


def size() -> int:
    """Return the number of ranks that a launcher started, 1 when none did."""
    return next((int(os.environ[name]) for name in _SIZE_VARIABLES if name in os.environ), 1)


def rank() -> int:
    """Return which of the ranks this process is, 0 when no launcher started it."""
    return next((int(os.environ[name]) for name in _RANK_VARIABLES if name in os.environ), 0)


def plain_environment() -> dict[str, str]:
    """Return this rank's environment without what its launcher put there, for a child that is no rank."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_PREFIXES)}
