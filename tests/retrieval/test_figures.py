"""Precision, differences and chance against literal twins, and indexes that must win or must not."""

import numpy as np
import pytest
from literal_bootstrap import resamples
from toy_benchmark import Colour

from emoca_core.datasets import ManifestRow
from emoca_core.errors import AssetFormatError, ParamsError
from emoca_core.measures.intervals import interval_of
from emoca_core.retrieval import figures_table, measure
from emoca_core.retrieval.figures import chance_of_class, mean_differences
from emoca_core.retrieval.index import Counts, write_index

NAMES = ("neutral", "happy", "sad", "anger")


@pytest.fixture
def labelled():
    """Classes, levels and people of 120 faces, unevenly many of each."""
    rng = np.random.default_rng(3)
    classes = rng.choice(4, 120, p=[0.5, 0.3, 0.15, 0.05])
    people = np.minimum(rng.geometric(0.08, 120), 25)
    return classes, rng.uniform(-1, 1, 120).round(1), people


def make_index(folder, features, classes, levels, people):
    rows = [
        ManifestRow(f"{i}.png", None, NAMES[c] if c >= 0 else None, float(v), float(-v), f"p{p}")
        for i, (c, v, p) in enumerate(zip(classes, levels, people, strict=True))
    ]
    counts = Counts(images=len(rows), faces=len(rows), unreadable=0, without_face=0, without_code=0)
    return write_index(folder, "emotion:toy", Colour("toy", (0,)), "toy", counts, features.astype(np.float32), rows)


def test_chance_is_what_counting_gives(labelled):
    classes, levels, people = labelled
    for row in range(len(classes)):
        others = people != people[row]
        assert chance_of_class(classes, people, 4)[row] == pytest.approx((classes[others] == classes[row]).mean())
        expected = np.abs(levels[others] - levels[row]).mean()
        assert mean_differences(levels, people)[row] == pytest.approx(expected, rel=1e-12)


def literal(features, classes, levels, people, at):
    """Per face: precision at each number, difference of valence at each."""
    precision, apart = [], []
    for row in range(len(features)):
        distance = np.linalg.norm(
            features.astype(np.float32).astype(np.float64) - features[row].astype(np.float32), axis=1
        )
        order = [other for other in distance.argsort(kind="stable") if people[other] != people[row]]
        precision.append([np.mean([classes[o] == classes[row] for o in order[:k]]) for k in at])
        apart.append([np.mean([abs(levels[o] - levels[row]) for o in order[:k]]) for k in at])
    return np.array(precision), np.array(apart)


def test_figures_and_intervals_are_those_of_a_literal_twin(labelled, tmp_path):
    classes, levels, people = labelled
    features = np.random.default_rng(5).standard_normal((120, 6)) + 0.8 * np.eye(6)[classes]
    index = make_index(tmp_path / "i", features, classes, levels, people)
    measured = measure(index, at=(1, 4), draws=150)
    precision, apart = literal(features, classes, levels, people, (1, 4))
    drawn = resamples(index.groups("identity"), 150, 0)
    for column, count in enumerate((1, 4)):
        for figure, values in (
            (measured.precision[count], precision[:, column]),
            (measured.differences["valence"][count], apart[:, column]),
            (measured.differences["arousal"][count], apart[:, column]),
        ):
            assert figure.value == pytest.approx(values.mean(), rel=1e-5)  # six digits are written
            low, high = interval_of(np.array([values[rows].mean() for rows in drawn]))
            assert (figure.low, figure.high) == (pytest.approx(low, rel=1e-5), pytest.approx(high, rel=1e-5))
        of_class = [precision[classes == c, column].mean() for c in range(4)]
        assert measured.balanced[count].value == pytest.approx(np.mean(of_class), rel=1e-5)
        assert [measured.classes[name].precision[count] for name in NAMES] == pytest.approx(of_class, rel=1e-5)
    assert measured.precision[1].chance == pytest.approx(chance_of_class(classes, people, 4).mean(), rel=1e-5)
    assert (measured.queries, measured.groups, measured.left_out) == (120, len(set(people)), "identity")


def test_features_with_the_label_win_and_noise_is_at_chance(labelled, tmp_path):
    classes, levels, people = labelled
    noise = np.random.default_rng(6).standard_normal((120, 8))
    blind = measure(make_index(tmp_path / "noise", noise, classes, levels, people), draws=500)
    figure = blind.precision[10]
    assert figure.low < figure.chance < figure.high
    seeing = measure(make_index(tmp_path / "label", noise + 9 * np.eye(8)[classes], classes, levels, people), draws=500)
    assert seeing.precision[1].value == 1
    assert seeing.classes["neutral"].chance > 0.4


def test_a_feature_of_who_it_is_gains_nothing(labelled, tmp_path):
    """Each person with one class: the nearest faces would be the person's own, and right."""
    _, levels, people = labelled
    classes = people % 4
    who = 50 * np.random.default_rng(7).standard_normal((people.max() + 1, 8))[people]
    who += 0.01 * np.random.default_rng(8).standard_normal((120, 8))
    index = make_index(tmp_path / "who", who, classes, levels, people)
    leaking = measure(index, at=(1,), leave_out="photo", draws=50)
    assert leaking.precision[1].value > 0.95
    honest = measure(index, at=(1,), draws=500)
    assert honest.precision[1].low < honest.precision[1].chance


def test_faces_without_a_label_are_neither_asked_for_nor_found(labelled, tmp_path):
    classes, levels, people = labelled
    rng = np.random.default_rng(9)
    features = np.concatenate([9 * np.eye(4)[classes] + rng.uniform(0, 1, (120, 4)), 9 * np.eye(4)[classes]])
    unknown = np.full(120, -1)
    both = np.concatenate([classes, unknown]), np.tile(levels, 2), np.concatenate([people, people + 100])
    measured = measure(make_index(tmp_path / "i", features, *both), draws=50)
    assert measured.queries == 120
    assert measured.precision[1].value == 1
    assert measured.differences["valence"][1].value > 0


def test_what_cannot_be_measured_is_refused(tmp_path):
    few = make_index(tmp_path / "few", np.eye(3), np.array([0, 1, 0]), np.zeros(3), np.arange(3))
    with pytest.raises(AssetFormatError, match="3 labelled faces of 3 people, clips or photos are too few"):
        measure(few)
    rows = [ManifestRow(f"{i}.png") for i in range(3)]
    counts = Counts(images=3, faces=3, unreadable=0, without_face=0, without_code=0)
    bare = write_index(tmp_path / "bare", "emotion:toy", Colour("toy", (0,)), "toy", counts, np.eye(3), rows)
    with pytest.raises(AssetFormatError, match="nothing to measure"):
        measure(bare)
    with pytest.raises(ParamsError, match="no face has clip"):
        measure(few, leave_out="clip")


def test_the_table_shows_every_figure_with_chance(index):
    measured = measure(index, draws=100)
    table = figures_table([measured])
    assert measured.precision[1].value > 0.95
    line = next(line for line in table.splitlines() if line.strip().startswith("precision @10"))
    assert line.split()[-1] == f"{measured.precision[10].chance:.3f}"
    assert "|valence difference| @5" in table
