import pytest

from hpc.part import Part, share_of
from hpc.partial_results import PartialResults


@pytest.mark.parametrize("text", ["5/4", "0/4", "x", "", "1", "1/0", "-1/4", "1/2/3", " 1/2"])
def test_what_is_no_part_is_refused_in_one_line(text):
    with pytest.raises(ValueError, match=rf"^--part: expected I/N with I from 1 to N, as 2/8, found {text}$"):
        Part.parse(text)


@pytest.mark.parametrize("of", [1, 3, 20])
def test_parts_share_all_items_and_none_twice(of):
    items = list(range(10))
    shares = [share_of(items, Part.parse(f"{number}/{of}")) for number in range(1, of + 1)]
    assert sorted(item for share in shares for item in share) == items
    assert all(item % of == number for number, share in enumerate(shares) for item in share)
    assert share_of(items, None) == items


def test_each_rank_of_each_part_writes_notes_of_its_own(tmp_path):
    for part in (None, Part(1, 2), Part(2, 2), Part(1, 3)):
        for rank in (0, 1):
            PartialResults(tmp_path, rank, part).add(f"{part} {rank}", 1)
    assert len(list(tmp_path.iterdir())) == len(PartialResults(tmp_path, 0).read()) == 8
