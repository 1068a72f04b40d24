"""Parsing at the edge: a file or a text from outside becomes checked values here, or one clear line. Nothing is run.

YAML becomes plain data with texts as keys; JSON becomes an instance of the model that describes it. What both refuse by
size, depth and number stands in ``emoca_core.limits``.
"""

import codecs
import re
import reprlib
from collections.abc import Callable, Collection, Iterable
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NoReturn, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from emoca_core.errors import AssetFormatError, EmocaError, did_you_mean, printable
from emoca_core.files import read_regular
from emoca_core.limits import CATALOGUE_BYTES, NUMBER_DIGITS, RECORD_BYTES, TEXT_DEPTH, TEXT_NODES, Limit

Record = TypeVar("Record", bound=BaseModel)
Refusal = type[EmocaError]

_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
"""Of YAML 1.2. In YAML 1.1, ``no`` is false, which is also the name of a setting, a country or a person's answer."""
_C_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster, but not in every build of PyYAML
_PROBLEMS, _SHOWN = 8, 80
"""Problems of one input that a message lists, and characters of a name or value that it repeats."""
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = _SHOWN


def read_text(path: Path | Traversable, limit: Limit, refuse: Refusal = AssetFormatError) -> str:
    """A text file in UTF-8, with or without a byte order mark.

    Args:
        path: A regular file: pipes and devices, which may never end, are refused.
        limit: Row of ``emoca_core.limits`` for its size.
        refuse: The error to raise.
    """
    try:
        content = read_regular(path, limit, refuse) if isinstance(path, Path) else path.read_bytes()
        refuse_utf16(content, path, refuse)
        return content.decode("utf-8-sig")
    except EmocaError:
        raise
    except UnicodeDecodeError as error:
        raise refuse(f"cannot read {path}: byte {error.start} is not UTF-8 text") from None
    except ValueError as error:  # a path with a zero byte
        raise refuse(f"cannot read {printable(str(path))}: {error}") from None
    except OSError as error:
        raise refuse(f"cannot read {path}: {error.strerror or error}") from None


def refuse_utf16(start: bytes, path: Path | Traversable, refuse: Refusal = AssetFormatError) -> None:
    """Say so of text as some spreadsheets and shells write it, which would be called damaged.

    Args:
        start: At least the first two bytes of the file.
        path: For the message.
        refuse: The error to raise.
    """
    if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise refuse(f"{path} is text in UTF-16: save it in UTF-8 (Excel calls it 'CSV UTF-8')")


def read_yaml(path: Path | Traversable, refuse: Refusal = AssetFormatError) -> object:
    """A YAML file as plain data; see ``parse_yaml``."""
    return parse_yaml(read_text(path, CATALOGUE_BYTES, refuse), str(path), refuse)


def parse_yaml(text: str, source: str, refuse: Refusal = AssetFormatError) -> object:
    """YAML as plain data: texts, numbers, booleans, null, lists, and mappings whose keys are texts as written.

    Booleans are ``true`` and ``false``, as in YAML 1.2; ``yes``, ``no``, ``on``, ``off`` and dates stay texts. A key
    that stands twice, other tags, and whatever exceeds ``emoca_core.limits`` are errors.

    Args:
        text: One document.
        source: Where it comes from, for the message.
        refuse: The error to raise.

    Example:
        >>> parse_yaml("{epochs: 3, betas: [0.9, 0.99]}", "an example")
        {'epochs': 3, 'betas': [0.9, 0.99]}
    """
    try:
        _measure(text, source, refuse)
        plain: object = yaml.load(text, Loader=_Loader)
        return plain
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark and "\n" in text.strip() else ""
        problem = " ".join(filter(None, (error.context, error.problem)))
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # control characters, lone surrogates
        line, problem = "", " ".join(str(error).split())
    raise refuse(f"{source}{line} is not valid YAML: {problem}") from None


def read_record(path: Path | Traversable, model: type[Record], refuse: Refusal = AssetFormatError) -> Record:
    """A JSON file of a known form.

    Args:
        path: The file.
        model: What it has to look like.
        refuse: The error to raise.
    """
    return parse_record(read_text(path, RECORD_BYTES, refuse), model, str(path), refuse)


def parse_record(text: str, model: type[Record], source: str, refuse: Refusal = AssetFormatError) -> Record:
    """A JSON text of a known form.

    Args:
        text: The JSON.
        model: What it has to look like.
        source: Where it comes from, for the message.
        refuse: The error to raise.
    """
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise refuse(f"{source} is damaged, or of another kind: {'; '.join(problems_of(error))}") from None


def checked(model: type[Record], values: object, what: str, refuse: Refusal) -> Record:
    """Plain data as an instance of its model; the message has one line for each problem.

    Args:
        model: What the data have to look like.
        values: The data.
        what: Whose they are, for the message.
        refuse: The error to raise.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise refuse("\n  ".join([f"{what} is not valid:", *problems_of(error, model.model_fields)])) from None


def problems_of(error: ValidationError, known: Collection[str] = ()) -> list[str]:
    """Place and problem of everything that pydantic found, shortened; a misspelt key with its nearest neighbour.

    Args:
        error: From pydantic.
        known: Names that exist at the outermost level.
    """
    found = error.errors(include_url=False)
    lines = [
        _problem(".".join(map(str, entry["loc"])), entry["type"], entry["msg"], entry["input"], known)
        for entry in found[:_PROBLEMS]
    ]
    return [*lines, f"and {len(found) - _PROBLEMS} more"] if len(found) > _PROBLEMS else lines


def _problem(where: str, kind: str, message: str, given: object, known: Iterable[str]) -> str:
    if kind == "json_invalid":
        return message
    hint = did_you_mean(where, known) if kind == "extra_forbidden" else ""
    return f"{shown(where) or 'the whole'}: {message} (got {_REPR.repr(given)}){hint}"


def shown(text: str) -> str:
    """A name or value from outside as a message repeats it: on one line, and not for ever."""
    return printable(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


class _Loader(_C_LOADER):  # type: ignore[misc, valid-type]
    """Plain data alone; built from the tags below, so that no other can make an object."""

    yaml_constructors: dict[str | None, Callable[..., object]] = {}  # noqa: RUF012 -- as PyYAML declares it
    yaml_multi_constructors: dict[str, Callable[..., object]] = {}  # noqa: RUF012
    yaml_implicit_resolvers = {  # noqa: RUF012 -- dates stay texts: JSON has none either
        first: [
            (tag, _BOOL if tag == f"{_TAG}bool" else pattern)
            for tag, pattern in resolvers
            if tag not in (f"{_TAG}timestamp", f"{_TAG}value")
        ]
        for first, resolvers in _C_LOADER.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[str, object]:
        if not isinstance(node, yaml.MappingNode):
            self._other(node)
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _problem_at(key, "a list or mapping cannot be a key")
            if key.tag != _MERGE and key.value in seen:
                raise _problem_at(key, f"the key '{shown(key.value)}' stands twice")
            seen.add(key.value)
        self.flatten_mapping(node)
        return {key.value: self.construct_object(value, deep=deep) for key, value in node.value}

    def _number(self, node: yaml.ScalarNode) -> int | float:
        if len(node.value) > NUMBER_DIGITS.most:
            raise _problem_at(node, f"a number of more than {NUMBER_DIGITS.most} characters")
        read = self.construct_yaml_int if node.tag.endswith("int") else self.construct_yaml_float
        try:
            value: int | float = read(node)
        except (ValueError, OverflowError):
            raise _problem_at(node, f"'{shown(node.value)}' is no number") from None
        return value

    def _bool(self, node: yaml.ScalarNode) -> bool:
        if not _BOOL.match(str(node.value)):
            raise _problem_at(node, f"'{shown(node.value)}' is neither true nor false")
        return str(node.value).lower() == "true"

    def _other(self, node: yaml.Node) -> NoReturn:
        raise _problem_at(node, f"the tag '{shown(node.tag.replace(_TAG, '!!'))}' is not allowed")


for _tag, _construct in {
    "map": _C_LOADER.construct_yaml_map,
    "seq": _C_LOADER.construct_yaml_seq,
    "str": _C_LOADER.construct_yaml_str,
    "null": _C_LOADER.construct_yaml_null,
    "int": _Loader._number,
    "float": _Loader._number,
    "bool": _Loader._bool,
}.items():
    _Loader.add_constructor(_TAG + _tag, _construct)
_Loader.add_constructor(None, _Loader._other)


def _measure(text: str, source: str, refuse: Refusal) -> None:
    """Refuse by depth and number of values before anything is built; reading events takes no recursion."""
    deepest, most = TEXT_DEPTH.most, TEXT_NODES.most
    open_nodes: list[tuple[str | None, int]] = []  # anchor, and how many values there were before it
    sizes: dict[str | None, int] = {}  # of what an anchor names, with all repetitions
    values = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            sizes[anchor] = values - before
        elif isinstance(event, yaml.NodeEvent):
            values += 1
            if isinstance(event, yaml.AliasEvent):
                if any(anchor == event.anchor for anchor, _ in open_nodes):
                    raise _problem_at(event, f"'*{shown(str(event.anchor))}' stands inside what it names")
                values += sizes.get(event.anchor, 0)
            elif isinstance(event, yaml.CollectionStartEvent):
                open_nodes.append((event.anchor, values))
            if len(open_nodes) > deepest:
                TEXT_DEPTH.check(len(open_nodes), source, refuse)
            if values > most:
                TEXT_NODES.check(values, source, refuse)


def _problem_at(node: yaml.Node | yaml.Event, problem: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark)  # type: ignore[arg-type]
