import pytest

from hpc.receipts import Receipt


def test_a_receipt_is_done_only_with_the_same_recipe(tmp_path):
    receipt = Receipt(tmp_path, "work", {"n": 1, "sizes": (1, 2)})
    assert not receipt.done()
    receipt.begin(keep=True)
    assert not receipt.done()
    receipt.finish(rows=3)
    assert Receipt(tmp_path, "work", {"n": 1, "sizes": (1, 2)}).done()
    assert not Receipt(tmp_path, "work", {"n": 2, "sizes": (1, 2)}).done()
    assert receipt.results() == {"rows": 3}


def test_work_begun_with_other_settings_is_refused_or_redone(tmp_path):
    Receipt(tmp_path, "work", {"n": 1}).begin(keep=True)
    with pytest.raises(ValueError, match=r"begun here with other settings \(n: 1 -> 2\)"):
        Receipt(tmp_path, "work", {"n": 2}).begin(keep=True)
    Receipt(tmp_path, "work", {"n": 2}).begin(keep=False)
    assert Receipt.recorded(tmp_path, "work") == {"n": 2}
