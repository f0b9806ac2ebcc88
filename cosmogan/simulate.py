"""Run particle-mesh simulations from Gaussian initial conditions and write them as GADGET-2 snapshots."""

import time
from pathlib import Path

from cosmogan import command, config, parameters
from hpc import mpi, rundir
from hpc.log import Progress, clock, say

TEXT = """\
Simulate boxes of dark matter: second-order initial conditions, a particle-mesh code, and GADGET-2 snapshots (format 1)
at each of simulate.redshifts. One process, on a CPU or a GPU. Boxes that are there are not run again, and raising
simulate.n_simulations adds boxes. With snapshots of your own (preprocess.snapshots) there is nothing to do."""
EXAMPLE = "python -m cosmogan.simulate configs/demo.yaml simulate.device=cpu"
# What may differ when more boxes are made: where they run and how many there are.
FREE = ("device", "n_simulations")


def receipt(experiment: config.Experiment) -> rundir.Receipt:
    """Return the record of these simulations: all the settings that a box depends on."""
    recipe = experiment.section("cosmology", "simulate")
    free = FREE[:1] if experiment.simulate.latin_hypercube else FREE  # a hypercube's points depend on their number
    recipe["simulate"] = {name: value for name, value in recipe["simulate"].items() if name not in free}
    found = experiment.simulate.transfer_found
    recipe["simulate"]["transfer"] = rundir.checksum(found) if Path(found).is_file() else found
    recipe["length_unit"] = experiment.preprocess.length_unit
    return rundir.Receipt(experiment.data_folder, "simulate", recipe)


def snapshots(experiment: config.Experiment, number: int) -> list[Path]:
    """Return the files of one box, one a redshift."""
    folder = experiment.simulations_folder / f"box-{number:03d}"
    return [folder / f"snapshot_{output:03d}" for output in range(len(experiment.simulate.redshifts))]


def missing(experiment: config.Experiment) -> list[int]:
    """Return the numbers of the boxes that lack a snapshot."""
    numbers = range(experiment.simulate.n_simulations)
    return [i for i in numbers if not all(path.is_file() for path in snapshots(experiment, i))]


def done(experiment: config.Experiment) -> bool:
    """Say whether there is nothing to simulate; loads nothing heavy."""
    return bool(experiment.preprocess.snapshots) or (receipt(experiment).done() and not missing(experiment))


def simulate(experiment: config.Experiment) -> None:
    """Run the boxes that are not there."""
    settings, folder = experiment.simulate, experiment.simulations_folder
    if done(experiment):
        own = experiment.preprocess.snapshots
        say("simulate: nothing to do: " + ("preprocess.snapshots is set" if own else f"all boxes are in {folder}"))
        return
    from cosmogan import box
    from hpc.distributed import Processes

    device = Processes().device(settings.device)
    schedule = box.schedule(experiment)
    made, to_run, start = receipt(experiment), missing(experiment), time.monotonic()
    made.begin(keep=len(to_run) < settings.n_simulations)
    with Progress("simulate", settings.n_simulations * settings.n_steps, "steps") as progress:
        progress.resume_at((settings.n_simulations - len(to_run)) * settings.n_steps)
        for number in to_run:
            box.run(
                parameters.with_cosmology(experiment, number),
                number,
                schedule,
                snapshots(experiment, number),
                device,
                progress,
            )
    seconds = time.monotonic() - start
    made.finish(boxes=settings.n_simulations, seconds=round(seconds, 1))
    say(
        f"simulate: wrote {len(to_run)} boxes of {settings.n_particles}³ particles, {settings.box_size:g} Mpc/h, "
        f"{len(settings.redshifts)} redshift(s) in {clock(seconds)} on {device}: {folder}"
    )


def work(experiment: config.Experiment, comm: mpi.SerialComm) -> None:
    """Run the command in its one process."""
    simulate(experiment)


if __name__ == "__main__":
    command.main("cosmogan.simulate", TEXT, EXAMPLE, work, world=mpi.SerialComm)
