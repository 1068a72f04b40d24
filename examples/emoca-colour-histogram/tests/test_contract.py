"""Everything that an emotion backbone promises."""

from emoca_core.testing import check_component


def test_contract():
    check_component("emotion_backbone", "colour_histogram")


def test_contract_of_the_preset():
    check_component("emotion_backbone", "colour_histogram", {"bins": 32})
