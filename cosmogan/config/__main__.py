"""Write the reference of all settings: ``python -m cosmogan.config > docs/settings.md``."""

import ast
import dataclasses
import inspect
import json
import re
import textwrap
import types
import typing
from typing import Annotated, Any, Literal

from cosmogan.config import Experiment

HEAD = """\
# Settings

All settings of an experiment's YAML file, in the order of the file. A command line overrides any of
them, as `train.epochs=100`. `null` is YAML's word for nothing. Lengths are comoving Mpc/h.

This page is written by `python -m cosmogan.config > docs/settings.md`.
"""
_TYPES = {int: "whole number", float: "number", bool: "true or false", str: "text"}


def reference() -> str:
    """Return the page: a section per section of the YAML file, with an item per setting.

    Raises
    ------
    ValueError
        when a setting has no description: names it.
    """
    sections = {field.name: field.type for field in dataclasses.fields(Experiment) if _is_section(field.type)}
    pages = [_section("The experiment", Experiment)]
    pages += [_section(f"`{name}`", section) for name, section in sections.items()]
    return "\n".join([HEAD, *pages]).rstrip("\n") + "\n"


def _section(title: str, section: Any) -> str:
    """Return a heading, what a section is about, and its settings."""
    hints, texts = typing.get_type_hints(section, include_extras=True), _descriptions(section)
    items = []
    for field in dataclasses.fields(section):
        if _is_section(field.type):
            continue
        if not texts[field.name].endswith("."):
            raise ValueError(f"{section.__name__}.{field.name}: expected a sentence below it that describes it")
        item = f"- **`{field.name}`** ({_type(hints[field.name])}; {_default(field)}): {texts[field.name]}"
        items.append(_wrapped(item, "  "))
    return "\n".join([f"## {title}", "", _wrapped(inspect.cleandoc(section.__doc__)), "", *items, ""])


def _descriptions(section: Any) -> dict[str, str]:
    """Return the text that stands below each field of a section's class, in one line; empty where there is none."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(section))).body[0]
    assert isinstance(tree, ast.ClassDef)
    texts = {}
    for node, following in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            constant = following.value if isinstance(following, ast.Expr) else None
            text = constant.value if isinstance(constant, ast.Constant) else ""
            texts[node.target.id] = " ".join(str(text).split())
    return texts


def _is_section(hint: Any) -> bool:
    return dataclasses.is_dataclass(hint)


def _type(hint: Any) -> str:
    """Return the values that a setting takes, in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return "path"
    if origin is Literal:
        *others, last = (f"`{value}`" for value in arguments)
        return f"{', '.join(others)} or {last}"
    if origin in (types.UnionType, typing.Union):
        return " or ".join("`null`" if value is type(None) else _type(value) for value in arguments)
    if origin is tuple:
        return f"list of {_plural(arguments[0])}"
    if origin is dict:
        return f"mapping of names to {_plural(arguments[1])}"
    return _TYPES[hint]


def _plural(hint: Any) -> str:
    if typing.get_origin(hint) is tuple:
        return _type(hint).replace("list", "lists", 1)
    return "names" if hint is str else f"{_type(hint)}s"


def _default(field: "dataclasses.Field[Any]") -> str:
    """Return a field's default as YAML has it."""
    value = field.default
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    if value is dataclasses.MISSING:
        return "to be set"
    return f"default `{json.dumps(value, ensure_ascii=False)}`".replace('"', "")


def _wrapped(text: str, indent: str = "") -> str:
    """Return prose in lines of up to 100 characters, with links to the pages that it names."""
    linked = re.sub(r"docs/(\w+)\.md", r"[\1](\1.md)", text)
    return textwrap.fill(linked, 100, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)


if __name__ == "__main__":
    print(reference(), end="")
