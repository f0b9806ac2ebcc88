import itertools
import os

import numpy as np
import pytest
import torch

from cosmogan.gan import symmetry
from cosmogan.training import dataset
from cosmogan.training.dataset import Share, TrainingSet

CUBES = np.random.default_rng(0).random((12, 4, 4, 4), dtype=np.float32)
ROWS = np.array([1, 2, 5, 7, 8, 9, 11])


CPU = torch.device("cpu")


def training_set(read=CUBES.__getitem__, cache=CPU):
    return TrainingSet(read, ROWS, 4, CPU, cache)


def take(part, batches, first=0, stride=4, seed=1, data=None):
    data = training_set() if data is None else data
    taken = itertools.islice(data.batches(seed, first, stride, part), batches)
    return torch.stack([batch.density for batch in taken])


def orbit():
    cube = torch.arange(27).reshape(3, 3, 3)
    return [symmetry.oriented(cube, s) for s in range(48)]


def test_the_48_symmetries_are_distinct():
    assert len({tuple(cube.flatten().tolist()) for cube in orbit()}) == 48


def test_the_48_symmetries_are_a_group():
    places = {tuple(cube.flatten().tolist()) for cube in orbit()}
    for cube in orbit():
        assert {tuple(symmetry.oriented(cube, s).flatten().tolist()) for s in range(48)} == places


def test_symmetries_keep_neighbours():
    corner, edge = (0, 0, 0), (0, 0, 1)
    for cube in orbit():
        a, b = (np.argwhere(cube.numpy() == np.ravel_multi_index(at, (3, 3, 3)))[0] for at in (corner, edge))
        assert np.abs(a - b).sum() == 1


def test_parts_of_two_processes_make_the_batches_of_one():
    whole = take(Share(0, 4), 6)
    halves = torch.cat([take(Share(offset, 2), 6) for offset in (0, 2)], dim=1)
    torch.testing.assert_close(halves, whole, rtol=0, atol=0)


def test_batches_can_be_taken_up_anywhere():
    torch.testing.assert_close(take(Share(0, 4), 3, first=12), take(Share(0, 4), 6)[3:], rtol=0, atol=0)


def test_a_pass_shows_every_row_once_and_the_next_in_another_order():
    data = training_set()
    first, second = data.places(1, np.arange(7)), data.places(1, np.arange(7, 14))
    assert sorted(first) == sorted(second) == list(range(7))
    assert list(first) != list(second)


def test_a_sample_is_its_row_in_some_orientation():
    batch = take(Share(0, 7), 1, stride=7)[0]
    for sample, place in zip(batch[:, 0], training_set().places(1, np.arange(7)), strict=True):
        cube = torch.from_numpy(CUBES[ROWS[place]])
        assert any(torch.equal(sample, symmetry.oriented(cube, s)) for s in range(48))


def test_another_seed_gives_other_batches():
    assert not torch.equal(take(Share(0, 4), 1), take(Share(0, 4), 1, seed=2))


@pytest.mark.parametrize("cache", [None, CPU])
def test_a_process_reads_its_own_rows_only_and_cached_ones_once(cache):
    expected = take(Share(1, 2), 5)
    read = []
    data = training_set(lambda rows: read.append(rows) or CUBES[rows], cache)
    assert not read  # nothing at the start
    torch.testing.assert_close(take(Share(1, 2), 5, data=data), expected, rtol=0, atol=0)
    data._reader.shutdown()  # the sixth batch is read ahead
    samples = np.concatenate([4 * batch + np.array([1, 2]) for batch in range(6)])
    rows = ROWS[data.places(1, samples)]
    found = np.concatenate(read)
    assert sorted(found) == sorted(rows if cache is None else np.unique(rows))


def test_a_new_seed_begins_other_batches_of_the_same_set():
    data = training_set()
    take(Share(0, 4), 3, data=data)
    torch.testing.assert_close(take(Share(0, 4), 6, seed=2, data=data), take(Share(0, 4), 6, seed=2), rtol=0, atol=0)


def test_where_the_set_is_kept(monkeypatch):
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    monkeypatch.setattr(os, "sysconf", lambda name: 100)  # 100 pages of 100 bytes
    assert dataset.cache("auto", 500, gpu, 1) == gpu and dataset.cache("auto", 501, gpu, 1) == CPU
    assert dataset.cache("auto", 2500, gpu, 2) == CPU and dataset.cache("auto", 2501, gpu, 2) is None
    assert [dataset.cache(name, 10**9, gpu, 8) for name in ("none", "host", "device")] == [None, CPU, gpu]


@pytest.mark.parametrize("n", [48 * 200])
def test_orientations_are_drawn_evenly(n):
    counts = np.bincount(dataset.symmetries(1, 0, n), minlength=48)
    assert counts.min() > 140 and counts.max() < 265  # 200 ± 4.2 standard deviations
