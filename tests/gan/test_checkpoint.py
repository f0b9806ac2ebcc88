import pytest
import torch

from cosmogan.gan import checkpoint


def save(folder, *steps, keep=2):
    for step in steps:
        checkpoint.save(folder, {"step": step, "weights": torch.full((1000,), float(step))}, keep)


def test_the_newest_comes_back_and_the_last_few_are_kept(tmp_path):
    save(tmp_path, 5, 50, 500, keep=2)
    assert [path.name for path in checkpoint.found(tmp_path)] == ["step-00000500.pt", "step-00000050.pt"]
    state = checkpoint.newest(tmp_path, pytest.fail)
    assert state["step"] == 500 and torch.equal(state["weights"], torch.full((1000,), 500.0))


def truncate(data):
    return data[: len(data) // 2]


def flip(data):
    middle = data.index(torch.full((1000,), 2.0).numpy().tobytes()) + 2000
    return data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]


@pytest.mark.parametrize("damage", [truncate, flip, lambda data: b"", lambda data: b"not a checkpoint"])
def test_a_damaged_one_is_passed_over_in_one_line(tmp_path, damage):
    save(tmp_path, 1, 2)
    newest = checkpoint.found(tmp_path)[0]
    newest.write_bytes(damage(newest.read_bytes()))
    lines = []
    assert checkpoint.newest(tmp_path, lines.append)["step"] == 1
    assert len(lines) == 1 and "step-00000002.pt: damaged" in lines[0] and "\n" not in lines[0]


def test_nothing_to_go_on_from(tmp_path):
    assert checkpoint.newest(tmp_path / "none", pytest.fail) is None


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("code from a file was run",)


def test_no_code_from_a_file_is_run(tmp_path):
    torch.save({"step": 2, "bomb": Bomb()}, tmp_path / "step-00000002.pt")
    lines = []
    assert checkpoint.newest(tmp_path, lines.append) is None and len(lines) == 1
