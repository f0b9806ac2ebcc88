"""A chain of two small commands, for what the scheduler does to any command."""

from pathlib import Path

import yaml

COMMAND = '''
import signal, sys, time
from pathlib import Path
from types import SimpleNamespace
from hpc.log import Progress

HERE = Path(__file__).parent
NAME = Path(__file__).stem


def read(arguments):
    return SimpleNamespace(folder=HERE / "run")


def stage(experiment):
    done = HERE / f"{NAME}.done"
    return SimpleNamespace(is_done=done.exists, parts=lambda: 7, workplace=experiment.folder)


def work(words):
    """Count to 20, and go on from what an earlier attempt has kept; the words say what goes wrong."""
    kept = HERE / f"{NAME}.kept"
    first = int(kept.read_text()) if kept.exists() else 0
    with Progress(NAME, 20, "things") as progress:
        progress.resume_at(first)
        for i in range(first, 20):
            progress.advance()
            if "meet" in words:
                meet()
            if "hang" in words:
                time.sleep(600)
            if "fail" in words:
                raise SystemExit(3)
            if "eat" in words:
                eaten = bytearray(3_000_000_000)
                time.sleep(600)
            if f"stop={i}" in words:
                time.sleep(600)


def meet():
    """Add up over the processes of this job what tells jobs from one another, while those of another run are joined."""
    import torch
    from hpc import distributed
    processes = distributed.join()
    (HERE / "joined").touch()
    while not all((folder / "joined").exists() for folder in HERE.parent.iterdir()):
        time.sleep(0.05)
    mine = torch.tensor([1.0, float(HERE.name)])
    torch.distributed.all_reduce(mine)
    print("met", *mine.tolist(), flush=True)
    (HERE / f"{NAME}.done").touch()
    distributed.leave()
    raise SystemExit


def stopped(number, frame):
    if "keep" in sys.argv:
        (HERE / f"{NAME}.kept").write_text("10")
    raise SystemExit(1 if "rough" in sys.argv else 143)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stopped)
    part = [word for word in sys.argv if word.startswith("--part=")]
    with open(HERE / "log.txt", "a") as log:
        log.write(f"{NAME} {sys.argv[2:]}\\n")
    if part and f"{NAME}.lose={part[0][7]}" in sys.argv:
        raise SystemExit(3)
    if not part:
        work([word.removeprefix(NAME + ".") for word in sys.argv])
        (HERE / f"{NAME}.done").touch()
'''


def write(folder: Path, **options) -> Path:
    """Write the commands ``first`` and ``second``, an experiment and a cluster; return the cluster's file."""
    for name in ("first", "second"):
        (folder / f"{name}.py").write_text(COMMAND)
    (folder / "experiment.yaml").write_text("{}\n")
    stages = {name: {"module": name, "minutes": 5} | options.pop(name, {}) for name in ("first", "second")}
    path = folder / "toy.yaml"
    tree = {"executor": "slurm", "experiment": "first:read", "stages": stages, **options}
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return path


def log(folder: Path) -> list[str]:
    """Return what was run, in order."""
    return (folder / "log.txt").read_text().splitlines()
