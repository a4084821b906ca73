"""What runs the jobs of a sweep, `hydra/launcher=NAME`, and what its jobs have to be told.

The basic one calls them in the command's own process. The others make processes, here or on other
machines, which find the sweep by its folder.
"""

from dataclasses import dataclass

from lengthgen.config.hydra_settings import BASIC, JOBLIB, RAY, SUBMITIT_LOCAL, SUBMITIT_SLURM


@dataclass(frozen=True)
class Engine:
    """parallel: its jobs are in other processes than the command's, several at a time.

    children: these are children of the command's process, and end with it. shares: they share the
    GPUs of this machine, and nobody gives each its own.
    """

    name: str
    parallel: bool = True
    children: bool = False
    shares: bool = False


IN_PROCESS = Engine("basic", parallel=False)
ENGINES = {
    BASIC: IN_PROCESS,
    JOBLIB: Engine("joblib", children=True, shares=True),
    SUBMITIT_LOCAL: Engine("submitit_local", shares=True),
    SUBMITIT_SLURM: Engine("submitit_slurm"),
    RAY: Engine("ray"),
}
