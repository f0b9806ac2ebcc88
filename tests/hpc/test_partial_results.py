from hpc.partial_results import PartialResults


def test_what_any_rank_wrote_is_found_again(tmp_path):
    PartialResults(tmp_path / "a", 0).add("one", {"x": 1.5})
    PartialResults(tmp_path / "a", 3).add("two", [1, 2])
    assert PartialResults(tmp_path / "a", 1).read() == {"one": {"x": 1.5}, "two": [1, 2]}
    assert PartialResults(tmp_path / "b", 0).read() == {}


def test_a_line_that_was_cut_off_takes_no_other_with_it(tmp_path):
    notes = PartialResults(tmp_path, 0)
    notes.add("one", 1)
    notes.add("two", 2)
    path = tmp_path / "notes-0000.jsonl"
    path.write_text(path.read_text()[:-5])
    assert notes.read() == {"one": 1}
    notes.add("three", 3)
    assert notes.read() == {"one": 1, "three": 3}
