"""Train on all processes together, to the end or until a signal."""

from cosmogan.config import Experiment
from cosmogan.training import session, setup
from cosmogan.training.plan import TrainingStage
from hpc import distributed
from hpc.distributed import Processes
from hpc.log import say
from hpc.stage import Outcome, execute


def train(experiment: Experiment, processes: Processes) -> None:
    """Join the processes, train unless that is done, and leave, as the last thing that this process does."""
    stage = TrainingStage(experiment)
    if not stage.is_done():
        distributed.join(experiment.train.device)
    execute(stage, processes)
    distributed.leave()


def run(stage: TrainingStage, processes: Processes) -> Outcome:
    """Train on this process's part of every batch; return the results for the record.

    Raises
    ------
    SystemExit
        with the shell's status of a signal that ended it, when a checkpoint is saved.
    """
    experiment = stage.experiment
    with setup.staged(experiment, processes) as copies:
        trainer, data, preview = setup.prepare(experiment, processes, copies)
        if processes.rank == 0:
            stage.receipt.begin(keep=experiment.train_folder.exists(), allowed=stage.allowed())
        processes.barrier()
        try:
            session.run(trainer, data, experiment.train_folder, preview)
        except session.Interrupted as stop:
            where = f"at step {trainer.step} of {trainer.steps}"
            say(f"train: stopped by {stop} {where}; a checkpoint is saved, the same command resumes", processes.rank)
            status = 128 + stop.number  # not 0: a chain of stages must not continue
            distributed.leave(status)
            raise SystemExit(status) from None
    epochs = experiment.train.epochs
    results = {"epochs": epochs, "steps": trainer.steps, "n_seen": trainer.n_seen, "restarts": trainer.restarts}
    return Outcome(results, (f"finished {epochs} epochs, {trainer.steps} steps",))
