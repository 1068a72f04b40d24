"""Files and texts from outside: plain data, a checked model, or one line that names the place."""

import os

import pytest
from pydantic import BaseModel, ConfigDict

from emoca_core.cli.cli_settings import settings_from
from emoca_core.errors import AssetFormatError, CatalogueError, printable
from emoca_core.limits import RECORD_BYTES
from emoca_core.parsing import checked, parse_record, parse_yaml, problems_of, read_record, read_text, read_yaml
from emoca_core.train.train_settings import TrainSettings

BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 10)}]\n" for before, name in zip("abcdef", "bcdefg", strict=True)
)
MERGE_BOMB = "a: &a {x: 1, y: 2}\n" + "".join(
    f"{name}: &{name} [{','.join(['{<<: *a}'] * 1000)}, {','.join(['*' + before] * 90)}]\n"
    for before, name in zip("abcd", "bcde", strict=True)
)

NOT_YAML = {
    "duplicate key": ("a: 1\nb: {c: 1, c: 2}", "line 2 .* the key 'c' stands twice"),
    "unclosed": ("[1, 2", "expected ',' or ']'"),
    "nested 100 deep": ("[" * 100 + "]" * 100, "levels of nesting are more than the limit of 64"),
    "nested 20,000 deep": ("{a: " * 20_000, "levels of nesting are more than the limit of 64"),
    "cycle": ("a: &a [*a]", "stands inside what it names"),
    "cycle of two": ("a: &a {b: &b {c: *a}}", "stands inside what it names"),
    "alias bomb": (BOMB, "values are more than the limit of 200,000"),
    "merge bomb": (MERGE_BOMB, "values are more than the limit of 200,000"),
    "integer of 5,000 digits": ("9" * 5000, "a number of more than 100 characters"),
    "hexadecimal of 5,000 digits": ("0x" + "f" * 5000, "a number of more than 100 characters"),
    "object": ("!!python/object/apply:os.system [echo]", "the tag '!!python/object/apply:os.system' is not allowed"),
    "set": ("!!set {a}", "the tag '!!set' is not allowed"),
    "bool": ("!!bool maybe", "neither true nor false"),
    "bool of YAML 1.1": ("!!bool no", "'no' is neither true nor false"),
    "int": ("!!int many", "'many' is no number"),
    "float": ("!!float much", "'much' is no number"),
    "empty hexadecimal": ("-0x_", "is no number"),
    "scalar as mapping": ("!!map a", "is not allowed"),
    "list as key": ("{[a]: 1}", "cannot be a key"),
    "mapping as key": ("? {a: b}\n: 1", "cannot be a key"),
    "merged text": ("<<: text", "expected a mapping"),
    "undefined alias": ("*x", "undefined alias"),
    "two documents": ("--- 1\n--- 2", "single document"),
    "control character": ("a: \x00", "control characters are not allowed"),
    "lone surrogate": ("\ud800", "surrogates not allowed"),
}


@pytest.mark.parametrize(("text", "problem"), NOT_YAML.values(), ids=NOT_YAML.keys())
def test_bad_yaml_is_one_line(text, problem):
    with pytest.raises(CatalogueError, match=rf"^mine\.yaml.*.*{problem}[^\n]*$") as caught:
        parse_yaml(text, "mine.yaml", CatalogueError)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("1: 2\n~: 3\nyes: no", {"1": 2, "~": 3, "yes": "no"}),
        ("[true, True, FALSE, !!bool false]", [True, True, False, False]),
        ("[yes, no, on, off, y, n, No, OFF, tRue]", ["yes", "no", "on", "off", "y", "n", "No", "OFF", "tRue"]),
        ("2001-99-99", "2001-99-99"),
        ("=", "="),
        ("{<<: {a: 1, b: 1}, a: 2}", {"a": 2, "b": 1}),
        ("[0x10, 1.0e-4, .inf, null, 'text']", [16, 1e-4, float("inf"), None, "text"]),
    ],
)
def test_yaml_is_plain_data_with_texts_as_keys(text, value):
    assert parse_yaml(text, "mine.yaml") == value


def test_a_setting_named_no_is_set_by_its_name():
    given = settings_from(["precision=no", "channels_last=on", "progress=no"])
    settings = checked(TrainSettings, given, "the training", CatalogueError)
    assert (settings.precision, settings.channels_last, settings.progress) == ("no", True, False)


@pytest.mark.parametrize(
    ("text", "value"), [("yes", True), ("on", True), ("True", True), ("no", False), ("OFF", False)]
)
def test_settings_that_are_booleans_understand_the_words(text, value):
    assert checked(TrainSettings, parse_yaml(f"progress: {text}", "x"), "x", CatalogueError).progress is value


def test_a_byte_order_mark_is_skipped(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfa: 1")
    assert read_yaml(tmp_path / "a.yaml") == {"a": 1}


class Point(BaseModel):
    model_config = ConfigDict(extra="forbid")

    x: int
    label: str = ""


NOT_READABLE = {
    "missing": (lambda path: None, "No such file or directory"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "pipe": (os.mkfifo, "is a named pipe"),
    "not UTF-8": (lambda path: path.write_bytes(b"\xff{"), "byte 0 is not UTF-8"),
    "UTF-16": (lambda path: path.write_text("{}", "utf-16"), "is text in UTF-16: save it in UTF-8"),
    "endless": (lambda path: (path.touch(), os.truncate(path, 2**33)), "more than the limit"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is a device"),
    "link to itself": (lambda path: path.symlink_to(path), "symbolic links"),
}


@pytest.mark.parametrize(("make", "problem"), NOT_READABLE.values(), ids=NOT_READABLE.keys())
@pytest.mark.parametrize(
    "read", [lambda path: read_text(path, RECORD_BYTES), read_yaml, lambda path: read_record(path, Point)]
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_cannot_be_read_is_one_line(tmp_path, read, make, problem):
    make(tmp_path / "file")
    with pytest.raises(AssetFormatError, match=rf"^[^\n]*file.*{problem}[^\n]*$"):
        read(tmp_path / "file")


def test_a_path_with_a_zero_byte_is_one_line(tmp_path):
    with pytest.raises(AssetFormatError, match="null byte"):
        read_text(tmp_path / "a\0b", RECORD_BYTES)


NOT_A_POINT = {
    "empty": "",
    "cut": '{"x": 1',
    "list": "[1]",
    "null": "null",
    "missing": "{}",
    "wrong type": '{"x": "many"}',
    "unknown key": '{"x": 1, "lable": ""}',
    "20,000 deep": '{"x": ' + "[" * 20_000,
    "5,000 digits": '{"x": ' + "9" * 5000 + "}",
    "not finite": '{"x": NaN}',
    "lone surrogate": '{"x": 1, "label": "\\ud800"}',
    "long text": '{"x": "' + "a" * 10_000 + '"}',
}


@pytest.mark.parametrize("text", NOT_A_POINT.values(), ids=NOT_A_POINT.keys())
def test_a_damaged_record_is_one_line(text):
    with pytest.raises(AssetFormatError, match=r"^best\.json is damaged, or of another kind: [^\n]+$") as caught:
        parse_record(text, Point, "best.json")
    assert len(str(caught.value)) < 300


def test_a_misspelt_key_is_named_with_its_neighbour():
    with pytest.raises(CatalogueError, match=r"not valid:\n  lable: Extra inputs .* Did you mean 'label'\?$"):
        checked(Point, {"x": 1, "lable": ""}, "a point", CatalogueError)


def test_many_problems_are_counted():
    with pytest.raises(CatalogueError) as caught:
        checked(Point, {"x": 1, **{f"key{number}": 1 for number in range(100)}}, "a point", CatalogueError)
    assert len(str(caught.value).splitlines()) == 10
    assert str(caught.value).endswith("and 92 more")


def test_wrong_values_are_shortened():
    from pydantic import ValidationError

    with pytest.raises(ValidationError) as caught:
        Point.model_validate({"x": ["deep"] * 10_000})
    assert len(problems_of(caught.value)[0]) < 200


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain Ærø 日本　x", "plain Ærø 日本　x"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\u202egpj.exe", r"a\u202egpj.exe"),
        ("a\udcff\r\nb", r"a\udcff\r\nb"),
    ],
)
def test_what_acts_on_a_terminal_is_an_escape(text, expected):
    assert printable(text) == expected
    assert printable("a\nb", keep="\n") == "a\nb"
