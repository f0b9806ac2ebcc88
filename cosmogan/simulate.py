"""Run particle-mesh simulations from Gaussian initial conditions and write them as GADGET-2 snapshots."""

import argparse
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cosmogan import cli, config
from cosmogan.nbody import gadget
from cosmogan.simulations import gadget2_input, gridding, parameters, simulated
from hpc import mpi, rundir
from hpc.log import Progress, clock, say
from hpc.part import Part, share_of, title
from hpc.stages import Stages

TEXT = """\
Simulate boxes of dark matter: second-order initial conditions, a particle-mesh code, and GADGET-2 snapshots (format 1)
at each of simulate.redshifts, or, with simulate.write=shards, the subvolumes that preprocess would make of them. One
process, on a CPU or a GPU. Boxes that are there are not run again, an interrupted one goes on from its last redshift,
and raising simulate.n_simulations adds boxes. With preprocess.snapshots of your own there is nothing to do. With
--gadget2 it writes what a real GADGET-2 needs to run the boxes: initial conditions, parameter files and run.sh."""
EXAMPLE = "python -m cosmogan.simulate configs/demo.yaml simulate.device=cpu"
# What may differ when more boxes are made: where they run, what is kept of them, and how many there are.
FREE = ("device", "write", "gadget2", "n_simulations")


def receipt(experiment: config.Experiment) -> rundir.Receipt:
    """Return the record of these simulations: all the settings that a box depends on."""
    recipe = experiment.section("cosmology", "simulate")
    free = FREE[:-1] if experiment.simulate.latin_hypercube else FREE  # a hypercube's points depend on their number
    recipe["simulate"] = {name: value for name, value in recipe["simulate"].items() if name not in free}
    begun_from = experiment.simulate.initial_conditions
    for name, found in (("transfer", experiment.simulate.transfer_found), ("initial_conditions", begun_from)):
        recipe["simulate"][name] = rundir.checksum(found) if found and Path(found).is_file() else found
    recipe["length_unit"] = experiment.preprocess.length_unit
    folder = experiment.simulations_folder if experiment.simulate.gadget2 else experiment.data_folder
    return rundir.Receipt(folder, "simulate", recipe)


class Kept:
    """What is kept of the boxes, in files and in shards: which of it is missing, and how it is written."""

    def __init__(self, experiment: config.Experiment) -> None:
        self.experiment, write = experiment, experiment.simulate.write
        self.files = range(len(experiment.simulate.redshifts) if write != "shards" else 0)
        self.gridded = experiment.gridded_outputs if write != "snapshots" else range(0)
        if self.gridded:
            sources = simulated.sources(experiment)
            self.receipt = gridding.receipt(experiment, sources, 1)
            self.plan = gridding.plan(experiment, sources, self.receipt.recipe["shards"])

    def missing(self, number: int) -> list[int]:
        """Return the redshifts, by number, of which something is missing of a box."""
        return sorted({output for output, path in self._paths(number) if not path.is_file()})

    def boxes_missing(self) -> list[int]:
        """Return the numbers of the boxes of which anything is missing."""
        return [number for number in range(self.experiment.simulate.n_simulations) if self.missing(number)]

    def anything(self) -> bool:
        """Say whether anything is there, of any box."""
        boxes = range(self.experiment.simulate.n_simulations)
        return any(path.is_file() for number in boxes for _, path in self._paths(number))

    def _paths(self, number: int) -> Iterator[tuple[int, Path]]:
        """Yield all files and shards of a box, each with its redshift, by number."""
        for output in self.files:
            yield output, simulated.path(self.experiment, number, output)
        for output in self.gridded:
            source = simulated.source(self.experiment, number, output)
            for shard in range(len(self.plan.hands)):
                yield output, self.plan.path(source, shard)

    def begin(self, boxes: list[int], part: Part | None) -> None:
        """Make ready to write some boxes, or refuse."""
        if self.gridded:
            sources = tuple(source for source in self.plan.sources if source.simulation in boxes)
            gridding.prepare(dataclasses.replace(self.plan, sources=sources), self.receipt, 1, part)

    def write(self, number: int, output: int, positions: Any, velocities: Any) -> None:
        """Write what is missing of a box at a redshift; the particles are tensors, as `box.run` has them."""
        from cosmogan.simulations import box

        experiment, file = self.experiment, simulated.path(self.experiment, number, output)
        x = box.in_file_units(experiment, positions)
        if output in self.files and not file.is_file():
            made = simulated.header(experiment, number, experiment.simulate.redshifts[output])
            v = box.gadget_velocities(velocities, 1 / (1 + made.redshift), made.omega_m)
            with rundir.whole_file(file) as temporary:
                gadget.write(temporary, x, v, np.arange(1, len(x) + 1, dtype=np.uint32), made)
        source = simulated.source(experiment, number, output, x)
        if output in self.gridded and self.plan.missing(source):
            gridding.write(self.plan, source, mpi.SerialComm(), Stages())


def done(experiment: config.Experiment) -> bool:
    """Say whether there is nothing to simulate; loads nothing heavy."""
    if experiment.preprocess.snapshots:
        return True
    if experiment.simulate.gadget2:
        return receipt(experiment).done() and not _unwritten(experiment)
    return receipt(experiment).done() and not Kept(experiment).boxes_missing()


def _unwritten(experiment: config.Experiment) -> list[int]:
    """Return the numbers of the boxes for which GADGET-2 has no input."""
    return [n for n in range(experiment.simulate.n_simulations) if not gadget2_input.is_written(experiment, n)]


def parts(experiment: config.Experiment) -> int:
    """Return how many boxes there are to share out; 0 with snapshots of one's own."""
    return 0 if experiment.preprocess.snapshots else experiment.simulate.n_simulations


def simulate(experiment: config.Experiment, part: Part | None = None) -> None:
    """Run the boxes that are not there, or those among them that are a part's."""
    if done(experiment):
        say(f"simulate: nothing to do: {_why_done(experiment)}")
        return
    with cli.at_work(experiment, "simulate", 0, workplace(experiment), part):
        _simulate(experiment, part)


def _simulate(experiment: config.Experiment, part: Part | None) -> None:
    from hpc.distributed import Processes

    settings = experiment.simulate
    device = Processes().device(settings.device)
    for number in range(settings.n_simulations):
        parameters.box_cosmology(experiment, number)  # one that cannot be is found before any box is run
    if part is None:
        for folder in (experiment.simulations_folder, *experiment.simulations_folder.glob("box-*")):
            rundir.remove_leftovers(folder)
    if settings.gadget2:
        _prepare_gadget2(experiment, device, part)
    else:
        _run_boxes(experiment, device, part)


def _why_done(experiment: config.Experiment) -> str:
    if experiment.preprocess.snapshots:
        return "preprocess.snapshots is set"
    if experiment.simulate.gadget2:
        return f"the input of GADGET-2 for all boxes is in {experiment.simulations_folder}"
    return f"all boxes are in {workplace(experiment)}"


def workplace(experiment: config.Experiment) -> Path:
    """Return the folder of what comes out of the embedded simulator."""
    return experiment.shards_folder if experiment.simulate.write == "shards" else experiment.simulations_folder


def _prepare_gadget2(experiment: config.Experiment, device: Any, part: Part | None) -> None:
    """Write the input of GADGET-2 for the boxes that have none, or those among them that are a part's."""
    from cosmogan.simulations import box

    n, folder, doing = experiment.simulate.n_simulations, experiment.simulations_folder, title("simulate", part)
    made, unwritten, boxes = receipt(experiment), _unwritten(experiment), share_of(range(n), part)
    to_write = [number for number in boxes if number in unwritten]
    coarse = dataclasses.replace(experiment.simulate, mesh_factor=1)  # initial conditions need no force mesh
    box.fitting(dataclasses.replace(experiment, simulate=coarse), device)
    made.begin(keep=len(unwritten) < n)
    a = 1 / (1 + experiment.simulate.redshift_initial)
    with Progress(doing, len(boxes), "boxes") as progress:
        progress.resume_at(len(boxes) - len(to_write))
        for number in to_write:
            of_box = parameters.with_cosmology(experiment, number)
            x, v = box.initial_conditions(of_box, number, device)
            v = box.gadget_velocities(v, a, of_box.cosmology.omega_m)
            gadget2_input.write(experiment, number, box.in_file_units(experiment, x), v)
            progress.advance()
    say(f"{doing}: wrote initial conditions and parameters of {len(to_write)} boxes for GADGET-2: {folder}")
    if part is None:
        made.finish(boxes=n)
        say(
            f"  sbatch --array=0-{n - 1} slurm/gadget2.sh {folder}    # runs them; or each by its run.sh\n"
            f"  python -m cosmogan.preprocess {experiment.freeze()}    # reads what comes out"
        )


def _run_boxes(experiment: config.Experiment, device: Any, part: Part | None) -> None:
    """Run the boxes that are not there, or a part's, in the embedded simulator."""
    from cosmogan.simulations import box

    settings, kept = experiment.simulate, Kept(experiment)
    made, missing, start = receipt(experiment), kept.boxes_missing(), time.monotonic()
    boxes, doing = share_of(range(settings.n_simulations), part), title("simulate", part)
    to_run = [number for number in boxes if number in missing]
    begun = kept.anything()
    fitting = _as_begun(experiment, made) if begun else experiment
    if to_run:
        fitting = box.fitting(fitting, device, fixed=begun or part is not None)
    mesh_factor = fitting.simulate.mesh_factor
    made.begin(keep=begun, mesh_factor=mesh_factor)
    kept.begin(to_run, part)
    with Progress(doing, len(boxes) * settings.n_steps, "steps") as progress:
        progress.resume_at((len(boxes) - len(to_run)) * settings.n_steps)
        for number in to_run:
            _run(fitting, number, kept, device, progress)
    seconds = time.monotonic() - start
    if part is None:
        made.finish(boxes=settings.n_simulations, seconds=round(seconds, 1), mesh_factor=mesh_factor)
    say(
        f"{doing}: wrote {len(to_run)} boxes of {settings.n_particles}³ particles, {settings.box_size:g} Mpc/h, "
        f"{len(settings.redshifts)} redshift(s) in {clock(seconds)} on {device}: {workplace(experiment)}"
    )


def _as_begun(experiment: config.Experiment, made: rundir.Receipt) -> config.Experiment:
    """Return the experiment with the force mesh that its boxes were begun with, as the record says."""
    wanted = experiment.simulate.mesh_factor
    taken = made.results().get("mesh_factor", wanted)
    if taken != wanted:
        say(f"warning: simulate.mesh_factor: {wanted}, but the boxes were begun with {taken}; going on with that")
    return dataclasses.replace(experiment, simulate=dataclasses.replace(experiment.simulate, mesh_factor=taken))


def _run(experiment: config.Experiment, number: int, kept: Kept, device: Any, progress: Progress) -> None:
    """Run one box, from where it was interrupted if nothing before that is lost."""
    from cosmogan.simulations import box

    state = experiment.simulations_folder / f"box-{number:03d}.state.npz"
    missing = kept.missing(number)
    if not missing:  # another process made it meanwhile
        return
    if missing[0] < box.next_output(state):
        state.unlink(missing_ok=True)
    of_box = parameters.with_cosmology(experiment, number)
    box.run(of_box, number, state, device, lambda *particles: kept.write(number, *particles), progress)


def _options(made: argparse.ArgumentParser) -> None:
    cli.part_option(made)
    what = "write the input of a real GADGET-2 for each box there, and run nothing"
    made.add_argument("--gadget2", dest="simulate.gadget2", metavar="FOLDER", help=what)


def work(experiment: config.Experiment, comm: mpi.SerialComm, part: Part | None) -> None:
    """Run the command in its one process."""
    simulate(experiment, part)


if __name__ == "__main__":
    cli.main("cosmogan.simulate", TEXT, EXAMPLE, work, world=mpi.SerialComm, options=_options)
