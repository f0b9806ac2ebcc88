import numpy as np
import pytest
import torch
from shard_folders import write_boxes

from cosmogan import shards
from cosmogan.training import pairs
from cosmogan.training.dataset import Share
from cosmogan.training.pairs import Boxes, PairedSet

N, M, CPU = 16, 8, torch.device("cpu")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two boxes, and the same with noise on their small scales."""
    random = np.random.default_rng(1)
    large = np.repeat(np.repeat(np.repeat(random.gamma(2, 0.5, (2, 4, 4, 4)), 4, 1), 4, 2), 4, 3)
    folder = tmp_path_factory.mktemp("pairs")
    for name in ("target", "quick"):
        write_boxes(folder / name, large * random.gamma(20, 1 / 20, large.shape), M)
    return shards.open(folder / "target"), shards.open(folder / "quick")


def test_a_crop_wraps_around_its_box(folders):
    boxes = Boxes(folders[0])
    crops = boxes.crops(np.array([1, 0]), np.array([[-3, 14, 5], [0, 0, 0]]), 12)
    expected = torch.roll(boxes.box(1), (3, -14, -5), (0, 1, 2))[:12, :12, :12]
    assert torch.equal(crops[0], expected) and torch.equal(crops[1], boxes.box(0)[:12, :12, :12])


def paired_set(folders):
    return PairedSet(*map(Boxes, folders), [0, 1], M, 3, CPU)


def test_the_input_lies_around_the_sample(folders):
    """Both in the same orientation: where the boxes are alike, so are the crops."""
    batch = paired_set((folders[0], folders[0])).fakes(1, 0, 32)
    assert batch.surroundings.shape == (32, M + 6, M + 6, M + 6)
    assert torch.equal(batch.surroundings[:, 3:-3, 3:-3, 3:-3], batch.density[:, 0])


def test_samples_are_the_same_for_any_number_of_processes(folders):
    whole = next(paired_set(folders).batches(1, 8, 8, Share(0, 8)))
    parts = [next(paired_set(folders).batches(1, 8, 8, Share(offset, 4))) for offset in (0, 4)]
    assert torch.equal(whole.density, torch.cat([part.density for part in parts]))
    assert torch.equal(whole.surroundings, torch.cat([part.surroundings for part in parts]))


def test_boxes_come_equally_often_and_crops_begin_anywhere(folders):
    simulations, corners = paired_set(folders).places(1, 0, 4096)
    assert (simulations.reshape(-1, 2).sum(1) == 1).all()  # each once in a round
    counts = np.stack([np.bincount(axis, minlength=N) for axis in corners.T])
    assert counts.min() > 180 and counts.max() < 340


def test_pairs_of_the_same_modes_pass(folders):
    pairs.check_pairs(*folders, [0, 1])


def test_pairs_of_other_modes_are_refused(folders, tmp_path):
    random = np.random.default_rng(2)
    write_boxes(tmp_path / "other", random.gamma(2, 0.5, (2, N, N, N)), M)
    with pytest.raises(ValueError, match=r"other: simulation 0: expected the initial modes of .*target, found a corr"):
        pairs.check_pairs(folders[0], shards.open(tmp_path / "other"), [0, 1])


def test_pairs_of_other_cells_are_refused(folders, tmp_path):
    write_boxes(tmp_path / "other", np.ones((1, 2 * N, 2 * N, 2 * N)), M)
    with pytest.raises(ValueError, match=r"other: expected n_mesh = 16, as in .*target, found 32"):
        pairs.check_pairs(folders[0], shards.open(tmp_path / "other"), [0])


def test_a_box_with_a_hole_is_refused(tmp_path):
    write_boxes(tmp_path / "holed", np.ones((1, N, N, N)), M, without=3)
    with pytest.raises(ValueError, match=r"holed: simulation 0: expected each of its 8 subvolumes once, found 7"):
        Boxes(shards.open(tmp_path / "holed"))
