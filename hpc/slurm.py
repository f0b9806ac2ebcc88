"""Ask SLURM for the states of jobs, their end or another start, and how srun starts MPI ranks.

Another scheduler would have to answer the same few questions.
"""

import contextlib
import getpass
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

# The words of squeue for a job that is not over.
ALIVE = (
    *("PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING"),
    *("STAGE_OUT", "COMPLETING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"),
)
# The MPI plug-in of srun that starts the ranks of a library; what is not listed starts by mpirun. MPICH is not one for
# pmi2: version 5 sends 4 kB from where its address lies in memory, packed; what else lies there decides whether a line
# is too long for SLURM (1024 characters), and then no rank starts.
PLUGINS = {"Open MPI": "pmix", "CRAY MPICH": "cray_shasta", "Intel": "pmi2", "MVAPICH": "pmi2"}
PAUSES = (2, 5, 10)  # seconds before the controller is asked again; its commands wait for 10 s for an answer
_SITE = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_MPI_TYPE")  # variables that do not speak of a job


class State(NamedTuple):
    """What SLURM says of a job."""

    word: str  # as RUNNING
    reason: str = ""  # why it waits, or is over
    elapsed: str = ""

    @property
    def alive(self) -> bool:
        """Whether the job waits or runs."""
        return self.word in ALIVE


def is_here() -> bool:
    """Say whether jobs can be submitted from this machine."""
    return shutil.which("sbatch") is not None


def this_job(environment: Mapping[str, str]) -> str:
    """Return this batch job's number, as 12, or 12_3 in an array; empty outside of any job."""
    array = environment.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{environment['SLURM_ARRAY_TASK_ID']}" if array else environment.get("SLURM_JOB_ID", "")


def states(jobs: Iterable[str]) -> dict[str, State]:
    """Return the states of jobs, as far as SLURM remembers them.

    Raises
    ------
    OSError
        when SLURM does not answer: with its own words.
    """
    wanted = set(jobs)
    if not wanted or not is_here():
        return {}
    text = _call("squeue", "-h", "-r", "--states=all", "--user", getpass.getuser(), "-o", "%i|%T|%r|%M")
    found = _parse(text, wanted)
    forgotten = ",".join(sorted(wanted - found.keys()))
    if forgotten and shutil.which("sacct"):
        asked = ["sacct", "-n", "-P", "-X", "-o", "JobID,State,Reason,Elapsed", "-j", forgotten]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)  # a site need not keep accounts
        found |= _parse(done.stdout, wanted)
    return found


def _parse(text: str, wanted: set[str]) -> dict[str, State]:
    rows = (line.split("|") for line in text.splitlines() if line.count("|") == 3)
    told = {job.split("_[")[0]: State(word.split()[0], reason, elapsed) for job, word, reason, elapsed in rows}
    # Tasks of an array that is over before any has begun are one row, of the array's own number.
    found = {job: told.get(job) or told.get(job.split("_")[0]) for job in wanted}
    return {job: state for job, state in found.items() if state}


def requeue(job: str) -> str:
    """Put a running job back into the queue, which ends it here; return SLURM's words when it refuses.

    From inside the job, the end can come to scontrol itself before it has heard the answer.
    """
    done = _asked("scontrol", "requeue", job)
    return _words(done) if done.returncode > 0 else ""


def terminate_steps(job: str) -> None:
    """Send SIGTERM to all that srun started in a job; not to its batch script.

    One that SLURM itself ends and requeues no longer counts as RUNNING: its steps have had the signal already, and
    scancel would try again and again, which holds the job on its nodes until KillWait is over.
    """
    _asked("scancel", "--signal=TERM", "--state=RUNNING", job)


def cancel(jobs: Iterable[str]) -> None:
    """End jobs, or take them out of the queue.

    Raises
    ------
    OSError
        when SLURM refuses: with its own words.
    """
    _call("scancel", *jobs)


# Options of sbatch, and where `scontrol show job` tells what a job was given.
_GIVEN = {
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


def resubmit(job: str, script: Path, arguments: list[str]) -> str:
    """Submit a running job's batch script again, to begin when this one is over; return the new job's number.

    What the user gave to sbatch (partition, account, nodes, time …) is asked of SLURM: the script does not say it.

    Parameters
    ----------
    job : its number
    script : gets what SLURM keeps of the batch script
    arguments : of the script

    Raises
    ------
    OSError
        when SLURM refuses: with its own words.
    """
    _call("scontrol", "write", "batch_script", job, str(script))
    known = dict(re.findall(r"([\w/]+)=(\S*)", _call("scontrol", "-o", "show", "job", job)))
    given = {option: known.get(name, "").split(",")[0].removeprefix("gres:gpu:") for option, name in _GIVEN.items()}
    options = [f"--{option}={value}" for option, value in given.items() if value not in ("", "(null)", "0")]
    command = ["sbatch", "--parsable", f"--dependency=afterany:{job}", "--export=ALL", *options]
    with no_job():
        return _call(*command, str(script), *arguments).strip().split(";")[0]


@contextlib.contextmanager
def no_job() -> Iterator[None]:
    """Hide the job that this process is in: a job that is submitted here would take its array, memory … for its own."""
    names = [name for name in os.environ if name.startswith(("SLURM_", "SUBMITIT_")) and name not in _SITE]
    hidden = {name: os.environ.pop(name) for name in (names if in_job() else [])}
    try:
        yield
    finally:
        os.environ.update(hidden)


def largest_array() -> int:
    """Return how many tasks an array of jobs may have here.

    Raises
    ------
    OSError
        when SLURM does not answer: with its own words.
    """
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", _call("scontrol", "show", "config"), re.MULTILINE)
    return int(found[1]) - 1 if found else 1000


def most_jobs() -> int | None:
    """Return how many jobs the site lets this user have at once; None: as many as wanted, or not known."""
    if not shutil.which("sacctmgr"):
        return None
    asked = ["sacctmgr", "-n", "-P", "show", "associations", f"user={getpass.getuser()}", "format=MaxSubmitJobs"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    limits = [int(line) for line in done.stdout.split() if line.isdigit()]
    return min(limits) if limits else None


def mpi_plugin(library: str) -> str | None:
    """Return the plug-in by which srun starts the ranks of an MPI library here; None: it has none, so mpirun does.

    Parameters
    ----------
    library : what ``MPI_Get_library_version`` says
    """
    done = subprocess.run(["srun", "--mpi=list"], capture_output=True, text=True, check=False)
    offered = (done.stdout + done.stderr).split()
    return next((plugin for name, plugin in PLUGINS.items() if name in library and plugin in offered), None)


def first_host(environment: Mapping[str, str]) -> str | None:
    """Return a name or address of the first node of this job step, or job; None outside of any."""
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST")
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


def _call(*command: str) -> str:
    done = _asked(*command)
    if done.returncode:
        raise OSError(_words(done))
    return done.stdout


def _asked(*command: str) -> "subprocess.CompletedProcess[str]":
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


def in_job() -> bool:
    """Say whether this process runs inside a batch job."""
    return "SLURM_JOB_ID" in os.environ
