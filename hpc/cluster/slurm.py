"""Submit jobs to SLURM, ask for their states, end or begin them again, and start processes inside of them by srun."""

import contextlib
import getpass
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import submitit

from hpc import chain, mpi
from hpc.chain import Command
from hpc.cluster import slurm_jobs, submission
from hpc.cluster.scheduler import Phase, Plan, Queue, State, Work

# The phases of a job by squeue's words; all other words are those of a job that failed.
_CHANGING = (
    *("CONFIGURING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING"),
    *("STAGE_OUT", "COMPLETING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"),
)
PHASES: dict[str, Phase] = {
    **{"PENDING": "waiting", "RUNNING": "running", "COMPLETED": "done", "CANCELLED": "cancelled"},
    **dict.fromkeys(_CHANGING, "changing"),
}
# How a job ended, in words for its user.
ENDS = {
    "CANCELLED": "cancelled",
    "TIMEOUT": "its time ran out",
    "NODE_FAIL": "a node failed",
    "OUT_OF_MEMORY": "killed for memory: ask for more (memory_gb, or sbatch --mem)",
    "PREEMPTED": "other jobs took its nodes",
    "BOOT_FAIL": "a node did not boot",
    "DEADLINE": "its deadline has passed",
}
# The MPI plug-in of srun that starts the ranks of a library; ranks of other libraries start by mpirun. MPICH is not one
# for pmi2: version 5 sends 4 kB from where its address lies in memory, packed. What else lies there decides whether a
# line is too long for SLURM (1024 characters), and then no rank starts.
PLUGINS = {"Open MPI": "pmix", "CRAY MPICH": "cray_shasta", "Intel": "pmi2", "MVAPICH": "pmi2"}
PAUSES = (2, 5, 10)  # seconds before the controller is asked again; its commands wait for 10 s for an answer
# Options of sbatch, and the names under which `scontrol show job` has a job's values.
OPTIONS = {
    "partition": "Partition",
    "account": "Account",
    "qos": "QOS",
    "reservation": "Reservation",
    "constraint": "Features",
    "time": "TimeLimit",
    "nodes": "NumNodes",
    "ntasks": "NumTasks",
    "cpus-per-task": "CPUs/Task",
    "gpus-per-node": "TresPerNode",
    "mem": "MinMemoryNode",
    "mem-per-cpu": "MinMemoryCPU",
    "job-name": "JobName",
}
_SITE = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_MPI_TYPE")  # variables that do not speak of a job


class Slurm(Queue):
    """SLURM, by its commands; its numbers of jobs are as 12, or 12_3 in an array."""

    cancel_command = "scancel"

    def missing(self) -> str:
        """Say whether SLURM's commands are lacking on this machine."""
        return "" if shutil.which("sbatch") else "no SLURM on this machine (sbatch: not found)"

    def preview(self, plan: Plan) -> str:
        """Return the batch scripts that `launch` would submit."""
        return submission.preview(plan, self)

    def launch(self, plan: Plan) -> list[submitit.Job]:
        """Submit all stages; each job waits for the one before it."""
        return submission.launch(plan, self)

    def script(self, plan: Plan, label: str, stage: Command, n: int, after: str | None) -> str:
        """Return the batch script of a job, or of an array of ``n``."""
        return slurm_jobs.script(plan, label, stage, n, after)

    def submit(self, plan: Plan, label: str, work: list[Work], after: str | None) -> list[submitit.Job]:
        """Submit a job, or an array when there is more than one thing to do."""
        with no_job():
            return slurm_jobs.submit(plan, label, [slurm_jobs.SlurmJob(item, self) for item in work], after)

    def largest_array(self, stages: Mapping[str, Command]) -> int:
        """Return how many jobs an array may have here, by SLURM's own limit and that of this user."""
        line = re.search(r"^MaxArraySize\s*=\s*(\d+)", _call("scontrol", "show", "config"), re.MULTILINE)
        largest = int(line[1]) - 1 if line else 1000
        most, n_arrays = _most_jobs(), sum(stage.array > 0 for stage in stages.values())
        each = sys.maxsize if most is None or n_arrays == 0 else max((most - len(stages)) // n_arrays, 1)
        return min(largest, each)

    def states(self, jobs: Iterable[str]) -> dict[str, State]:
        """Return the states of jobs, as far as SLURM remembers them."""
        wanted = set(jobs)
        if not wanted or self.missing():
            return {}
        text = _call("squeue", "-h", "-r", "--states=all", "--user", getpass.getuser(), "-o", "%i|%T|%r|%M")
        states = _parse(text, wanted)
        forgotten = ",".join(sorted(wanted - states.keys()))
        if forgotten and shutil.which("sacct"):
            command = ["sacct", "-n", "-P", "-X", "-o", "JobID,State,Reason,Elapsed", "-j", forgotten]
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # a site need not keep accounts
            states |= _parse(done.stdout, wanted)
        return states

    def cancel(self, jobs: Iterable[str]) -> None:
        """End jobs, or take them out of the queue."""
        _call("scancel", *jobs)

    def this_job(self) -> str:
        """Return the number of the batch job in which this process runs; empty outside of any."""
        array = os.environ.get("SLURM_ARRAY_JOB_ID")
        return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ.get("SLURM_JOB_ID", "")

    def first_host(self) -> str | None:
        """Return a name or address of the first node of this job step, or job; None outside of any."""
        nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_JOB_NODELIST")
        if not nodes:
            return None
        name = nodes.split(",")[0]
        if "[" in nodes:
            name = _call("scontrol", "show", "hostnames", nodes).split()[0]
        try:
            socket.gethostbyname(name)
        except OSError:  # a node's name need not be a host's: SLURM knows its address
            address = re.search(r"NodeAddr=(\S+)", _call("scontrol", "show", "node", name))
            return address[1] if address else name
        return name

    def threads(self) -> str:
        """Return how many cores each process of this job has."""
        return os.environ.get("SLURM_CPUS_PER_TASK", "1")

    def command(self, stage: Command, arguments: list[str], mpi_start: str | None) -> list[str]:
        """Return the command that starts a stage's processes in this job: srun, or mpirun where srun has no plug-in."""
        work = [sys.executable, "-m", stage.module, *arguments]
        if stage.start == "process":
            return work
        srun = ["srun", "--kill-on-bad-exit=1", f"--cpus-per-task={self.threads()}", "--cpu-bind=cores"]
        if stage.start == "torch":
            return [*srun, "--mpi=none", *work]
        start = mpi_start or mpi_plugin(mpi.library()) or "mpirun"
        if start == "mpirun":
            return [chain.mpirun(), "-n", os.environ.get("SLURM_NTASKS", "1"), *work]
        return [*srun, f"--mpi={start}", *work]

    def terminate(self, process: "subprocess.Popen[bytes]") -> None:
        """Send SIGTERM to a stage's processes; not to srun, which kills them when it gets one itself.

        A job that SLURM itself ends and requeues no longer counts as RUNNING: its steps have had the signal already,
        and scancel would try again and again, which holds the job on its nodes until KillWait is over.
        """
        if isinstance(process.args, list) and process.args[0] == "srun":
            _try("scancel", "--signal=TERM", "--state=RUNNING", self.this_job())
        else:
            process.terminate()

    def requeue(self, job: str) -> str:
        """Put a running job back into the queue, which ends it here; return SLURM's words when it refuses.

        From inside the job, the end can come to scontrol itself before it has heard the answer.
        """
        done = _try("scontrol", "requeue", job)
        return _words(done) if done.returncode > 0 else ""

    def resubmit(self, job: str, script: Path, arguments: list[str]) -> str:
        """Submit a running job's batch script again, to begin when this one is over; return the new job's number.

        The options that the user gave to sbatch (partition, account, nodes, time …) are asked of SLURM: the script does
        not have them.

        Raises
        ------
        OSError
            when SLURM refuses: with its own words.
        """
        _call("scontrol", "write", "batch_script", job, str(script))
        values = dict(re.findall(r"([\w/]+)=(\S*)", _call("scontrol", "-o", "show", "job", job)))
        given = {
            option: values.get(name, "").split(",")[0].removeprefix("gres:gpu:") for option, name in OPTIONS.items()
        }
        options = [f"--{option}={value}" for option, value in given.items() if value not in ("", "(null)", "0")]
        command = ["sbatch", "--parsable", f"--dependency=afterany:{job}", "--export=ALL", *options]
        with no_job():
            return _call(*command, str(script), *arguments).strip().split(";")[0]


def state(word: str, reason: str = "", elapsed: str = "") -> State:
    """Return the state that squeue or sacct describes, as ``state("PENDING", "Priority")``."""
    phase = PHASES.get(word, "failed")
    if phase == "waiting":
        return State(word.lower(), phase, elapsed, "" if reason == "None" else reason)
    if phase in ("failed", "cancelled") and reason.startswith("Dependency"):
        return State(word.lower(), "skipped", elapsed)
    return State(word.lower(), phase, elapsed, ENDS.get(word, ""))


@contextlib.contextmanager
def no_job() -> Iterator[None]:
    """Hide the job that this process is in: a job that is submitted here would take its array, memory … for its own."""
    inside = "SLURM_JOB_ID" in os.environ
    names = [name for name in os.environ if name.startswith(("SLURM_", "SUBMITIT_")) and name not in _SITE]
    hidden = {name: os.environ.pop(name) for name in (names if inside else [])}
    try:
        yield
    finally:
        os.environ.update(hidden)


def mpi_plugin(library: str) -> str | None:
    """Return the plug-in by which srun starts the ranks of an MPI library here; None: it has none, so mpirun does.

    Parameters
    ----------
    library : what ``MPI_Get_library_version`` says
    """
    done = subprocess.run(["srun", "--mpi=list"], capture_output=True, text=True, check=False)
    offered = (done.stdout + done.stderr).split()
    return next((plugin for name, plugin in PLUGINS.items() if name in library and plugin in offered), None)


def _parse(text: str, wanted: set[str]) -> dict[str, State]:
    rows = (line.split("|") for line in text.splitlines() if line.count("|") == 3)
    rows_by_job = {job.split("_[")[0]: state(word.split()[0], reason, elapsed) for job, word, reason, elapsed in rows}
    # Tasks of an array that is over before any has begun are one row, of the array's own number.
    states = {job: rows_by_job.get(job) or rows_by_job.get(job.split("_")[0]) for job in wanted}
    return {job: state for job, state in states.items() if state}


def _most_jobs() -> int | None:
    """Return how many jobs the site lets this user have at once; None: as many as wanted, or not known."""
    if not shutil.which("sacctmgr"):
        return None
    command = ["sacctmgr", "-n", "-P", "show", "associations", f"user={getpass.getuser()}", "format=MaxSubmitJobs"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    limits = [int(line) for line in done.stdout.split() if line.isdigit()]
    return min(limits) if limits else None


def _call(*command: str) -> str:
    done = _try(*command)
    if done.returncode:
        raise OSError(_words(done))
    return done.stdout


def _try(*command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command; again, after a pause, when SLURM's controller is too busy to answer it, or being restarted."""
    for pause in (*PAUSES, None):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0 or pause is None or not re.search("timed out|Unable to contact", done.stderr):
            break
        time.sleep(pause)
    return done


def _words(done: "subprocess.CompletedProcess[str]") -> str:
    text = " ".join((done.stderr or done.stdout).split())
    return text or f"{done.args[0]}: exit status {done.returncode}"
