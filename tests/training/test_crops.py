import itertools

import numpy as np
import pytest
import torch

from cosmogan.config import Model
from cosmogan.gan import fused, symmetry
from cosmogan.gan.conditions import TrainingConditions
from cosmogan.training import crops, dataset
from cosmogan.training.dataset import Share, TrainingSet

CPU = torch.device("cpu")
BOXES = np.random.default_rng(0).random((2, 12, 12, 12), dtype=np.float32)  # of 3³ subvolumes each


def cut(boxes=BOXES, m=4):
    """Subvolumes in a random order, and the box and corner of each."""
    per_side = boxes.shape[1] // m
    grid = [(b, m * np.array(at)) for b in range(len(boxes)) for at in np.ndindex(*(per_side,) * 3)]
    grid = [grid[i] for i in np.random.default_rng(1).permutation(len(grid))]
    cubes = np.stack([boxes[b][tuple(slice(c, c + m) for c in corner)] for b, corner in grid])
    return cubes, np.array([b for b, _ in grid]), np.stack([corner for _, corner in grid])


def periodic(box, first, m=4):
    return box[np.ix_(*((start + np.arange(m)) % len(box) for start in first))]


def training_set(read=None, conditions=None):
    cubes, boxes, corners = cut()
    around = crops.neighbours(boxes, corners, 12, 4)
    return TrainingSet(read or cubes.__getitem__, np.arange(len(cubes)), 4, CPU, CPU, conditions, around)


def take(part, batches, first=0, seed=1, **options):
    taken = itertools.islice(training_set(**options).batches(seed, first, 4, part), batches)
    return torch.stack([batch.density for batch in taken])


@pytest.mark.parametrize("n_mesh", [4, 8, 12])
def test_every_crop_is_a_periodic_slice_of_its_box(n_mesh):
    boxes = BOXES[:, :n_mesh, :n_mesh, :n_mesh]
    cubes, numbers, corners = cut(boxes)
    around = crops.neighbours(numbers, corners, n_mesh, 4)
    for shift in itertools.product(range(4), repeat=3):
        found = crops.crop(torch.from_numpy(cubes), around, np.tile(shift, (len(cubes), 1)))
        for cube, number, corner in zip(found.numpy(), numbers, corners, strict=True):
            np.testing.assert_array_equal(cube, periodic(boxes[number], corner + np.array(shift)))


@pytest.mark.parametrize("kernel", [crops.looked_up, fused.crop])
def test_a_gpu_looks_up_the_same_cells_in_every_orientation(monkeypatch, kernel):
    monkeypatch.setattr(crops, "looked_up", kernel)
    cubes, numbers, corners = cut()
    around = crops.neighbours(numbers, corners, 12, 4)[:48]
    shift, turns = np.random.default_rng(2).integers(0, 4, (48, 3)), np.arange(48)
    cubes = torch.from_numpy(cubes)
    expected = symmetry.each_oriented(crops.crop(cubes, around, shift), turns)
    assert torch.equal(crops.crop_on_device(cubes, around, shift, turns), expected)


def test_a_sample_is_a_crop_of_its_rows_box_in_some_orientation():
    _, numbers, corners = cut()
    data, batch = training_set(), take(Share(0, 4), 3).flatten(0, 1)[:, 0]
    begin = crops.shifts(1, 0, 12, 4)
    turns = dataset.symmetries(1, 0, 12)
    for n, place in enumerate(data.places(1, np.arange(12))):
        expected = torch.from_numpy(periodic(BOXES[numbers[place]], corners[place] + begin[n]))
        torch.testing.assert_close(batch[n], symmetry.oriented(expected, turns[n]), rtol=0, atol=0)


def test_crops_do_not_depend_on_processes_or_on_where_they_are_taken_up():
    whole = take(Share(0, 4), 6)
    parts = [take(Share(offset, size), 6) for offset, size in ((0, 1), (1, 1), (2, 2))]
    assert torch.equal(torch.cat(parts, dim=1), whole)
    assert torch.equal(take(Share(0, 4), 3, first=12), whole[3:])
    assert not torch.equal(take(Share(0, 4), 6, seed=2), whole)


def test_a_pass_takes_one_crop_from_each_subvolume_on_and_the_next_takes_others():
    _, numbers, corners = cut()
    data, n = training_set(), len(numbers)
    passes = []
    for first in (0, n):
        places = data.places(1, np.arange(first, first + n))
        begin = corners[places] + crops.shifts(1, first, n, 4)
        assert len({(b, *c) for b, c in zip(numbers[places], (begin // 4).tolist(), strict=True)}) == n
        passes.append({(b, *c) for b, c in zip(numbers[places], begin.tolist(), strict=True)})
    assert len(passes[0] & passes[1]) < n / 10


def test_all_offsets_are_equally_likely():
    n = 64 * 200
    found = np.bincount(np.ravel_multi_index(crops.shifts(1, 0, n, 4).T, (4, 4, 4)), minlength=64)
    assert found.min() > 140 and found.max() < 265  # 200 ± 4.2 standard deviations


def test_each_subvolume_is_read_once():
    cubes, read = cut()[0], []
    take(Share(0, 4), 40, read=lambda rows: read.append(rows) or cubes[rows])
    assert sorted(np.concatenate(read)) == list(range(54))


def test_a_crop_has_the_condition_of_its_box():
    boxes = cut()[1]
    conditions = TrainingConditions(Model(kappa=1.0, condition=("redshift",)), boxes[:, None].astype(float), "training")
    levels = np.ones((1, 4, 4, 4), np.float32) * boxes.astype(np.float32)[:, None, None, None]
    data = training_set(levels.__getitem__, conditions)
    for batch in itertools.islice(data.batches(1, 0, 4, Share(0, 4)), 5):
        assert torch.equal(batch.density[:, 0, 0, 0, 0], (batch.conditions.real[:, 0] > 0).float())
        assert torch.equal(batch.density.amin((1, 2, 3, 4)), batch.density.amax((1, 2, 3, 4)))


@pytest.mark.parametrize(
    ("change", "of_all"),
    [
        (lambda boxes, corners: (boxes[1:], corners[1:]), False),  # one is missing
        (lambda boxes, corners: (boxes, corners + (np.arange(54) == 7)[:, None]), False),  # one is off the grid
        (lambda boxes, corners: (np.append(boxes, 0), np.append(corners, [[0, 0, 0]], 0)), False),  # one is doubled
        (lambda boxes, corners: (boxes, 0 * corners), True),  # nothing is known of where they lie
    ],
)
def test_what_is_no_whole_box_is_seen(change, of_all):
    numbers, corners = change(*cut()[1:])
    found = (crops.neighbours(numbers, corners, 12, 4) < 0).any(axis=1)
    assert found.any() and found.all() == of_all
    assert of_all or len(np.unique(numbers[found])) == 1  # the other box is whole
