"""Train the networks, on one process or many."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cosmogan import cli, config
from cosmogan.training import plan
from cosmogan.training.plan import done
from hpc.log import say
from hpc.watch import end_with_launcher

TEXT = """\
Train the generator and the discriminator on the subvolumes of all simulations that are not held out. The network that
comes out depends on the settings alone, not on the number of processes. Stopped by SIGTERM, SIGUSR1 or Ctrl-C it saves
a checkpoint at the next step; the same command goes on from there. Also starts under srun, submitit, or alone."""
EXAMPLE = "torchrun --standalone --nproc-per-node 2 -m cosmogan.train configs/demo.yaml"


def work(experiment: config.Experiment, processes: Any) -> None:
    """Train on this process's part of every batch.

    Raises
    ------
    ValueError
        when only the generators of a training that is finished are gone; and what `prepare` and the session raise.
    """
    if done(experiment):
        say(f"train: finished ({experiment.train.epochs} epochs); nothing to do", processes.rank)
        return
    if plan.finished(experiment) and any(experiment.train_folder.glob("checkpoints/step-*")):
        raise ValueError(
            f"{experiment.train_folder}/generators: training is finished, but there are none; "
            f"delete {experiment.train_folder} to train again"
        )
    from cosmogan.training import setup
    from hpc import distributed

    distributed.join(experiment.train.device)
    with contextlib.ExitStack() as held:
        mine = processes.rank == 0
        processes.each(mine, lambda: held.enter_context(cli.at_work(experiment, "train", processes.rank)))
        _train(experiment, processes, held.enter_context(setup.staged(experiment, processes)))


def _train(experiment: config.Experiment, processes: Any, copies: Mapping[Path, Path]) -> None:
    """Train to the end, or until a signal."""
    from cosmogan.training import session, setup
    from hpc import distributed

    trainer, data, preview = setup.prepare(experiment, processes, copies)
    made = plan.receipt(experiment)
    if processes.rank == 0:
        made.begin(keep=experiment.train_folder.exists(), allowed=plan.allowed(experiment))
    processes.barrier()
    try:
        session.run(trainer, data, experiment.train_folder, preview)
    except session.Interrupted as stop:
        where = f"at step {trainer.step} of {trainer.steps}"
        say(f"train: stopped by {stop} {where}; a checkpoint is saved, the same command goes on", processes.rank)
        status = 128 + stop.number  # not 0: a chain of stages must not go on
        distributed.leave(status)
        raise SystemExit(status) from None
    if processes.rank == 0:
        made.finish(
            epochs=experiment.train.epochs, steps=trainer.steps, n_seen=trainer.n_seen, restarts=trainer.restarts
        )
    say(f"train: finished {experiment.train.epochs} epochs, {trainer.steps} steps", processes.rank)
    distributed.leave()


def _world() -> Any:
    from hpc import distributed  # imports torch

    return distributed.find()


if __name__ == "__main__":
    end_with_launcher()
    cli.main("cosmogan.train", TEXT, EXAMPLE, work, world=_world)
