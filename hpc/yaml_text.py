"""Read YAML with no key twice, and no number in base 60 or 8 that the writer did not mean as one."""

import re
from typing import Any

import yaml

DEEPEST = 100  # sections in one another; PyYAML takes longer than the square of their number

_INT, _FLOAT, _TIME, _MERGE = (f"tag:yaml.org,2002:{name}" for name in ("int", "float", "timestamp", "merge"))
_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+|0b[01]+)$")
_REAL = re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+][0-9]+)?$|[-+]?\.(?:inf|Inf|INF)$|\.nan$")
_KEPT = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_INT, _FLOAT, _TIME)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Loader(yaml.SafeLoader):
    """PyYAML's, but ``12:00:00``, ``010`` and ``2026-01-01`` are text, and a key that stands twice is an error."""

    yaml_implicit_resolvers = _KEPT
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Return the next node, unless it lies too deep."""
        if self._depth == DEEPEST:
            text = f"more than {DEEPEST} levels in one another; expected settings, which have a few"
            raise yaml.MarkedYAMLError(problem=text, problem_mark=self.peek_event().start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Return a mapping as it is written, before its merge keys are resolved, which may repeat keys."""
        node = super().compose_mapping_node(anchor)
        first: dict[Any, yaml.Node] = {}
        for key, _ in node.value:
            names = self._names(key)
            for earlier in filter(None, map(first.get, names)):
                text = f"`{key.value}` stands there already, in line {earlier.start_mark.line + 1}: keep one of them"
                raise yaml.MarkedYAMLError(problem=text, problem_mark=key.start_mark)
            first |= dict.fromkeys(names, key)
        return node

    def _names(self, key: yaml.Node) -> set[Any]:
        """Return the names that stand for a key: 1, "1" and 1.0 are one key to the reader of the mapping."""
        if not isinstance(key, yaml.ScalarNode):
            return set()  # PyYAML refuses it
        value = key.value if key.tag == _MERGE else self.construct_object(key)
        return {value, str(value)}

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Resolve merge keys in place: of several mappings, the first that has a key gives its value.

        PyYAML's releases differ in this.
        """
        for i, (key, value) in enumerate(node.value):
            mappings = value.value if isinstance(value, yaml.SequenceNode) else [value]
            if key.tag == _MERGE and all(isinstance(mapping, yaml.MappingNode) for mapping in mappings):
                pairs = self._first_of_each(mappings)
                node.value[i] = key, yaml.MappingNode(value.tag, pairs, value.start_mark, value.end_mark)
        super().flatten_mapping(node)

    def _first_of_each(self, mappings: list[yaml.MappingNode]) -> list[tuple[yaml.Node, yaml.Node]]:
        """Return the pairs of several mappings, of each key the first mapping's that has it."""
        pairs: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for mapping in mappings:
            self.flatten_mapping(mapping)
            pairs = {str(key.value): (key, value) for key, value in mapping.value} | pairs
        return list(pairs.values())


_Loader.add_implicit_resolver(_INT, _WHOLE, list("-+0123456789"))
_Loader.add_implicit_resolver(_FLOAT, _REAL, list("-+0123456789."))


def _tagged_whole(loader: _Loader, node: yaml.ScalarNode) -> int:
    """Return a whole number, also of an explicit ``!!int``, which PyYAML would read in base 60 or 8 as well."""
    if not _WHOLE.match(node.value):
        raise yaml.MarkedYAMLError(problem=f"`{node.value}` is no whole number", problem_mark=node.start_mark)
    return loader.construct_yaml_int(node)


def _tagged_real(loader: _Loader, node: yaml.ScalarNode) -> float:
    """Return a number, also of an explicit ``!!float``, which PyYAML would read in base 60 as well."""
    if ":" in node.value:
        raise yaml.MarkedYAMLError(problem=f"`{node.value}` is no number", problem_mark=node.start_mark)
    return loader.construct_yaml_float(node)


_Loader.add_constructor(_INT, _tagged_whole)
_Loader.add_constructor(_FLOAT, _tagged_real)


def load(text: str) -> Any:
    """Return the data that YAML text stands for.

    Raises
    ------
    ValueError
        when it is none: in one line, "not valid YAML in line 3: …".
    """
    try:
        return yaml.load(text, _Loader)  # a safe one
    except (TypeError, LookupError, AttributeError):  # PyYAML does not check what stands behind an explicit tag
        raise ValueError("not valid YAML: a value is not of the kind that its tag says; leave the tag out") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # PyYAML's own conversions raise the others
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ValueError(f"not valid YAML{where}: {' '.join(problem.split())}") from None
