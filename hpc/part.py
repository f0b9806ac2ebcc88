"""Define a part of a stage's independent work, ``--part I/N``: what one task of a job array does."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """Part ``number`` (from 1) of ``of``. Parts may run in any order, on any hosts, several at once.

    A part makes what is missing of its own share. The stage is finished by a run of the whole, after all parts.
    """

    number: int
    of: int

    def __str__(self) -> str:
        return f"part {self.number}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> "Part":
        """Read ``I/N``.

        Raises
        ------
        ValueError
            when it is anything else, or I is not from 1 to N.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        number, of = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 1 <= number <= of:
            raise ValueError(f"--part: expected I/N with I from 1 to N, as 2/8, found {text}")
        return cls(number, of)


def share_of(items: Sequence[T], part: Part | None) -> Sequence[T]:
    """Return every N-th of the items, from the part's number on; all of them for the whole, None."""
    return items if part is None else items[part.number - 1 :: part.of]


def title(stage: str, part: Part | None) -> str:
    """Return a stage's name as it is said while it runs."""
    return stage if part is None else f"{stage}, {part}"


def name(part: Part | None) -> str:
    """Return the part of a file's name that tells one part's files from another's; empty for the whole."""
    return "" if part is None else f"part-{part.number}-of-{part.of}-"
