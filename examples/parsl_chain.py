"""Run the chain of an experiment by Parsl, its boxes side by side: ``python examples/parsl_chain.py my.yaml``.

On a cluster take a HighThroughputExecutor with its provider. The same line resumes what was interrupted.
"""

import sys

import parsl
from parsl.executors import ThreadPoolExecutor

PARTS, RANKS = 2, 2  # jobs that simulate side by side; ranks of MPI
OF_MPI = ("preprocess", "select", "sample", "validate")


@parsl.bash_app
def stage(name, *options, inputs=(), stdout=parsl.AUTO_LOGNAME, stderr=parsl.AUTO_LOGNAME):
    """Return the command line of a stage, which Parsl runs when its inputs are done."""
    return " ".join([f"mpirun -n {RANKS} " if name in OF_MPI else "", "cosmogan", name, *options])


def chain(experiment):
    """Start all stages, each after the one before it; return the future of the last."""
    done = [stage("simulate", experiment, f"--part {i + 1}/{PARTS}") for i in range(PARTS)]
    for name in ("simulate", "preprocess", "train", "select", "sample", "validate", "report"):
        done = [stage(name, experiment, inputs=done)]
    return done[0]


if __name__ == "__main__":
    with parsl.load(parsl.Config(executors=[ThreadPoolExecutor(max_threads=2)])):
        chain(sys.argv[1]).result()
