"""A run's generator, published: loaded again by its address, with a model card that says what the report says."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import small_experiment
import yaml

import cosmogan
from cosmogan import publish, report, sample, select, validate
from cosmogan.gan import released
from cosmogan.reporting import card, catalogue
from cosmogan.training.work import train
from hpc.distributed import Processes
from hpc.files import read_json
from hpc.mpi import SerialComm


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a small run from its training to its report, which has few figures."""
    experiment = small_experiment.load(tmp_path_factory.mktemp("publish"), epochs=1)
    experiment.freeze()
    train(experiment, Processes())
    few = tuple(entry for entry in catalogue.CATALOGUE if entry.name in publish.SHOWN)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(catalogue, "CATALOGUE", few)
        for stage in (select.select, sample.sample, validate.validate, report.report):
            stage(experiment, SerialComm())
    return experiment.folder


@pytest.fixture
def published(run, tmp_path):
    """Its published folder."""
    publish.publish(run, tmp_path / "published", ["Ada Author", "Ben Author"])
    return tmp_path / "published"


@pytest.fixture
def address(published, tmp_path, monkeypatch):
    """The address of a server of the folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=published))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_it_is_loaded_by_its_address_and_draws_the_same(run, published, address):
    own = released.load(run / "generator/generator.safetensors")
    theirs = cosmogan.load_generator(f"{address}/generator.safetensors", sha256=own.settings["sha256"])
    np.testing.assert_array_equal(theirs.sample(5, seed=4), own.sample(5, seed=4))


def test_the_model_card_says_what_the_report_says(run, published):
    text = (published / "README.md").read_text()
    header = yaml.safe_load(text.split("---")[1])
    assert header["license"] == "mit" and header["library_name"] == "cosmogan"
    verdict = read_json(run / "report/verdict.json")
    table = [line.split(" | ") for line in text.splitlines() if line.startswith("| mean P(k)")]
    by_goal = {c["goal"]: c for c in verdict["criteria"]}
    assert len(table) == 2 and f"It meets 0 of {verdict['counts']['claims']['of']} claims of the paper" in text
    for goal, value, floor, limit, met in table:
        criterion = by_goal[goal.removeprefix("| ").removesuffix(" †")]
        assert float(value.split("\N{NO-BREAK SPACE}")[0]) == pytest.approx(100 * criterion["value"], rel=0.01)
        assert float(floor.split()[0]) == pytest.approx(100 * criterion["noise_floor"], rel=0.01)
        assert float(limit.split()[0]) == 100 * criterion["limit"] and met.startswith("no") == (not criterion["met"])
    missed = [c["goal"] for c in verdict["criteria"] if not c["met"] and not c["within_noise"]]
    bad = text[text.index("## Not good for") :]
    assert missed and all(f"does not meet: {goal} (found" in bad for goal in missed)
    for words in ("8³ cells of 4 Mpc/h, 32 Mpc/h a side", "sigma_8 0.82", "simulations 2 held out", "redshift | 0"):
        assert words in text
    files = [part.split(")")[0] for part in text.split("](")[1:]]
    assert len(files) >= 6 and all((published / file).exists() for file in files)


def test_citation_and_licence_name_the_authors(published):
    cited = yaml.safe_load((published / "CITATION.cff").read_text())
    assert [author["name"] for author in cited["authors"]] == ["Ada Author", "Ben Author"]
    assert cited["cff-version"] == "1.2.0" and cited["references"][1]["doi"] == "10.1103/PhysRevD.102.103504"
    assert "Ada Author, Ben Author\n\nPermission is hereby granted" in (published / "LICENSE").read_text()


def test_a_folder_is_published_again_and_no_other_is_written_to(run, published, tmp_path):
    publish.publish(run, published, ["Ada Author"])
    assert "Ben Author" not in (published / "LICENSE").read_text()
    (tmp_path / "README.md").touch()
    with pytest.raises(ValueError, match="expected a new or empty folder, or one published before"):
        publish.publish(run, tmp_path, ["Ada Author"])


def test_what_is_no_run_with_a_report_is_one_line(run, tmp_path):
    with pytest.raises(ValueError, match=rf"^{tmp_path}/config.yaml: cannot be read"):
        publish.publish(tmp_path, tmp_path / "published", [])
    verdict = run / "report/verdict.json"
    verdict.rename(tmp_path / "verdict.json")
    line = f"{run}: no report of its generator; run `cosmogan run {run}/config.yaml` first"
    with pytest.raises(ValueError, match=f"^{line}$"):
        publish.publish(run, tmp_path / "published", [])
    (tmp_path / "verdict.json").rename(verdict)


def test_the_command_names_the_authors_of_the_run_where_none_are_given(run, tmp_path, python):
    done = python("cosmogan", "publish", run, tmp_path)
    assert done.stdout.startswith(f"publish: {tmp_path}; read README.md"), done.stderr
    assert "the authors of small\n" in (tmp_path / "LICENSE").read_text()


def test_a_card_of_conditions_and_of_a_users_snapshots_says_so(run):
    settings = read_json(run / "generator/generator.json")
    verdict, measured = read_json(run / "report/verdict.json"), {"n_generated": 20, "n_held_out": 64}
    settings["conditions"] = {"names": ["redshift", "sigma_8"], "low": [0, 0.7], "high": [3, 0.9]}
    text = card.model_card(settings, verdict, measured, {})
    assert "redshift 0 to 3, sigma_8 0.7 to 0.9" in text and "sample(8, seed=1, redshift=…, sigma_8=…)" in text
    assert "sigma_8 0.82" not in text and "conditions outside of the ranges above" in text
    settings["config"]["preprocess"]["snapshots"] = ["box-0/snapshot_006"]
    text = card.model_card(settings, verdict, measured, {})
    assert "omega_m 0.29 by their mass" in text and "particle-mesh" not in text
