"""The documentation: the links, files and settings that it names exist, the tutorial runs, the site has all pages."""

import dataclasses
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from cosmogan import statistics
from cosmogan.config import Experiment
from cosmogan.reporting.catalogue import CATALOGUE

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("cosmogan/**/*.md")])
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
SECTIONS = {
    f.name: f.default_factory for f in dataclasses.fields(Experiment) if dataclasses.is_dataclass(f.default_factory)
}


def name(page):
    return str(page.relative_to(ROOT))


def anchors(page):
    """Return the anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page):
    links = re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", page.read_text()))
    for path, _, anchor in (link.partition("#") for link in links if "://" not in link):
        target = page if not path else (page.parent / path).resolve()
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield f"{path}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files_and_headings_that_exist(page):
    assert not list(broken_links(page))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_of_the_repository_that_a_page_names_exist(page):
    folders = "cosmogan|hpc|configs|slurm|scripts|benchmarks|examples|tests|docs"
    named = re.findall(rf"(?<![\w/.~-])((?:{folders})/[\w./-]+\.(?:py|c|sh|md|yaml|env|json))\b", page.read_text())
    assert not [path for path in named if not (ROOT / path).exists()]


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=name)
def test_settings_that_a_page_names_exist(page):
    fields = {f"{section}.{field.name}" for section, kind in SECTIONS.items() for field in dataclasses.fields(kind)}
    named = re.findall(
        rf"(?<![\w./-])((?:{'|'.join(SECTIONS)})\.(?!py|yaml|sh|h5)[a-z]\w*)\b(?![(/])", page.read_text()
    )
    assert not set(named) - fields


def test_the_readme_is_short():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 130 and max(map(len, lines)) <= 100


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")), ids=name)
def test_every_page_is_in_the_readme(page):
    assert f"(docs/{page.name}" in (ROOT / "README.md").read_text()


def test_every_page_is_in_the_sites_navigation():
    navigation = runpy.run_path(str(ROOT / "docs/conf.py"))["NAVIGATION"]
    listed = [f"{page}.md" for pages in navigation.values() for page in pages]
    assert sorted([*listed, "README.md"]) == sorted(map(name, PAGES))


def test_the_gallery_explains_every_figure_of_a_report():
    headings = re.findall(r"^### (.*)$", (ROOT / "docs/gallery.md").read_text(), re.MULTILINE)
    assert headings == [entry.title for entry in CATALOGUE]


def test_the_page_of_the_python_interface_has_every_statistic():
    listed = re.findall(r":: cosmogan\.statistics\.(\w+)", (ROOT / "docs/api.md").read_text())
    assert sorted(listed) == sorted(statistics.__all__)


@pytest.mark.slow
def test_the_tutorial_prints_what_it_says(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    names = {}
    for language, text in re.findall(
        r"^```(python|bash|text)\n(.*?)^```$", (ROOT / "docs/tutorial.md").read_text(), re.MULTILINE | re.DOTALL
    ):
        if language == "python":
            exec(text, names)
        elif language == "bash":
            subprocess.run(text, shell=True, check=True)
            capfd.readouterr()
        else:
            assert capfd.readouterr().out == text
