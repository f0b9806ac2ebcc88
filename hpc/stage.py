"""Run any stage of a chain: a light plan says what is made, where and whether it is done; `execute` does the rest."""

import contextlib
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from hpc import lock
from hpc.log import say
from hpc.mpi import World
from hpc.part import Part, title
from hpc.receipts import Receipt


class Run(Protocol):
    """An experiment, as far as a stage of any chain knows it."""

    @property
    def folder(self) -> Path:
        """The run's folder."""

    def freeze(self) -> Path:
        """Write all settings to ``config.yaml`` in the run's folder; return its path."""


W_contra = TypeVar("W_contra", bound=World, contravariant=True)


class Outcome(NamedTuple):
    """The results of a stage, or of a part of one."""

    results: dict[str, Any]  # for its record
    lines: tuple[str, ...]  # said at the end


class Stage(ABC, Generic[W_contra]):
    """The plan of a stage: what it depends on, what it makes, and where. Making and asking it loads nothing heavy.

    Attributes
    ----------
    name : in messages, records and locks
    experiment : of which it is a stage
    """

    name: ClassVar[str]
    experiment: Run

    @property
    @abstractmethod
    def receipt(self) -> Receipt:
        """The record of all that the result depends on."""

    @property
    def workplace(self) -> Path:
        """The folder in which no two processes do this stage's work at once: the run's, or one that runs share."""
        return self.experiment.folder

    def parts(self) -> int:
        """Return the number of independent items that the work divides into; 1 when it is one piece."""
        return 1

    @abstractmethod
    def is_done(self) -> bool:
        """Say whether the whole result is there, made with these settings."""

    @abstractmethod
    def when_done(self) -> str:
        """Return the line that is printed when all is done already."""

    def require(self, part: Part | None) -> None:
        """Raise a ValueError when the work cannot begin, as for want of input; names what to run first."""
        return

    @abstractmethod
    def run(self, world: W_contra, part: Part | None) -> Outcome:
        """Do the missing work, or a part of it, on all processes together.

        It begins the record on process 0, by ``receipt.begin``, as soon as nothing is left that could refuse the work.

        Raises
        ------
        ValueError
            when something cannot end well: names the setting or the file, what was found and what was expected.
        """


def execute(stage: Stage[W_contra], world: W_contra, part: Part | None = None) -> None:
    """Do a stage's work, or a part of it, unless it is done.

    Raises
    ------
    ValueError
        when another process does it, or what `Stage.require` and `Stage.run` raise.
    """
    if world.on_root(stage.is_done):
        say(f"{stage.name}: {stage.when_done()}", world.rank)
        return
    stage.require(part)
    with contextlib.ExitStack() as held:
        world.on_root(lambda: held.enter_context(_alone(stage, part)))
        outcome = stage.run(world, part)
        if world.rank == 0:
            if part is None:
                stage.receipt.finish(**outcome.results)
            for line in outcome.lines:
                say(f"{title(stage.name, part)}: {line}")
        world.barrier()


@contextlib.contextmanager
def _alone(stage: Stage[W_contra], part: Part | None) -> Iterator[None]:
    """Be the only one that does a stage's work, and leave ``config.yaml`` in the run's folder.

    Raises
    ------
    ValueError
        when another process does it: names it.
    """
    folder = stage.experiment.folder
    fresh = not folder.exists()
    try:
        with lock.alone(stage.workplace, stage.name, None if part is None else part.number):
            stage.experiment.freeze()
            yield
    except BaseException:
        if fresh and [path.name for path in folder.glob("*")] == ["config.yaml"]:  # refused before any work
            shutil.rmtree(folder)
        raise
