import json

from hpc.log import Metrics, Progress, clock, say


def test_clock():
    assert [clock(s) for s in (0.4, 59.6, 61, 3661)] == ["0:00", "1:00", "1:01", "1:01:01"]


def test_only_rank_0_speaks(capsys):
    say("a", rank=0)
    say("b", rank=1)
    assert capsys.readouterr().out == "a\n"


def test_progress_shows_count_and_time_left_in_a_log(capsys, monkeypatch):
    monkeypatch.setattr(Progress, "log_interval", 0.0)
    with Progress("work", 4, "steps") as progress:
        progress.advance(3, note="loss 1.0")
    text = capsys.readouterr().err
    assert "work: " in text and "3/4 steps" in text and "left" in text and "loss 1.0" in text


def test_quick_work_draws_no_bar(capsys):
    with Progress("work", 4) as progress:
        progress.advance(4)
    assert capsys.readouterr().err == ""


def test_metrics_resume_without_gaps_or_doubles(tmp_path):
    path = tmp_path / "m.jsonl"
    first = Metrics(path)
    for step in range(5):
        first.write({"step": step})
    first.close()
    with open(path, "a") as file:
        file.write('{"step": 5, "lo')  # cut off by a kill
    again = Metrics(path, keep_below=("step", 3))
    again.write({"step": 3})
    again.close()
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [0, 1, 2, 3]
