"""Run boxes in the embedded simulator, or write what a real GADGET-2 needs to run them."""

import dataclasses
import time

import torch

from cosmogan.config import Experiment, Simulate
from cosmogan.simulations import box, gadget2_input, parameters
from cosmogan.simulations.outputs import Outputs
from cosmogan.simulations.plan import SimulationStage
from cosmogan.simulations.simulated import SimulatedBox
from hpc.distributed import Processes
from hpc.files import remove_leftovers
from hpc.log import Progress, clock, say
from hpc.part import Part, share_of, title
from hpc.receipts import Receipt
from hpc.stage import Outcome


def simulate(stage: SimulationStage, part: Part | None) -> Outcome:
    """Make the boxes that are missing, or those among them that are a part's.

    Raises
    ------
    ValueError
        when a box cannot be: there is no such universe, too little memory, or others were begun with other settings.
    """
    experiment = stage.experiment
    device = Processes().device(experiment.simulate.device)
    for number in range(experiment.simulate.n_simulations):
        parameters.box_cosmology(experiment, number)  # one that cannot be is found before any box is run
    if part is None:
        for folder in (experiment.simulations_folder, *experiment.simulations_folder.glob("box-*")):
            remove_leftovers(folder)
    work = _prepare_gadget2 if experiment.simulate.gadget2 else _run_boxes
    return work(stage, device, part)


def _prepare_gadget2(stage: SimulationStage, device: torch.device, part: Part | None) -> Outcome:
    """Write the input of GADGET-2 for the boxes that have none, or those among them that are a part's."""
    experiment = stage.experiment
    n, folder, unwritten = experiment.simulate.n_simulations, experiment.simulations_folder, stage.unwritten()
    boxes = share_of(range(n), part)
    to_write = [number for number in boxes if number in unwritten]
    coarse = dataclasses.replace(experiment.simulate, mesh_factor=1)  # initial conditions need no force mesh
    box.fitting(coarse, device)
    stage.receipt.begin(keep=len(unwritten) < n)
    settings, unit = experiment.simulate, experiment.preprocess.length_unit
    a = 1 / (1 + settings.redshift_initial)
    with Progress(title(stage.name, part), len(boxes), "boxes") as progress:
        progress.resume_at(len(boxes) - len(to_write))
        for number in to_write:
            kept = SimulatedBox(experiment, number)
            of_box = dataclasses.replace(experiment, cosmology=kept.cosmology)
            x, v = box.initial_conditions(of_box, number, device)
            in_file = (
                box.in_file_units(x, settings.box_size, unit),
                box.gadget_velocities(v, a, of_box.cosmology.omega_m),
            )
            gadget2_input.write(kept, *in_file)
            progress.advance()
    next_steps = (
        f"\n  sbatch --array=0-{n - 1} slurm/gadget2.sh {folder}    # runs them; or each by its run.sh"
        f"\n  python -m cosmogan.preprocess {experiment.freeze()}    # reads what comes out"
    )
    line = f"wrote initial conditions and parameters of {len(to_write)} boxes for GADGET-2: {folder}"
    return Outcome({"boxes": n}, (line + (next_steps if part is None else ""),))


def _run_boxes(stage: SimulationStage, device: torch.device, part: Part | None) -> Outcome:
    """Run the boxes that are not there, or a part's, in the embedded simulator."""
    experiment, settings, outputs = stage.experiment, stage.experiment.simulate, Outputs(stage.experiment)
    receipt, missing, start = stage.receipt, outputs.boxes_missing(), time.monotonic()
    boxes = share_of(range(settings.n_simulations), part)
    to_run = [number for number in boxes if number in missing]
    begun = outputs.anything()
    fitting = _as_begun(settings, receipt) if begun else settings
    if to_run:
        fitting = box.fitting(fitting, device, fixed=begun or part is not None)
    mesh_factor = fitting.mesh_factor
    receipt.begin(keep=begun, mesh_factor=mesh_factor)
    outputs.begin(to_run, part)
    with Progress(title(stage.name, part), len(boxes) * settings.n_steps, "steps") as progress:
        progress.resume_at((len(boxes) - len(to_run)) * settings.n_steps)
        for number in to_run:
            _run(dataclasses.replace(experiment, simulate=fitting), number, outputs, device, progress)
    seconds = time.monotonic() - start
    line = (
        f"wrote {len(to_run)} boxes of {settings.n_particles}³ particles, {settings.box_size:g} Mpc/h, "
        f"{len(settings.redshifts)} redshift(s) in {clock(seconds)} on {device}: {stage.workplace}"
    )
    results = {"boxes": settings.n_simulations, "seconds": round(seconds, 1), "mesh_factor": mesh_factor}
    next_step = "next: preprocess, which writes the manifest of these shards"
    return Outcome(results, (line,) if settings.write == "snapshots" else (line, next_step))


def _as_begun(settings: Simulate, receipt: Receipt) -> Simulate:
    """Return the settings with the force mesh that the boxes were begun with, as the record says."""
    wanted = settings.mesh_factor
    taken = receipt.results().get("mesh_factor", wanted)
    if taken != wanted:
        say(f"warning: simulate.mesh_factor: {wanted}, but the boxes were begun with {taken}, which is kept")
    return dataclasses.replace(settings, mesh_factor=taken)


def _run(experiment: Experiment, number: int, outputs: Outputs, device: torch.device, progress: Progress) -> None:
    """Run one box, from where it was interrupted if nothing before that is lost."""
    settings, state = experiment.simulate, experiment.simulations_folder / f"box-{number:03d}.state.npz"
    missing = outputs.missing(number)
    if not missing:  # another process made it meanwhile
        return
    if missing[0] < box.next_output(state):
        state.unlink(missing_ok=True)
    kept = SimulatedBox(experiment, number)
    of_box = dataclasses.replace(experiment, cosmology=kept.cosmology)

    def save(output: int, positions: torch.Tensor, velocities: torch.Tensor) -> None:
        x = box.in_file_units(positions, settings.box_size, experiment.preprocess.length_unit)
        if outputs.lacks_snapshot(kept, output):
            a = 1 / (1 + settings.redshifts[output])
            v = box.gadget_velocities(velocities, a, of_box.cosmology.omega_m)
            outputs.write_snapshot(kept, output, x, v)
        outputs.write_shards(kept, output, x)

    box.run(of_box, number, state, device, save, progress)
