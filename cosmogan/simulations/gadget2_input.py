"""Write the input of a real GADGET-2: initial conditions, parameter files and a script that runs it."""

import dataclasses

import numpy as np

from cosmogan.nbody import gadget
from cosmogan.simulations.simulated import UNITS, SimulatedBox
from hpc.files import whole_file

SOFTENING = 1 / 20  # of the particles' mean distance; comoving, Plummer-equivalent
INITIAL = "initial"  # the initial conditions' file, or the stem of several
PARAMETERS = "gadget2.param"
CM_PER_MPC = 3.085678e24

# Names are relative to the box's folder, since GADGET-2 has room for 99 characters of a name.
_TEMPLATE = """\
% GADGET-2.0.7, built with PERIODIC, PEANOHILBERT, WALLCLOCK, SYNCHRONIZATION and PMGRID={n_mesh}.
% Lengths are in {length_unit}, masses in 1e10 Msun/h, velocities in km/s.
InitCondFile               {initial}
ICFormat                   1
OutputDir                  ./
SnapshotFileBase           snapshot
SnapFormat                 1
NumFilesPerSnapshot        {files}
NumFilesWrittenInParallel  {files}
EnergyFile                 energy.txt
InfoFile                   info.txt
TimingsFile                timings.txt
CpuFile                    cpu.txt

% Cosmology
ComovingIntegrationOn      1
PeriodicBoundariesOn       1
Omega0                     {omega_m:.10g}
OmegaLambda                {omega_lambda:.10g}
OmegaBaryon                {omega_b:.10g}
HubbleParam                {h:.10g}
BoxSize                    {box_size:.10g}

% Outputs: the times of the list, and the end
TimeBegin                  {begin:.10g}
TimeMax                    {end:.10g}
OutputListOn               1
OutputListFilename         outputs.txt
TimeBetSnapshot            1.1
TimeOfFirstSnapshot        0
TimeBetStatistics          0.1

% Restarts: the file "stop" ends a run early; run.sh resumes
RestartFile                restart
CpuTimeBetRestartFile      3600
TimeLimitCPU               1e9
ResubmitOn                 0
ResubmitCommand            none

% Time steps
TypeOfTimestepCriterion    0
ErrTolIntAccuracy          0.025
MaxRMSDisplacementFac      0.2
MaxSizeTimestep            0.03
MinSizeTimestep            0

% Forces
ErrTolTheta                0.5
TypeOfOpeningCriterion     1
ErrTolForceAcc             0.005
TreeDomainUpdateFrequency  0.1
SofteningHalo              {softening:.6g}
SofteningHaloMaxPhys       {softening:.6g}

% Memory
PartAllocFactor            1.6
TreeAllocFactor            0.9
BufferSize                 100

% Units
UnitLength_in_cm           {centimetres:.7g}
UnitMass_in_g              1.989e43
UnitVelocity_in_cm_per_s   1e5
GravityConstantInternal    0

% Of gas and of other types, which are not there: GADGET-2 asks for them all the same
CourantFac                 0.15
DesNumNgb                  33
MaxNumNgbDeviation         2
ArtBulkViscConst           0.8
InitGasTemp                0
MinGasTemp                 0
MinGasHsmlFractional       0.25
SofteningGas               0
SofteningGasMaxPhys        0
SofteningDisk              0
SofteningDiskMaxPhys       0
SofteningBulge             0
SofteningBulgeMaxPhys      0
SofteningStars             0
SofteningStarsMaxPhys      0
SofteningBndry             0
SofteningBndryMaxPhys      0
"""

# GADGET-2 ends with status 0 after many errors: what tells is the last snapshot, written when all else is done.
_RUN = """\
#!/bin/bash
# GADGET-2 on this box, from its initial conditions or from where it was stopped. On as many processes each time:
#   GADGET2=/path/to/Gadget2 COSMOGAN_MPIRUN="mpirun -n 64" ./run.sh
cd "$(dirname "${{BASH_SOURCE[0]}}")" || exit
finished() {{ [ -e {last} ] || [ -e {last}.0 ]; }}
finished && echo "nothing to do: $PWD/{last} is there" && exit
gadget2=${{GADGET2:-Gadget2}}
if ! command -v "$gadget2" > /dev/null; then
  echo "GADGET2: $gadget2 not found; expected a GADGET-2 program, built as {parameters} says" >&2
  exit 1
fi
rm -f stop
${{COSMOGAN_MPIRUN:-mpirun}} "$gadget2" {parameters} $([ -e restart.0 ] && echo 1) || exit
finished || [ -e restart.0 ] || {{ echo "$PWD: GADGET-2 ended with no {last}, see above" >&2; exit 1; }}
"""


def is_written(box: SimulatedBox) -> bool:
    """Say whether all that GADGET-2 needs for a box was written; its parameter file comes last."""
    return (box.folder / PARAMETERS).is_file()


def write(box: SimulatedBox, positions: np.ndarray, velocities: np.ndarray) -> None:
    """Write all that GADGET-2 needs for one box.

    Parameters
    ----------
    positions : (n, 3) float32, in [0, L), in the experiment's length unit
    velocities : (n, 3) float32, v_peculiar / sqrt(a) [km/s]
    """
    write_initial_conditions(box, positions, velocities)
    redshifts = box.experiment.simulate.redshifts
    last = box.path(len(redshifts) - 1).name
    script = _RUN.format(last=last, parameters=PARAMETERS)
    # GADGET-2 writes a snapshot when it ends, listed or not
    times = "".join(f"{1 / (1 + z):.10g}\n" for z in redshifts[:-1])
    for name, text, mode in (
        ("outputs.txt", times, 0o644),
        ("run.sh", script, 0o755),
        (PARAMETERS, parameter_file(box), 0o644),
    ):
        with whole_file(box.folder / name) as temporary:
            temporary.write_text(text)
            temporary.chmod(mode)


def write_initial_conditions(box: SimulatedBox, positions: np.ndarray, velocities: np.ndarray) -> None:
    """Write particles, as `write` takes them, as a snapshot of ``simulate.gadget2_files`` files."""
    settings, n_files = box.experiment.simulate, box.experiment.simulate.gadget2_files
    header = box.header(settings.redshift_initial)
    ids = np.arange(1, len(positions) + 1, dtype=np.uint32)
    ends = [i * len(ids) // n_files for i in range(n_files + 1)]
    for i, rows in enumerate(map(slice, ends, ends[1:])):
        counts = tuple(rows.stop - rows.start if n else 0 for n in header.n_total)
        of_file = dataclasses.replace(header, n_part=counts, n_files=n_files)
        name = INITIAL if n_files == 1 else f"{INITIAL}.{i}"
        with whole_file(box.folder / name) as temporary:
            gadget.write(temporary, positions[rows], velocities[rows], ids[rows], of_file)


def parameter_file(box: SimulatedBox) -> str:
    """Return the parameters of a box's run, every one that GADGET-2.0.7 reads."""
    settings, unit = box.experiment.simulate, box.experiment.preprocess.length_unit
    cosmos, scale = box.cosmology, UNITS[unit]
    return _TEMPLATE.format(
        n_mesh=2 * settings.n_particles,
        length_unit=unit,
        initial=INITIAL,
        files=settings.gadget2_files,
        omega_m=cosmos.omega_m,
        omega_lambda=1 - cosmos.omega_m,
        omega_b=cosmos.omega_b,
        h=cosmos.h,
        box_size=settings.box_size * scale,
        begin=1 / (1 + settings.redshift_initial),
        end=1 / (1 + settings.redshifts[-1]),
        softening=SOFTENING * settings.box_size * scale / settings.n_particles,
        centimetres=CM_PER_MPC / scale,
    )
