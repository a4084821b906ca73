"""`hydra/launcher=ray`: the jobs of a sweep as tasks of Ray, on this machine or on a cluster.

Hydra looks for launchers in the package hydra_plugins alone. Ray itself is imported at the launch.
Its own plugin (hydra-ray-launcher 1.2) asks for cloudpickle below 3, which submitit excludes.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


@dataclass
class RayConf:
    _target_: str = "hydra_plugins.lengthgen_ray.RayLauncher"
    # of a running cluster: auto, HOST:PORT or ray://HOST:PORT; null: Ray is started here for this
    # sweep, and ended with it
    address: str | None = None
    n_jobs: int | None = None  # at a time, where Ray is started here; null: as the CPUs allow
    cpus: float = 1.0  # that each job is given
    gpus: float | None = None  # that each job is given; null: one, where there are any


ConfigStore.instance().store(
    group="hydra/launcher", name="ray", node=RayConf, provider="lengthgen_ray"
)


class RayLauncher(Launcher):
    def __init__(
        self, address: str | None, n_jobs: int | None, cpus: float, gpus: float | None
    ) -> None:
        self.address, self.n_jobs, self.cpus, self.gpus = address, n_jobs, cpus, gpus
        self.job: tuple[HydraContext, TaskFunction, DictConfig] | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.job = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """One task a job. One that is killed ends no other."""
        import ray

        setup_globals()
        ours = not ray.is_initialized()
        if ours:
            _start(self.address, self.n_jobs and self.n_jobs * self.cpus)
        gpus = self.gpus
        if gpus is None:
            gpus = 1 if ray.cluster_resources().get("GPU") else 0
        # A job that was killed is not tried again unasked: the table of failures says so.
        call = ray.remote(num_cpus=self.cpus, num_gpus=gpus, max_retries=0)(_call)
        # One copy for all jobs.
        shared = ray.put((self.job, Singleton.get_state(), os.getcwd()))
        try:
            tasks = [
                call.remote(shared, list(overrides), initial_job_idx + index)
                for index, overrides in enumerate(job_overrides)
            ]
            return [_result(task) for task in tasks]
        finally:
            if ours:
                ray.shutdown()


def _start(address: str | None, cpus: float | None) -> None:
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_COLOR_PREFIX", "0")
    # Else a task without a GPU is shown none, and a machine's drivers are looked for again.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    here: dict[str, Any] = {} if address else {"num_cpus": cpus, "include_dashboard": False}
    ray.init(address, logging_level=logging.ERROR, log_to_driver=True, **here)


def _call(shared: Any, overrides: list[str], number: int) -> JobReturn:
    """In a process of Ray's, as Hydra's other launchers do it."""
    (hydra_context, task_function, config), singletons, folder = shared
    if os.path.isdir(folder):
        os.chdir(folder)  # relative paths, such as results=results
    setup_globals()
    Singleton.set_state(singletons)
    job_config = hydra_context.config_loader.load_sweep_config(config, overrides)
    with open_dict(job_config):
        job_config.hydra.job.id = f"{job_config.hydra.job.name}_{number}"
        job_config.hydra.job.num = number
    HydraConfig.instance().set_config(job_config)
    return run_job(
        hydra_context=hydra_context,
        task_function=task_function,
        config=job_config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )


def _result(task: Any) -> JobReturn:
    """Without a value where its process was killed: the sweep finds what the job noted."""
    import ray

    try:
        returned: JobReturn = ray.get(task)
    except ray.exceptions.RayError:
        return JobReturn(status=JobStatus.COMPLETED, _return_value=float("nan"))
    return returned
