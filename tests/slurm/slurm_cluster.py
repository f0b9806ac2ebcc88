"""A real SLURM on this machine, for as long as the tests run: three nodes with four faked GPUs each, two partitions."""

import contextlib
import getpass
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from conftest import HANGS, until

NODES = ("node1", "node2", "node3")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")

CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
SwitchType=switch/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=2000
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
SlurmdParameters=config_overrides
SlurmdTimeout=300
ReturnToService=2
MinJobAge=3600
FirstJobId={first_job}
KillWait=30
JobRequeue=1
MaxArraySize=5
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=DEFAULT CPUs=16 RealMemory=64000 Gres=gpu:4 State=UNKNOWN
NodeName=node[1-3] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports[1]},{ports[2]},{ports[3]}]
PartitionName=main Nodes=node[1-3] Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE
PartitionName=high Nodes=node[1-3] MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


def missing() -> str:
    """Return why no SLURM can run here; empty when it can."""
    lacking = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    return f"SLURM is not installed here ({', '.join(lacking)})" if lacking else ""


def read(path: Path) -> str:
    """Return a file's text, nothing when it is not there: a job that begins again removes what it says."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_text()
    return ""


def _path():
    return os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])


class Cluster:
    """The daemons, and what the tests ask of them.

    Parameters
    ----------
    folder : gets the daemons' state, logs and sockets; its path is short, since a socket's must be
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": _path()}
        for name in [n for n in self.environment if n.startswith(("SLURM_", "SBATCH_", "PMI", "SRUN_"))]:
            if name != "SLURM_CONF":
                del self.environment[name]

    def __enter__(self) -> "Cluster":
        for name in ("state", *(f"spool.{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True)
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(4)]
            for one in sockets:
                one.bind(("127.0.0.1", 0))
            ports = [one.getsockname()[1] for one in sockets]
        host = socket.gethostname().split(".")[0]
        first = secrets.randbelow(10_000_000) + 1  # no job of another cluster has the same
        text = CONF.format(host=host, folder=self.folder, user=getpass.getuser(), ports=ports, first_job=first)
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "gres.conf").write_text("NodeName=node[1-3] Name=gpu File=/dev/tty[10-13]\n")
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o600)
        names = {"socket": "munge.socket", "pid-file": "munge.pid", "log-file": "munge.log", "seed-file": "munge.seed"}
        options = [f"--{option}={self.folder / name}" for option, name in names.items()]
        try:
            self.call("munged", "--force", f"--key-file={key}", *options)
            self.call("slurmctld", "-c")
            for node in NODES:
                self.start(node)
            until(self.idle, "all nodes idle")
        except BaseException:
            self._end_daemons()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.empty()
        finally:
            self._end_daemons()

    def empty(self) -> None:
        """End all jobs, and wait until they are gone."""
        self.call("scancel", "--user", getpass.getuser())
        until(lambda: not self.queue(), "an empty queue")

    def _end_daemons(self) -> None:
        for node in NODES:
            _end(self.folder / f"slurmd.{node}.pid", signal.SIGTERM)
            self._kill_all(node)  # where all went well there is nobody
        for name in ("slurmctld.pid", "munge.pid"):
            _end(self.folder / name, signal.SIGTERM)

    def start(self, node: str) -> None:
        """Start a node's daemon."""
        self.call("slurmd", "-N", node)

    def kill(self, node: str) -> None:
        """Let a node fail: its daemon and all that runs there are gone at once, without a word to the controller."""
        _end(self.folder / f"slurmd.{node}.pid", signal.SIGKILL)
        self._kill_all(node)
        # the controller finds out in half a minute; a site's health check tells it at once
        self.call("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=gone")

    def _kill_all(self, node: str) -> None:
        """Kill all that runs in the jobs of a node."""
        wanted = {f"SLURM_CONF={self.environment['SLURM_CONF']}".encode(), f"SLURMD_NODENAME={node}".encode()}
        there = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if wanted <= set((process / "environ").read_bytes().split(b"\0")):
                    there.append(int(process.name))
        guards = {guard for pid in there if (guard := _guard(pid))}
        for pid in (*guards, *there):  # the guards first: they would report the others
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def repair(self, node: str) -> None:
        """Bring a failed node back."""
        self.start(node)
        self.call("scontrol", "update", f"NodeName={node}", "State=RESUME", check=False)  # it may be back by itself
        state = ("sinfo", "-h", "-p", "main", "-n", node, "-o", "%t")
        until(lambda: self.call(*state, check=False).strip() in ("idle", "mix", "alloc"), f"{node} at work")

    def call(self, *command: object, cwd=None, check=True, **more) -> str:
        """Run a command with this cluster's settings; return what it printed."""
        done = subprocess.run(
            [str(word) for word in command],
            env={**self.environment, **more},
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=HANGS,
        )
        assert done.returncode == 0 or not check, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout if check else done.stdout + done.stderr

    def idle(self) -> bool:
        """Say whether all nodes wait for work."""
        return self.call("sinfo", "-h", "-p", "main", "-t", "idle", "-o", "%D", check=False).strip() == str(len(NODES))

    def queue(self) -> list[str]:
        """Return the numbers of the jobs that are not over."""
        return self.call("squeue", "-h", "-o", "%i", check=False).split()

    def job(self, number: object) -> dict[str, str]:
        """Return what the controller knows of a job."""
        text = self.call("scontrol", "-o", "show", "job", number)
        return dict(re.findall(r"(\w+)=(\S*)", text.splitlines()[0]))

    def state(self, number: object) -> str:
        """Return a job's state, as COMPLETED."""
        return self.job(number)["JobState"]

    def wait(self, number: object, *states: str) -> str:
        """Wait until a job is in one of the states, and return it."""
        return until(lambda: (s := self.state(number)) in states and s, f"job {number} in {states}")

    def start_again(self, number: object) -> None:
        """Let a requeued job begin now; the controller holds it back for two minutes."""
        until(lambda: "BeginTime" in self.job(number).get("Reason", ""), f"job {number} held back")
        time.sleep(2)  # nodes refuse credentials made in the second in which they revoked the earlier ones
        self.call("scontrol", "update", f"JobId={number}", "StartTime=now")


def _end(pid_file: Path, number: int) -> None:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
        pid = int(pid_file.read_text())
        os.kill(pid, number)
        until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in _status(pid), f"the end of {pid_file.name}")


def _status(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return "Z"


def _guard(pid: int) -> int | None:
    """Return the slurmstepd that has started a process; None when it is another's child, or has ended."""
    with contextlib.suppress(OSError):
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        if b"slurmstepd" in Path(f"/proc/{parent}/cmdline").read_bytes():
            return parent
    return None
