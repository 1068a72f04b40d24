"""Ways in which a file or an argument can be wrong. Everything is drawn from a generator, so that a seed is a case."""

import json
import random
import re
from collections.abc import Iterator
from typing import Any

import yaml

ODD_VALUES = (
    *(None, True, False, -1, 0, 1, 7, 2**31, 2**64, 10**40, 0.5, -1e300, 1e-300, float("nan"), float("inf")),
    *("", " ", ".", "..", "../outside", "../../outside/precious.json", "/etc/passwd", "~", "a\0b", "a/b", "a" * 300),
    *("a" * 20_000, "\x1b[2J\x1b]0;owned\x07", "\u202egnp", "ünïcode 日本", "-1", "1e999", "nan", "9" * 5000, "{}"),
    *([], {}, [[]], [None], {"a": {"b": []}}, [1, "a", None], {"": None}, {"uses": "zbuffer"}, [{"uses": 3}]),
)
ODD_BYTES = (
    *(b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n\n", b'"', b",", b"[", b"{" * 200, b"[" * 3000, b"- " * 300),
    *(
        b"NaN",
        b"null",
        b"-1",
        b"1e999",
        b"9" * 5000,
        b"&a [*a]",
        b"<<: *b",
        b"!!python/name:os.system",
        b"../../outside",
    ),
    *(b"\x1b[2J", b"\x80", b"\xed\xa0\x80", b"a" * 140_000, b"\t", b"%", b"'", b"#", b"cos\nsystem\n(S'true'\ntR."),
)
ODD_ARGUMENTS = (
    *(
        "",
        " ",
        "-",
        "--",
        "-1",
        "0",
        "1e999",
        "nan",
        "9" * 5000,
        "99999999999999999999",
        "..",
        "../outside",
        "/dev/null",
    ),
    *("~", "=", "a=", "=b", "a.b=[", "a..b=1", "a=&x [*x]", "a=2001-99-99", "a={b: c", "--set", "--out", "--registry"),
    *(
        "\x1b[2J",
        "ünïcode",
        "\udcff",
        "a" * 5000,
        "*",
        "[",
        "?",
        "hf://a/b",
        "a/b/c",
        "%s",
        "{}",
        "--nonsense=1",
        "-h-",
    ),
)


def mutated(data: bytes, draw: random.Random, kind: str) -> bytes:
    """A damaged file: in its structure, where it is text of a known form, or in its bytes."""
    if kind in ("json", "yaml") and draw.random() < 0.7:
        return _restructured(data, draw, kind)
    for _ in range(draw.choice([1, 1, 2, 5])):
        data = draw.choice([_cut, _overwritten, _inserted, _repeated, _replaced])(data, draw)
    return data


def arguments(base: list[str], draw: random.Random) -> list[str]:
    """A command line with something missing, doubled, odd or out of place."""
    given = list(base)
    for _ in range(draw.choice([1, 1, 2, 3])):
        place = draw.randrange(1, len(given) + 1)
        what = draw.random()
        if what < 0.5 and place < len(given):
            given[place] = draw.choice(ODD_ARGUMENTS)
        elif what < 0.8:
            given.insert(place, draw.choice(ODD_ARGUMENTS))
        elif place < len(given):
            del given[place]
    return given


def _restructured(data: bytes, draw: random.Random, kind: str) -> bytes:
    tree = yaml.safe_load(data) if kind == "yaml" else json.loads(data)
    for _ in range(draw.choice([1, 1, 2, 4])):
        place, key = draw.choice([*_places(tree), (None, None)])
        value = draw.choice(ODD_VALUES)
        if place is None:
            tree = value
        elif draw.random() < 0.2:
            del place[key]
        elif draw.random() < 0.2 and isinstance(place, dict):
            place[str(draw.choice(ODD_VALUES))[:100]] = place.pop(key)
        else:
            place[key] = value
    if kind == "yaml" and draw.random() < 0.8:
        return yaml.safe_dump(tree, allow_unicode=draw.random() < 0.5).encode("utf-8", "surrogatepass")
    return json.dumps(tree).encode()


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Everything inside a tree, with what it lies in."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in list(items):
        yield tree, key
        yield from _places(value)


def _cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data) + 1)]


def _overwritten(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    start = draw.randrange(len(data) + 1) if draw.random() < 0.5 else draw.randrange(min(200, len(data)) + 1)
    for index in range(start, min(len(data), start + draw.choice([1, 1, 4, 16]))):
        changed[index] = draw.choice([0, 255, 127, draw.randrange(256)])
    return bytes(changed)


def _inserted(data: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(data) + 1)
    return data[:place] + draw.choice(ODD_BYTES) + data[place:]


def _repeated(data: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(data) + 1)
    return data[:start] + data[start : start + 400] * draw.choice([0, 2, 50]) + data[start:]


def _replaced(data: bytes, draw: random.Random) -> bytes:
    """A number, or a word, by something odd."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?|[A-Za-z_]{2,}", data[:20_000]))
    if not found:
        return _cut(data, draw)
    match = draw.choice(found)
    return data[: match.start()] + draw.choice(ODD_BYTES) + data[match.end() :]
