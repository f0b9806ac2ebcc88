import resource
import threading
from pathlib import Path

import pytest
import torch

from cosmogan.training.checkpoint import Checkpoints


def state(step, numbers=1000):
    return {"step": step, "weights": torch.full((numbers,), float(step))}


def save(folder, *steps, keep=2, epoch_steps=10**9):
    with Checkpoints(folder, keep, epoch_steps) as store:
        for step in steps:
            store.save(state(step))
    return store


def names(store):
    return [int(path.stem[5:]) for path in store.paths()]


def test_the_newest_comes_back_and_the_last_few_are_kept(tmp_path):
    store = save(tmp_path, 5, 50, 500, keep=2)
    assert [path.name for path in store.paths()] == ["step-00000500.pt", "step-00000050.pt"]
    found = store.newest(pytest.fail)
    assert found["step"] == 500 and torch.equal(found["weights"], torch.full((1000,), 500.0))


def test_the_last_good_one_is_kept_and_what_came_after_it_dropped(tmp_path):
    store = save(tmp_path, 10, 20, 23, 26, 29, keep=2, epoch_steps=10)
    assert names(store) == [29, 26, 20]
    assert store.drop_doubtful() == 20 and names(store) == [20]
    assert save(tmp_path / "none", 3, 4).drop_doubtful() == 0 and not list((tmp_path / "none").iterdir())


def test_what_is_written_is_the_state_at_the_call(tmp_path, monkeypatch):
    """The training goes on while a thread writes."""
    go = threading.Event()
    write = torch.save
    monkeypatch.setattr(torch, "save", lambda *args: go.wait(10) and write(*args))
    weights = torch.zeros(1000)
    with Checkpoints(tmp_path, 2, 1) as store:
        store.save({"step": 1, "nested": [{"weights": weights}]})
        weights += 1
        assert not store.paths()
        go.set()
    assert not store.newest(pytest.fail)["nested"][0]["weights"].any()


def test_no_space_is_one_line_and_the_earlier_ones_stay(tmp_path):
    store = Checkpoints(tmp_path, 2, 1)
    store.save(state(1))
    store.wait()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**5, hard))  # a real write that really fails
    try:
        store.save(state(2, 10**5))
        with pytest.raises(OSError, match=r"File too large while writing it; .*: what is complete is kept"):
            store.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001.pt"]
    assert store.newest(pytest.fail)["step"] == 1


def test_a_failed_write_is_known_before_the_next(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    store = Checkpoints(tmp_path, 2, 1)
    store.save(state(1))
    store._thread.shutdown()
    assert store.failed()
    with pytest.raises(OSError, match="No space left on device"):
        store.save(state(2))


def truncate(data):
    return data[: len(data) // 2]


def flip(data):
    middle = data.index(torch.full((1000,), 2.0).numpy().tobytes()) + 2000
    return data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]


@pytest.mark.parametrize("damage", [truncate, flip, lambda data: b"", lambda data: b"not a checkpoint"])
def test_a_damaged_one_is_passed_over_in_one_line(tmp_path, damage):
    store = save(tmp_path, 1, 2)
    newest = store.paths()[0]
    newest.write_bytes(damage(newest.read_bytes()))
    lines = []
    assert store.newest(lines.append)["step"] == 1
    assert len(lines) == 1 and "step-00000002.pt: damaged" in lines[0] and "\n" not in lines[0]


def test_nothing_to_go_on_from(tmp_path):
    assert Checkpoints(tmp_path / "none", 2, 1).newest(pytest.fail) is None


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("code from a file was run",)


def test_no_code_from_a_file_is_run(tmp_path):
    torch.save({"step": 2, "bomb": Bomb()}, tmp_path / "step-00000002.pt")
    lines = []
    assert Checkpoints(tmp_path, 2, 1).newest(lines.append) is None and len(lines) == 1
