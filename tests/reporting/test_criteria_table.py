"""`criteria`: the rows of the pass/fail table, and how the page words them."""

import pytest

from cosmogan.reporting import criteria, document, runs
from cosmogan.shards import statistics_file
from cosmogan.statistics.criteria import Distance


def test_too_much_structure_fails_what_it_should_and_the_row_says_so(measured):
    judged = {row.name: row for row in criteria.rows(statistics_file.read(measured.statistics_path))}
    power = judged["power"]
    assert not power.passed
    assert not power.within_noise
    assert power.distance.value > 0.3
    assert judged["cross_power"].passed
    assert document.line(power)[-1] == "✗ fail"
    assert criteria.count(list(judged.values()), criteria.PAPER).startswith("the paper's claims: ")


def test_a_value_at_its_limit_passes_and_one_that_is_not_known_fails():
    def row(value, floor=0.0):
        return criteria.Row("x", criteria.PAPER, "", "", Distance(value, 0.01, floor), 0.05, "%")

    assert row(0.05).passed
    assert not row(0.051).passed
    assert not row(float("nan")).passed
    assert row(0.06, floor=0.07).within_noise
    cells = tuple(cell.replace("\N{NO-BREAK SPACE}", " ") for cell in document.line(row(0.06, floor=0.07)))
    assert cells == ("", "", "6.0 ± 1.0 %", "7.0 %", "✗ fail, within noise")


def test_a_noise_floor_that_all_halves_share_has_no_scatter():
    distance = Distance(0.013, 0.002, 0.0138, 3.47e-18)
    cells = document.line(criteria.Row("voxel_pdf", criteria.PAPER, "", "", distance, 0.1, "ρ/ρ̄"))
    assert [cell.replace("\N{NO-BREAK SPACE}", " ") for cell in cells[2:4]] == ["0.013 ± 0.002", "0.0138 ± 0"]


@pytest.mark.parametrize(
    ("known", "calibrated"),
    [
        ({}, False),  # someone's samples
        ({"generator": {"calibration": {"kept": False}}}, False),
        ({"generator": {"calibration": {"kept": True}}}, True),
        ({"settings": {"sample": {"generator": None}}}, False),
        ({"settings": {"sample": {"generator": "web-32"}}}, True),
    ],
)
def test_a_run_is_calibrated_when_its_generator_is(known, calibrated):
    assert runs.Run({}, **known).calibrated == calibrated


def test_a_criterion_that_does_not_apply_to_a_run_has_a_dash():
    row = criteria.Row("x", criteria.BEYOND, "goal", "—", Distance(0.01, 0.001, 0.02), 0.05, "%")
    cells = document._together(row, [row, None])
    assert [cell.replace("\N{NO-BREAK SPACE}", " ") for cell in cells[2:]] == ["✓ 1.0 ± 0.1 %", "—", "2.0 %"]
