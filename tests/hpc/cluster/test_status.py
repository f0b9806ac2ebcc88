"""How the jobs of a run get on, in words; SLURM's answers are made up, so that each case is there."""

import json
from types import SimpleNamespace

import pytest

from hpc.cluster import status
from hpc.cluster.job_records import JobRecord, JobRecords
from hpc.cluster.slurm import Slurm, state

STAGE = SimpleNamespace(done=lambda experiment: False, at_work=lambda name, experiment: None)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of two stages; call it with what SLURM says of its jobs and get the lines of the table."""
    experiment = SimpleNamespace(folder=tmp_path)
    records = JobRecords(tmp_path)
    records.folder.mkdir()
    machine = SimpleNamespace(stages={"first": STAGE, "second": STAGE})

    def ask(**said):
        known = {job[1:]: state(*words) for job, words in said.items()}
        monkeypatch.setattr(Slurm, "states", lambda slurm, jobs: {job: known[job] for job in jobs if job in known})
        return status.table(machine, experiment, Slurm())

    def launched(*jobs):
        lines = [{"stage": stage, "name": name, "job": job, "log": f"{job}.log"} for stage, name, job in jobs]
        records.submitted_path.write_text(json.dumps(lines))

    return SimpleNamespace(ask=ask, launched=launched, records=records, folder=tmp_path, machine=machine)


def test_a_batch_script_that_was_submitted_after_the_launch_is_the_one_that_counts(run):
    run.launched(("first", "first", "7"), ("second", "second", "8"))
    run.records.write("first", JobRecord("9", "nine.log"))
    run.records.write("second", JobRecord("6", "six.log"))
    states = {"_6": ("FAILED",), "_7": ("CANCELLED",), "_8": ("CANCELLED",), "_9": ("RUNNING", "", "0:05")}
    assert run.ask(**states) == [
        ("first", "9", "running", "0:05", ""),
        ("second", "8", "cancelled", "", "cancelled; log: 8.log"),
    ]
    assert status.living(run.folder, Slurm()) == ["9"]  # no launch beside it


def test_a_stage_that_runs_without_a_scheduler_is_running(run):
    run.launched(("first", "first", "7"))
    holder = {"host": "here", "process": "41", "since": "2026-11-28 07:00:00"}
    stage = SimpleNamespace(done=STAGE.done, at_work=lambda name, experiment: holder)
    run.machine.stages = {"first": stage, "second": stage}
    line = ("41", "running", "", "on here, since 2026-11-28 07:00:00")
    assert run.ask(_7=("FAILED",)) == [("first", *line), ("second", *line)]
    assert run.ask(_7=("PENDING", "None", "0:01"))[0] == ("first", "7", "pending", "0:01", "")


def test_the_parts_of_an_array_that_say_the_same_are_one_line(run):
    run.launched(*(("first", f"first-part-{i + 1}", f"7_{i}") for i in range(5)), ("first", "first", "8"))
    run.records.write("first-part-3", JobRecord("7_2", "two.log", state="failed", why="failed with exit status 3"))
    waits = ("PENDING", "Resources", "0:00")
    states = {"_7_0": ("COMPLETED",), "_7_1": waits, "_7_2": ("FAILED",), "_7_3": waits, "_7_4": waits}
    assert run.ask(**states, _8=("PENDING", "Dependency", "0:00"))[:-1] == [
        ("first-part-2", "7_1", "pending", "0:00", "waits: Resources"),
        ("first-part-3", "7_2", "failed", "", "failed with exit status 3; log: two.log"),
        ("first-part-4…5", "7_3…4", "pending", "0:00", "waits: Resources"),
        ("first", "8", "pending", "0:00", "waits: Dependency"),
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("FAILED", "NonZeroExitCode"), ("failed", "run: job 5 does the same here; log: LOG")),
        (("TIMEOUT",), ("failed", "its time ran out; log: LOG")),
        (("CANCELLED", "DependencyNeverSatisfied"), ("cancelled", "what it waited for failed")),
        (("COMPLETED",), ("not done", status._STALE)),
        (("PENDING", "None"), ("pending", "")),
    ],
)
def test_a_job_without_a_record(run, words, expected):
    log = run.folder / "jobs" / "7.log"
    log.write_text("noise\nerror: cannot\nerror: run: job 5 does the same here\nTraceback\n")
    run.records.submitted_path.write_text(
        json.dumps([{"stage": "first", "name": "first", "job": "7", "log": str(log)}])
    )
    line = run.ask(_7=words)[0]
    assert (line.state, line.what) == (expected[0], expected[1].replace("LOG", str(log)))


def test_a_job_that_begins_again_says_how_far_it_is(run):
    run.records.write("first", JobRecord("7", "seven.log", state="ended"))
    counted = [{"label": "first", "began": 0, "count": 5, "total": 20, "unit": "things"}]
    run.records.progress_path("first").write_text(json.dumps(counted))
    assert run.ask(_7=("PENDING", "BeginTime", "0:00"))[0].what == "25 % (5 of 20 things); waits: BeginTime"


def test_a_live_table_is_drawn_over_itself_though_the_terminal_breaks_its_long_lines(run, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    lines = [status.Line("first", "7", "failed", "0:05", "x" * 60)]
    status._redraw(lines, lines)
    assert capsys.readouterr().out.startswith("\x1b[4A\x1b[Jstage")  # the head, and a line that takes three


def test_watching_ends_with_an_error_that_names_what_failed_and_its_log(run):
    experiment = SimpleNamespace(folder=run.folder)
    run.launched(("second", "second", "8"))
    run.records.write("first", JobRecord("5", "five.log", state="failed", why="failed with exit status 3"))
    run.ask(_5=("FAILED",), _8=("COMPLETED",))
    status.watch(run.machine, experiment, Slurm())  # the first stage's failure is an old one
    run.launched(("first", "first", "7"), ("second", "second", "8"))
    run.records.write("first", JobRecord("7", "seven.log", state="failed", why="failed with exit status 3"))
    run.ask(_7=("FAILED",), _8=("CANCELLED", "DependencyNeverSatisfied"))
    with pytest.raises(RuntimeError, match=r"^first: failed with exit status 3; log: seven\.log$"):
        status.watch(run.machine, experiment, Slurm())


def test_ctrl_c_ends_the_watching_alone(run, monkeypatch, capsys):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(status.time, "sleep", interrupt)
    run.launched(("first", "first", "7"))
    run.ask(_7=("RUNNING", "", "0:05"))
    status.watch(run.machine, SimpleNamespace(folder=run.folder), Slurm())
    assert capsys.readouterr().out.splitlines()[-1].startswith("the jobs run on without being watched")
