"""Find and check the Fortran records of a GADGET-2 file of format 1 or 2, one after another.

A record is a 32-bit byte count, the data, and the count again. Format 2 puts a record of 8 bytes before each: a label
of four characters, and the block's length.
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

MARKER_WRAP = 1 << 32  # markers are 32-bit: a longer block states its length modulo this
LABEL_BYTES = 8
MOST_RECORDS = 1000  # behind the positions; no code writes a hundred


class Records:
    """Walks one file's records and checks that each is whole and as long as it should be.

    Parameters
    ----------
    file, path : the open file, and its name for error messages
    order : ``<`` or ``>``, the byte order
    labelled : whether this is format 2
    """

    def __init__(self, file: BinaryIO, path: Path, order: Literal["<", ">"], labelled: bool) -> None:
        self.file, self.path, self.order, self.labelled = file, path, order, labelled
        self.size = path.stat().st_size
        self.place = 0
        self._passed: dict[str, int] = {}  # where those begin that were passed over, by label
        self._taken: dict[str, int] = {}  # where those begin that were asked for, by label

    @property
    def ends_early(self) -> bool:
        """Whether the file ends here, and has no block but those that were asked for."""
        return self.place == self.size and not self._passed

    def find(self, name: str, lengths: tuple[int, ...]) -> tuple[int, int]:
        """Return (offset, length) of a block, and stand behind it.

        Parameters
        ----------
        name : of the next block in format 1; of any block in format 2, in whatever order they lie
        lengths : those that the block may have [bytes]
        """
        if self.labelled:
            self._go_to(name)
            self._taken[name] = self.place
        elif self.place == self.size:
            raise ValueError(f"{self.path}: expected a {name} block, found the end of the file; is the file complete?")
        marker = self._marker(self.place, name)
        fitting = [length for length in lengths if length % MARKER_WRAP == marker]
        if not fitting:
            expected = " or ".join(str(length) for length in lengths)
            raise ValueError(
                f"{self.path}: the header disagrees with the {name} block: expected {expected} bytes, found {marker}; "
                "is it a GADGET-2 snapshot?"
            )
        # Both widths fit a marker of 0, at 2³⁰ rows: the longer block's end is no accident, the shorter one's may be.
        return self._take(name, sorted(fitting, reverse=True), marker)

    def _take(self, name: str, lengths: Sequence[int], marker: int) -> tuple[int, int]:
        """Pass over the block at hand: its length is the first of ``lengths`` that has ``marker`` behind it."""
        offset = self.place + 4
        for length in lengths:
            if offset + length + 4 <= self.size and self._marker(offset + length, name) == marker:
                self.place = offset + length + 4
                return offset, length
        end = offset + min(lengths) + 4
        if end > self.size:
            raise ValueError(
                f"{self.path}: truncated in the {name} block: expected at least {end} bytes, found {self.size}; "
                "copy it again"
            )
        after = self._marker(end - 4, name)
        raise ValueError(
            f"{self.path}: damaged: the {name} block's two record markers differ: expected {marker} bytes, "
            f"found {after}; copy it again"
        )

    def check_rest(self, lengths: Mapping[str, tuple[int, ...]]) -> None:
        """Pass over all that follows and check that it is whole.

        Parameters
        ----------
        lengths : that the next blocks are likely to have [bytes], by name; a file may end after any of them
        """
        names = itertools.chain(() if self.labelled else lengths, itertools.repeat("last", MOST_RECORDS))
        for name in names:
            if self.place == self.size:
                return
            label = self._label(name) if self.labelled else name
            self._pass_over(label, lengths.get(label, ()))
        raise ValueError(
            f"{self.path}: damaged: expected the end of the file after at most {MOST_RECORDS} records, found "
            f"{self.size - self.place} bytes more (a file that is filled up with zeros looks so); copy it again"
        )

    def _pass_over(self, name: str, likely: tuple[int, ...] = ()) -> None:
        marker = self._marker(self.place, name)
        fitting = sorted((length for length in likely if length % MARKER_WRAP == marker), reverse=True)
        # A length that is not known from the counts: a wrapped marker stands for any of these.
        self._take(name, [*fitting, *range(marker, max(self.size, marker + 1), MARKER_WRAP)], marker)

    def _go_to(self, name: str) -> None:
        """Stand at the block with a label: back, if it was passed over, or else further on."""
        if name in self._passed:
            self.place = self._passed[name]
            return
        while (label := self._label(name)) != name:
            self._passed.setdefault(label, self.place)
            self._pass_over(label)

    def _label(self, name: str) -> str:
        """Read the label before the next block."""
        if self.place == self.size:
            labels = ", ".join(label or '""' for label in self._passed)
            remainder = f"only {labels}" if labels else "the end of the file"
            raise ValueError(f"{self.path}: expected a {name} block, found {remainder}; is the file complete?")
        length = self._marker(self.place, name)
        if length != LABEL_BYTES:
            raise ValueError(
                f"{self.path}: damaged before the {name} block: expected a label of {LABEL_BYTES} bytes, "
                f"found a record of {length}; copy it again"
            )
        offset, _ = self._take(name, (LABEL_BYTES,), length)
        self.file.seek(offset)
        label = self.file.read(4).decode("ascii", "replace").strip(" \0")
        if self._taken.get(label, self.place) != self.place:
            raise ValueError(f"{self.path}: has two {label} blocks; expected one: only its writer knows which is right")
        return label

    def _marker(self, offset: int, name: str) -> int:
        self.file.seek(offset)
        raw = self.file.read(4)
        if len(raw) < 4:
            raise ValueError(
                f"{self.path}: truncated before the {name} block: expected at least {offset + 4} bytes, "
                f"found {self.size}; copy it again"
            )
        return int.from_bytes(raw, "little" if self.order == "<" else "big")
