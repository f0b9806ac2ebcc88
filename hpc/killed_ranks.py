"""Print one line about a rank that SIGKILL ended, as the out-of-memory killer does; end with a killed launcher.

A killed rank can print nothing itself. So the process that the launcher started forks: the child becomes the rank, and
the parent waits. It learns how the rank ended before the launcher does, prints the line if need be, and ends the same
way. Both are in one process group. A launcher that ends all ranks ends both at once, and no line is printed.
"""

import ctypes
import os
import resource
import signal
import socket
import sys
import threading
import time
from typing import NoReturn

_PR_SET_PDEATHSIG = 1  # of prctl(2): the signal that a process gets when its parent ends


def report_if_killed(rank: int, size: int, memory: str | None) -> None:
    """Become a child process, about which one line is printed on the error stream if it is killed.

    To be called before MPI starts. On other systems than Linux it does nothing.

    Parameters
    ----------
    rank, size : this process among the ranks
    memory : the setting that bounds a rank's memory; None: there is none
    """
    if sys.platform != "linux":
        return
    launched = os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are the child's to act on
    child = os.fork()
    if child:
        _end_as(_wait(child), f"error (rank {rank} of {size} on {socket.gethostname()}): {_reason(memory)}\n")
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != launched:
        os._exit(1)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_launcher() -> None:
    """Let this process be killed when the launcher that started it ends: torchrun, or submitit's local one.

    To be called as early as possible. A process that none of these started is left alone: its shell may end first.
    """
    if not any(name in os.environ for name in ("TORCHELASTIC_RUN_ID", "SUBMITIT_LOCAL_GLOBALID")):
        return
    launcher = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != launcher:
            os._exit(1)
    else:
        threading.Thread(target=_watch_parent, args=(launcher,), daemon=True).start()


def _watch_parent(launcher: int) -> None:
    while os.getppid() == launcher:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)


def _reason(memory: str | None) -> str:
    relief = (f"lower {memory} or " if memory else "") + "start fewer ranks on a node"
    why = "ended by signal 9 (SIGKILL), most likely for want of memory"
    return f"{why}: {relief}, and run the same command again to resume"


def _wait(child: int) -> int:
    """Wait for the child and return how it ended; a signal to this process alone is passed on."""
    while True:
        if signal.sigwait({signal.SIGCHLD, signal.SIGTERM}) == signal.SIGTERM:
            os.kill(child, signal.SIGTERM)
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status


def _end_as(status: int, line: str) -> NoReturn:
    """End as the child did, with a line if that was by SIGKILL."""
    if os.WIFEXITED(status):
        os._exit(os.WEXITSTATUS(status))
    number = os.WTERMSIG(status)
    if number == signal.SIGKILL:
        time.sleep(0.05)  # a launcher that ends one process after the other comes to this one
        os.write(2, line.encode())
        time.sleep(0.3)  # it forwards what was said before it ends all
    else:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the core file worth reading is the child's
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)
    os._exit(128 + number)
