"""Define the result of a statistic: frozen, saved as plain arrays, drawn with one call."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

T = TypeVar("T", bound="Result")
PERCENTILES = (16, 50, 84)


def quantity(*dims: str, units: str | None = "1") -> dict[str, Any]:
    """Return the metadata of a result's field: its dimensions, and its units; None where they are the user's own."""
    return {"dims": dims, "attrs": {} if units is None else {"units": units}}


@dataclasses.dataclass(frozen=True)
class Result:
    """A statistic of a batch of fields: numbers and read-only arrays, bins beside values."""

    def __post_init__(self) -> None:
        for _, value in self._items():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    def save(self, path: Path | str) -> None:
        """Write all fields to a numpy archive; ``numpy.load(path)["power"]`` reads one, `load` the whole.

        Parameters
        ----------
        path : its name ends in ``.npz``

        Raises
        ------
        ValueError
            when it ends in something else.
        """
        if Path(path).suffix != ".npz":
            raise ValueError(f"{path}: expected a name that ends in .npz")
        np.savez(path, **dict(self._items()))

    @classmethod
    def load(cls: type[T], path: Path | str) -> T:
        """Read what `save` wrote.

        Raises
        ------
        ValueError
            when the file holds another result.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        with np.load(path) as file:
            if sorted(file) != sorted(names):
                raise ValueError(f"{path}: expected a {cls.__name__} with {', '.join(names)}, found {', '.join(file)}")
            return cls(**{name: value if value.ndim else value.item() for name, value in file.items()})

    def to_dataset(self) -> "Dataset":
        """Return all fields as an xarray dataset: variables where they have a value per sample, and else coordinates.

        Raises
        ------
        ValueError
            when xarray is not installed.
        """
        try:
            from xarray import Dataset
        except ImportError:
            raise ValueError("to_dataset: xarray is not installed; pip install 'cosmogan[xarray]'") from None
        fields = {
            field.name: (field.metadata["dims"], getattr(self, field.name), field.metadata["attrs"])
            for field in dataclasses.fields(self)
        }
        variables = {name: field for name, field in fields.items() if "sample" in field[0]}
        coordinates = {name: field for name, field in fields.items() if name not in variables}
        return Dataset(variables, coordinates, {"statistic": type(self).__name__})

    def _items(self) -> Iterator[tuple[str, Any]]:
        return ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))


def axes(ax: "Axes | None") -> "Axes":
    """Return the axes to draw in: those given, or new ones."""
    if ax is not None:
        return ax
    from matplotlib import pyplot  # takes a moment to import

    return pyplot.subplots(layout="constrained")[1]


def band(ax: "Axes", x: np.ndarray, samples: np.ndarray) -> None:
    """Draw the median of (b, nx) samples, and fill the band between their 16th and 84th percentiles."""
    low, median, high = np.percentile(samples, PERCENTILES, axis=0)
    (line,) = ax.plot(x, median)
    ax.fill_between(x, low, high, color=line.get_color(), alpha=0.2, lw=0)
