"""One table of synonyms, whoever asks."""

import pytest

from emoca_core.vocabulary.emotions import EXPRESSIONS, SYNONYMS, expression_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Angry", "anger"),
        (" sadness ", "sad"),
        ("HAPPY", "happy"),
        ("0.0", "0"),
        ("3.", "3"),
        ("3", "3"),
        ("-1.0", "-1"),
    ],
)
def test_a_word_means_a_class(text, name):
    assert expression_name(text) == name


@pytest.mark.parametrize("text", ["confused", "3.5", "1e3", "no face", ""])
def test_an_unknown_word_stays_itself(text):
    assert expression_name(text) == text


def test_every_synonym_leads_to_a_class_and_every_class_to_itself():
    assert set(SYNONYMS.values()) == set(EXPRESSIONS)
    assert all(expression_name(name) == name for name in EXPRESSIONS)
    assert all(word == word.lower().strip() for word in SYNONYMS), "words are looked up in lower case"
