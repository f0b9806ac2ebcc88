"""Read YAML files and ``section.key=value`` overrides, and check them into frozen dataclasses.

Settings of type `hpc.paths.FilePath` are expanded here, once: no other code knows ``~`` or ``$VARIABLES``.
"""

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from hpc import yaml_text
from hpc.paths import FilePath, expanded

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
BRIEF = 80  # characters of a value in a message


class SettingsError(ValueError):
    """A setting that is misspelt, of the wrong type, or impossible; the message names it."""


def load(
    schema: type[T], path: Path | str, overrides: list[str] | tuple[str, ...] = (), shipped: Path | None = None
) -> T:
    """Read a YAML file and overrides into an instance of ``schema``.

    A file may start from another: ``defaults: other.yaml``, a path relative to itself, or a name in ``shipped``.

    Parameters
    ----------
    schema : a (nested) dataclass
    path : the YAML file
    overrides : ``section.key=value`` strings; the value is read as YAML
    shipped : folder of the files that come with the package

    Raises
    ------
    SettingsError
        for a missing or malformed file, and for an unknown, mistyped or impossible setting.
    """
    tree = read_tree(Path(path), shipped)
    for override in overrides:
        apply(tree, override)
    return build(schema, tree, source=str(path))


def read_tree(path: Path, shipped: Path | None = None, chain: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a YAML file, and the files that its ``defaults`` name, into one nested dict; ``chain`` leads to it."""
    if path.resolve() in chain:
        raise SettingsError(f"{path}: `defaults` leads back to the file itself")
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        named = f"{chain[-1]}: defaults: " if chain else ""
        lacking = shipped is not None and isinstance(error, FileNotFoundError)
        theirs = f"; those that come with the package are in {shipped}" if lacking else ""
        raise SettingsError(f"{named}{path}: cannot be read: {reason}{theirs}") from None
    try:
        tree = yaml_text.load(text)
    except ValueError as error:
        raise SettingsError(f"{path}: {error}") from None
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise SettingsError(f"{path}: expected `section: settings` pairs, found a {type(tree).__name__}")
    base = tree.pop("defaults", None)
    if base is None:
        return tree
    name = _convert(FilePath, base, str(path), "defaults")
    beside = path.parent / name
    start = shipped / name if shipped and not beside.exists() and (shipped / name).exists() else beside
    return _merge(read_tree(start, shipped, (*chain, path.resolve())), tree)


def _merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def apply(tree: dict[str, Any], override: str) -> None:
    """Set one ``section.key=value`` in a nested dict."""
    name, equals, text = override.partition("=")
    if not equals or not name:
        raise SettingsError(f"{override!r}: an override has the form section.key=value")
    *sections, key = name.strip().split(".")
    for section in sections:
        if not isinstance(tree.get(section), dict):
            tree[section] = {}
        tree = tree[section]
    try:
        tree[key] = yaml_text.load(text)
    except ValueError as error:
        raise SettingsError(f"{override!r}: the value is {error}") from None


def build(schema: type[T], tree: Mapping[str, object], source: str, prefix: str = "") -> T:
    """Make ``schema`` from a nested dict; ``source`` and ``prefix`` say where in error messages."""
    hints = typing.get_type_hints(schema, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(schema)}  # type: ignore[arg-type]
    for key in tree:
        if key not in fields:
            close = difflib.get_close_matches(str(key), fields, n=1, cutoff=0.5)
            hint = f"did you mean {prefix}{close[0]}?" if close else f"expected one of {', '.join(fields)}"
            raise SettingsError(f"{source}: {prefix}{key}: unknown setting; {hint}")
    values = {key: _convert(hints[key], value, source, prefix + key) for key, value in tree.items()}
    for name, field in fields.items():
        missing = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if missing and name not in values:
            raise SettingsError(f"{source}: {prefix}{name}: not set, and it has no default")
    try:
        return schema(**values)
    except SettingsError:
        raise
    except ValueError as error:
        raise SettingsError(f"{source}: {prefix}{error}") from None


def _convert(hint: Any, value: object, source: str, name: str) -> Any:
    """Return ``value`` as the type that ``hint`` says, or raise SettingsError."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        if value is None:
            value = {}
        if isinstance(value, dict):
            return build(typing.cast(type, hint), value, source, name + ".")
    elif origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        if type(value) in arguments:
            return value
        return _convert(next(a for a in arguments if a is not type(None)), value, source, name)
    elif origin is Annotated:  # a path
        text = _convert(arguments[0], value, source, name)
        try:
            return expanded(text)
        except ValueError as error:
            raise SettingsError(f"{source}: {name}: {error}") from None
    elif origin is typing.Literal:
        if value in arguments:
            return value
    elif origin is tuple:
        values = value if isinstance(value, list) else [value]
        return tuple(_convert(arguments[0], item, source, f"{name}[{i}]") for i, item in enumerate(values))
    elif origin is dict:
        if isinstance(value, dict):
            return {str(k): _convert(arguments[1], v, source, f"{name}.{k}") for k, v in value.items()}
    elif hint is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 1e-4 as a string
        except ValueError:
            pass
        except OverflowError:
            raise SettingsError(f"{source}: {name}: expected a number within ±1.8e308, found a larger one") from None
    elif (isinstance(value, bool) and hint is bool) or (isinstance(value, hint) and not isinstance(value, bool)):
        return value
    raise SettingsError(f"{source}: {name}: expected {_describe(hint)}, found {value!r}{_advice(value)}")


def _advice(value: object) -> str:
    """Return how to write a number that YAML reads in another base; empty for all else."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d+(:\d+)+(\.\d*)?", value):
        return "; write one number in the setting's own unit, as 720 for 12 hours where that is minutes"
    if isinstance(value, str) and re.fullmatch(r"[-+]?0[\d_]+", value):
        return "; write it without the leading 0"
    return ""


def _describe(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) or origin is dict:
        return "a section with settings"
    if origin is typing.Literal:
        return "one of " + ", ".join(str(a) for a in arguments)
    return {int: "a whole number", float: "a number", bool: "true or false", str: "text"}.get(hint, str(hint))


def to_tree(settings: "DataclassInstance") -> dict[str, Any]:
    """Turn a settings dataclass into plain dicts, lists and numbers, as YAML and JSON take them."""
    return {field.name: _plain(getattr(settings, field.name)) for field in dataclasses.fields(settings)}


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_tree(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def differences(old: Mapping[str, object], new: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    """Yield one ``section.key: old -> new`` line for each setting in which two trees differ."""
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key), new.get(key)
        if isinstance(a, list) and isinstance(b, list) and len(a) == len(b) and len(str(a)) > BRIEF:
            a, b = ({str(i): value for i, value in enumerate(values)} for values in (a, b))
        if isinstance(a, dict) and isinstance(b, dict):
            yield from differences(a, b, f"{prefix}{key}.")
        elif a != b:
            yield f"{prefix}{key}: {_brief(a)} -> {_brief(b)}"


def _brief(value: object) -> str:
    """Return a value in words that leave room for others on the line."""
    text = str(value)
    if len(text) <= BRIEF:
        return text
    return f"{len(value)} of them" if isinstance(value, list) else f"{text[:BRIEF]}…"
