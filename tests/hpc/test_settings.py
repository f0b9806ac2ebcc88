import time
from dataclasses import dataclass, field
from typing import Literal

import pytest
import yaml

from hpc import settings, yaml_text
from hpc.paths import FilePath


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    steps: int = 3
    kind: Literal["a", "b"] = "a"
    sizes: tuple[int, ...] = (1, 2)
    limit: int | None = None

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps: expected at least 1, found {self.steps}")


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)


def load(tmp_path, text, *overrides):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return settings.load(Outer, path, overrides)


def test_values_defaults_and_overrides(tmp_path):
    made = load(tmp_path, "name: x\ninner: {rate: 1e-4, sizes: [4, 5]}", "inner.steps=7", "inner.limit=2")
    assert made == Outer("x", Inner(rate=1e-4, steps=7, sizes=(4, 5), limit=2))


def test_an_override_can_unset(tmp_path):
    assert load(tmp_path, "name: x\ninner: {limit: 3}", "inner.limit=null").inner.limit is None


def test_defaults_file_is_merged_section_by_section(tmp_path):
    (tmp_path / "base.yaml").write_text("name: base\ninner: {rate: 0.1, steps: 9}")
    assert load(tmp_path, "defaults: base.yaml\ninner: {steps: 2}") == Outer("base", Inner(rate=0.1, steps=2))


def test_defaults_may_be_a_file_that_comes_with_the_package(tmp_path):
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "base.yaml").write_text("name: base\ninner: {rate: 0.1}")
    (shipped / "mine.yaml").write_text("defaults: base.yaml\ninner: {steps: 2}")
    copy = tmp_path / "mine.yaml"
    copy.write_text((shipped / "mine.yaml").read_text())
    assert settings.load(Outer, copy, shipped=shipped) == Outer("base", Inner(rate=0.1, steps=2))
    copy.write_text("defaults: bare.yaml")
    with pytest.raises(settings.SettingsError, match=rf"mine\.yaml: defaults: .*bare\.yaml: cannot be.* in {shipped}$"):
        settings.load(Outer, copy, shipped=shipped)


def test_defaults_that_lead_back_are_refused(tmp_path):
    with pytest.raises(settings.SettingsError, match="leads back"):
        load(tmp_path, "defaults: c.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\ninner: {rat: 1}", r"inner\.rat: unknown setting; did you mean inner\.rate\?"),
        ("name: x\nzzz: 1", r"zzz: unknown setting; expected one of name, inner"),
        ("name: x\ninner: {steps: many}", r"inner\.steps: expected a whole number, found 'many'"),
        ("name: x\ninner: {steps: 1.5}", r"inner\.steps: expected a whole number, found 1\.5"),
        ("name: x\ninner: {steps: true}", r"inner\.steps: expected a whole number, found True"),
        ("name: x\ninner: {rate: fast}", r"inner\.rate: expected a number, found 'fast'"),
        ("name: x\ninner: {kind: c}", r"inner\.kind: expected one of a, b, found 'c'"),
        ("name: x\ninner: {sizes: [1, b]}", r"inner\.sizes\[1\]: expected a whole number, found 'b'"),
        ("name: x\ninner: {steps: 0}", r"inner\.steps: expected at least 1, found 0"),
        ("name: x\ninner: 3", r"inner: expected a section with settings, found 3"),
        ("inner: {}", r"name: not set, and it has no default"),
        ("- a", r"expected `section: settings` pairs, found a list"),
        ("name: [", r"not valid YAML in line"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(tmp_path, text, message):
    with pytest.raises(settings.SettingsError, match=message) as caught:
        load(tmp_path, text)
    assert "c.yaml: " in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("override", ["inner.steps", "=3"])
def test_an_override_without_a_value_is_refused(tmp_path, override):
    with pytest.raises(settings.SettingsError, match=r"section\.key=value"):
        load(tmp_path, "name: x", override)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(settings.SettingsError, match=r"none\.yaml: cannot be read: No such file"):
        settings.load(Outer, tmp_path / "none.yaml")


def test_tree_and_back(tmp_path):
    made = Outer("x", Inner(sizes=(7,)))
    assert settings.build(Outer, settings.to_tree(made), "tree") == made


def test_differences_name_the_setting():
    old, new = settings.to_tree(Outer("x")), settings.to_tree(Outer("x", Inner(steps=4)))
    assert list(settings.differences(old, new)) == ["inner.steps: 3 -> 4"]


def test_differences_of_long_values_stay_readable():
    files = [f"/scratch/sims/box-{i:03d}/snapshot_006" for i in range(30)]
    assert list(settings.differences({"files": files}, {"files": files[:20]})) == ["files: 30 of them -> 20 of them"]
    other = [*files[:7], "elsewhere", *files[8:]]
    assert list(settings.differences({"files": files}, {"files": other})) == [f"files.7: {files[7]} -> elsewhere"]


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("name: x\ninner: {rate: 0.1}\nname: y", [], r"line 3: `name` stands there already, in line 1"),
        ("name: x\ninner:\n  steps: 2\n  'steps': 3", [], r"line 4: `steps` stands there already, in line 3"),
        ("name: x\ninner: {1: 2, 1.0: 3}", [], r"`1\.0` stands there already"),
        ("name: x\ninner:\n- {a: [{b: 1, b: 2}]}", [], r"`b` stands there already"),
        ("name: x", ["inner={steps: 2, steps: 3}"], r"inner=.*: the value is not valid YAML.*`steps` stands there"),
        ("name: x", ["name=a: &n b\nc: *m"], r"the value is not valid YAML"),
    ],
)
def test_a_key_that_stands_twice_is_refused_at_any_depth(tmp_path, text, overrides, message):
    with pytest.raises(settings.SettingsError, match=message) as caught:
        load(tmp_path, text, *overrides)
    assert len(str(caught.value).splitlines()) <= 2  # an override may have two


def test_a_merged_mapping_may_have_keys_of_its_own(tmp_path):
    text = "inner: &a {<<: {steps: 4, rate: 0.25}, steps: 5}\nname: x"
    assert load(tmp_path, text).inner == Inner(rate=0.25, steps=5)


@pytest.mark.parametrize(
    ("merged", "steps", "kind"),
    [("[*a, *b]", 4, "a"), ("[*b, *a]", 9, "b"), ("*b", 9, "b"), ("[*c, *a]", 9, "a"), ("*c", 9, "a")],
)
def test_of_mappings_that_are_merged_the_first_that_has_a_key_counts(merged, steps, kind):
    text = "a: &a {steps: 4, kind: a}\nb: &b {steps: 9, kind: b}\nc: &c {<<: *a, steps: 9}\nd: {<<: %s, x: 1}"
    assert yaml_text.load(text % merged)["d"] == {"steps": steps, "kind": kind, "x": 1}


def test_yaml_that_is_nested_too_deep_is_refused_before_it_takes_long():
    text = "\n".join(" " * level + "a:" for level in range(2000))

    start = time.monotonic()
    with pytest.raises(ValueError, match="not valid YAML in line 100: more than 100 levels in one another"):
        yaml_text.load(text)
    assert time.monotonic() - start < 5  # it was 22 s
    assert yaml_text.load("[" * 99 + "]" * 99) is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inner: {steps: 12:00:00}", r"inner\.steps: expected a whole number, found '12:00:00'; write one number"),
        ("inner: {rate: 1:30}", r"inner\.rate: expected a number, found '1:30'; write one number"),
        ("inner: {rate: 1:30.5}", r"inner\.rate: expected a number, found '1:30\.5'; write one number"),
        ("inner: {rate: -1:30}", r"inner\.rate: expected a number, found '-1:30'; write one number"),
        ("inner: {sizes: [4, 1:30]}", r"inner\.sizes\[1\]: expected a whole number, found '1:30'; write one number"),
        ("inner: {steps: 010}", r"inner\.steps: expected a whole number, found '010'; write it without the leading 0"),
        ("inner: {steps: !!int x}", r"not valid YAML in line 2: `x` is no whole number"),
        ("inner: {steps: !!int 1:30}", r"not valid YAML in line 2: `1:30` is no whole number"),
        ("inner: {rate: !!bool x}", r"not valid YAML: a value is not of the kind that its tag"),
        ("inner: {rate: !!float 1:30}", r"not valid YAML in line 2: `1:30` is no number"),
        (f"inner: {{rate: 1{400 * '0'}}}", r"inner\.rate: expected a number within ±1\.8e308, found a larger one"),
    ],
)
def test_a_number_of_another_base_or_size_is_refused(tmp_path, text, message):
    with pytest.raises(settings.SettingsError, match=message):
        load(tmp_path, f"name: x\n{text}")


def test_what_looks_like_a_time_or_a_date_is_text_where_text_is_wanted(tmp_path):
    for text in ("12:00:00", "2026-11-28", "2026-13-45", "010"):
        assert load(tmp_path, f"name: {text}").name == text
    tree = yaml.safe_load(yaml.safe_dump({"name": "12:00:00", "n": 8, "x": 1.5e-7, "big": 1e30}))
    assert yaml_text.load(yaml.safe_dump(tree)) == tree


@dataclass(frozen=True)
class Files:
    folder: FilePath = "runs"
    files: tuple[FilePath, ...] = ()
    other: FilePath | None = None
    text: str = ""
    options: dict[str, str | int] = field(default_factory=dict)


def files(tmp_path, text, *overrides):
    path = tmp_path / "files.yaml"
    path.write_text(text)
    return settings.load(Files, path, overrides)


def test_paths_are_expanded_where_settings_are_read(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("SCRATCH", "/scratch")
    made = files(tmp_path, "files: [~/a, '$SCRATCH/b-{n:03d}', './~/c']\ntext: ~/$SCRATCH", "folder=${SCRATCH}/x-$HOME")
    assert made.files == ("/home/me/a", "/scratch/b-{n:03d}", "./~/c")
    assert (made.folder, made.other, made.text) == ("/scratch/x-/home/me", None, "~/$SCRATCH")
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "b.yaml").write_text("folder: $SCRATCH")
    monkeypatch.setenv("BASE", str(tmp_path / "base"))
    assert files(tmp_path, "defaults: $BASE/b.yaml\nother: ~").folder == "/scratch"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("$NOWHERE/a", r"folder: \$NOWHERE/a: the environment variable NOWHERE is not set here"),
        ("${NOWHERE}", r"the environment variable NOWHERE is not set"),
        ("$EMPTY/a", r"the environment variable EMPTY is empty here"),
        ("~nobody-of-this-name/a", r"no user nobody-of-this-name here"),
    ],
)
def test_a_path_that_cannot_be_expanded_is_refused(tmp_path, monkeypatch, value, message):
    monkeypatch.delenv("NOWHERE", raising=False)
    monkeypatch.setenv("EMPTY", "")
    with pytest.raises(settings.SettingsError, match=message):
        files(tmp_path, "", f"folder={value}")


def test_a_setting_may_be_of_two_types(tmp_path):
    assert files(tmp_path, "options: {nice: 10, time: 12:00:00}").options == {"nice": 10, "time": "12:00:00"}
