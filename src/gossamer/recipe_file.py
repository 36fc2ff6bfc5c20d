"""Recipes as YAML. A file maps one-to-one to the dataclasses: a pass is its name and its fields.

    - Repeat:
        times: 6
        passes:
          - Prune: {amount: 0.95, overrides: {fc3: 0.7}}
          - Finetune: {epochs: 2, optimizer: {Adam: {lr: 0.001}}}
    - Cluster: {bits: 5}

An object without arguments may be its bare name (``granularity: Elements``). Errors name file, line and repair.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic
import yaml

# The passes and their parts are found among the subclasses of what a field is declared to be: import all of them.
import gossamer.prune
import gossamer.quantize
import gossamer.recipe
import gossamer.train  # noqa: F401 (the one that ruff sees as standing for all of them)
from gossamer.errors import RecipeError
from gossamer.graph import Pass


def load_recipe(path: str | Path) -> list[Pass]:
    """Read the recipe file at ``path``, or the one that comes with gossamer under that name ("int8").

    Raises RecipeError with file and line.
    """
    place = Path(path)
    if not place.suffix and not place.exists():
        place = _along(str(path))
    try:
        text = place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"the recipe {path} cannot be read: {error}") from error
    return parse_recipe(text, str(path))


def _along(name: str) -> Path:
    """The file of a recipe that comes along: installed in the package, or beside the sources."""
    folders = (Path(__file__).parent / "recipes", Path(__file__).parents[2] / "recipes")
    folder = next((folder for folder in folders if folder.is_dir()), folders[0])
    known = sorted(file.stem for file in folder.glob("*.yaml"))
    if name not in known:
        raise RecipeError(f"no recipe is called {name!r}; give a YAML file, or one of: {', '.join(known)}")
    return folder / f"{name}.yaml"


def parse_recipe(text: str, source: str = "recipe") -> list[Pass]:
    """The passes written in ``text``; ``source`` is its name in errors."""
    try:
        return _parsed(text, source)
    except RecursionError as error:
        raise RecipeError(
            f"{source}: a pass contains itself through an alias, or is nested too deeply"
        ) from error


def _parsed(text: str, source: str) -> list[Pass]:
    reader = _Reader(source)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise RecipeError(f"{source}:{line}: not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{source}: not YAML: {error}") from error
    if not isinstance(node, yaml.SequenceNode):
        raise RecipeError(
            f"{source}:1: a recipe is a list of passes; start each with '- ', as in '- Prune: {{amount: 0.9}}'"
        )
    return [reader.family(item, Pass) for item in node.value]


def dump_recipe(recipe: Sequence[Pass]) -> str:
    """The recipe as YAML that :func:`parse_recipe` reads back to equal passes; fields at their default are left out."""
    return yaml.safe_dump([_plain(each) for each in recipe], sort_keys=False, width=110)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = {
            field.name: _plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if field.init and not _is_default(field, getattr(value, field.name))
        }
        return {type(value).__name__: changed} if changed else type(value).__name__
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise RecipeError(f"{value!r} cannot be written in a recipe file; it lives in Python alone")


def _is_default(field: dataclasses.Field[Any], value: Any) -> bool:
    if field.default is not dataclasses.MISSING:
        return bool(value == field.default)
    if field.default_factory is not dataclasses.MISSING:
        return bool(value == field.default_factory())
    return False


def _members(base: type) -> dict[str, type]:
    """The final dataclasses that are a ``base``, itself included where it is one, by name."""
    found: dict[str, type] = {}
    if dataclasses.is_dataclass(base) and not inspect.isabstract(base):
        found[base.__name__] = base
    subclass: type
    for subclass in base.__subclasses__():
        found.update(_members(subclass))
    return dict(sorted(found.items()))


class _Reader:
    """Builds dataclasses from YAML nodes, which know their line."""

    def __init__(self, source: str) -> None:
        self.source = source

    def fail(self, node: yaml.Node, problem: str) -> RecipeError:
        return RecipeError(f"{self.source}:{node.start_mark.line + 1}: {problem}")

    def family(self, node: yaml.Node, base: type) -> Any:
        """One object of the family ``base``: a name, or a name with its fields."""
        name, fields = self._name_and_fields(node, base)
        known = _members(base)
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise self.fail(
                node, f"no {base.__name__} is called {name!r}; {hint}there are: {', '.join(known)}"
            )
        return self._build(node, known[name], fields)

    def _name_and_fields(self, node: yaml.Node, base: type) -> tuple[str, yaml.Node | None]:
        if isinstance(node, yaml.ScalarNode):
            return node.value, None
        if isinstance(node, yaml.MappingNode) and len(node.value) == 1:
            key, fields = node.value[0]
            return str(key.value), fields
        raise self.fail(
            node, f"expected one {base.__name__}: its name, or 'Name: {{field: value}}' with one name"
        )

    def _build(self, node: yaml.Node, cls: type, fields: yaml.Node | None) -> Any:
        hints = typing.get_type_hints(cls)
        allowed = {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}
        arguments = {}
        for key, value in self._pairs(fields, cls):
            if key.value not in allowed:
                raise self.fail(
                    key, f"{cls.__name__} has no field {key.value!r}; it has: {', '.join(allowed)}"
                )
            if key.value in arguments:
                raise self.fail(key, f"{cls.__name__}: {key.value} is given twice")
            arguments[key.value] = self.value(value, allowed[key.value], f"{cls.__name__}.{key.value}")
        try:
            return cls(**arguments)
        except TypeError as error:
            missing = [
                field.name
                for field in dataclasses.fields(cls)
                if field.init
                and field.default is dataclasses.MISSING
                and field.default_factory is dataclasses.MISSING
                and field.name not in arguments
            ]
            problem = f"{cls.__name__} needs {', '.join(missing)}" if missing else f"{cls.__name__}: {error}"
            raise self.fail(node, problem) from error
        except ValueError as error:
            raise self.fail(node, str(error)) from error

    def _pairs(self, fields: yaml.Node | None, cls: type) -> list[tuple[yaml.Node, yaml.Node]]:
        if fields is None or (isinstance(fields, yaml.ScalarNode) and fields.tag == "tag:yaml.org,2002:null"):
            return []
        if not isinstance(fields, yaml.MappingNode):
            raise self.fail(fields, f"the fields of {cls.__name__} are written as '{{field: value}}'")
        pairs: list[tuple[yaml.Node, yaml.Node]] = fields.value
        return pairs

    def value(self, node: yaml.Node, annotation: Any, where: str) -> Any:
        """A field's value, of the type that the dataclass declares."""
        choices = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
        if _is_null(node) and type(None) in choices:
            return None
        families = [choice for choice in choices if inspect.isclass(choice) and _members(choice)]
        if families:
            name, _ = self._name_and_fields(node, families[0])
            return self.family(node, next((f for f in families if name in _members(f)), families[0]))
        origin, parameters = typing.get_origin(annotation), typing.get_args(annotation)
        if origin in (tuple, list, Sequence):
            if not isinstance(node, yaml.SequenceNode):
                raise self.fail(node, f"{where} is a list; write '[a, b]', or each item on a line after '- '")
            return tuple(self.value(item, parameters[0], where) for item in node.value)
        if origin in (dict, Mapping) and _has_members(parameters[1]):
            if not isinstance(node, yaml.MappingNode):
                raise self.fail(node, f"{where} maps names to values; write '{{name: value}}'")
            return {str(key.value): self.value(item, parameters[1], where) for key, item in node.value}
        return self._leaf(node, annotation, where)

    def _leaf(self, node: yaml.Node, annotation: Any, where: str) -> Any:
        try:
            value = yaml.SafeLoader("").construct_object(node, deep=True)
        except yaml.constructor.ConstructorError as error:
            raise self.fail(node, f"{where}: {error.problem}") from error
        if isinstance(value, str) and (number := _as_number(value)) is not None:
            value = number  # YAML 1.1 reads 1e-3 as text
        try:
            return pydantic.TypeAdapter(annotation).validate_python(value)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            raise self.fail(node, f"{where} is {value!r}: {first['msg'].lower()}") from error


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _has_members(annotation: Any) -> bool:
    choices = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
    return any(inspect.isclass(choice) and bool(_members(choice)) for choice in choices)


def _is_null(node: yaml.Node) -> bool:
    return node.tag == "tag:yaml.org,2002:null"


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
