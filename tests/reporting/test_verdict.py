"""Which criteria a run meets, for programs: the file, and the exit status that a pipeline of tests asks for."""

import json
import math
import sys

import pytest

from cosmogan import report, validate
from cosmogan.reporting import verdict
from cosmogan.reporting.criteria import BEYOND, PAPER, Row
from cosmogan.statistics.criteria import Distance


def row(name, group, value, fixed=False):
    return Row(name, group, f"{name} within 10 %", "—", Distance(value, math.nan, 0.02), 0.1, "%", fixed)


ROWS = [row("power", PAPER, 0.03, fixed=True), row("variance", PAPER, 0.3), row("peaks", BEYOND, math.nan)]


def test_the_file_says_what_the_table_says(tmp_path):
    verdict.write(tmp_path / "verdict.json", "mine", ROWS)
    tree = json.loads((tmp_path / "verdict.json").read_text(), parse_constant=pytest.fail)  # NaN is not JSON
    assert tree["run"] == "mine" and tree["counts"] == {"claims": {"met": 1, "of": 2}, "beyond": {"met": 0, "of": 1}}
    power, variance, peaks = tree["criteria"]
    assert power == {
        **{"name": "power", "group": "claims", "goal": "power within 10 %", "unit": "%", "limit": 0.1},
        **{"value": 0.03, "error": None, "noise_floor": 0.02, "met": True, "within_noise": False},
        "fixed_by_calibration": True,
    }
    assert (variance["met"], variance["fixed_by_calibration"]) == (False, False)
    assert (peaks["group"], peaks["value"], peaks["met"]) == ("beyond", None, False)


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Run a command line on an experiment whose report finds the criteria given; return its exit status."""
    (tmp_path / "mine.yaml").write_text(f"name: mine\noutput: {tmp_path / 'run'}\n")
    monkeypatch.setattr(validate, "validate", lambda experiment, comm: None)  # seconds of work

    def main(command, rows, *words):
        def written(experiment, comm):
            verdict.write(report.stage(experiment).verdict, "mine", rows)

        monkeypatch.setattr(report, "report", written)
        monkeypatch.setattr(sys, "argv", ["cosmogan", str(tmp_path / "mine.yaml"), *words])
        try:
            command.main("cosmogan")
        except SystemExit as end:
            return end.code
        return 0

    return main


@pytest.mark.parametrize("command", [report, validate])
def test_a_claim_that_is_not_met_is_an_exit_status_where_it_is_asked_for(call, command, capsys, tmp_path):
    assert call(command, ROWS, "--fail-on", "claims") == 3
    path = tmp_path / "run" / "report" / "verdict.json"
    assert capsys.readouterr().out == f"report: claims not met: variance; see {path}\n"
    assert call(command, ROWS) == 0
    assert call(command, [ROWS[0], ROWS[2]], "--fail-on", "claims") == 0  # what the paper did not claim


def test_several_runs_have_no_verdict_of_one(call, capsys):
    assert call(report, ROWS, "--compare", "a", "b", "--fail-on", "claims") == 1
    assert "error: --fail-on: expected without --compare" in capsys.readouterr().err
