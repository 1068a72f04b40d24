"""Who sees what, in which order."""

import hashlib
import json
import random
from collections import Counter
from itertools import pairwise, permutations

import pytest
from square_study import make_squares

from emoca_core.study.design import Catch, Study
from emoca_core.study.order import Trial, least_shown, plan_machine, plan_session, spread
from emoca_core.study.server import _described


@pytest.mark.parametrize(("faces", "conditions"), [(2, 1), (2, 2), (2, 5), (3, 3), (7, 4), (40, 3)])
def test_a_face_never_follows_itself(faces, conditions):
    pairs = [(face, f"c{c}") for face in range(faces) for c in range(conditions)]
    for seed in range(200):
        order = spread(pairs, random.Random(seed))
        assert sorted(order) == sorted(pairs)
        assert all(one[0] != other[0] for one, other in pairwise(order))


def test_every_allowed_order_of_three_faces_twice_comes_up():
    pairs = [(face, shows) for face in range(3) for shows in "ab"]
    allowed = {p for p in permutations(pairs) if all(a[0] != b[0] for a, b in pairwise(p))}
    assert len(allowed) == 240
    drawn = Counter(tuple(spread(pairs, random.Random(seed))) for seed in range(6_000))
    assert set(drawn) == allowed
    assert max(drawn.values()) < 10 * min(drawn.values())  # chance, though not exactly uniform


def test_faces_are_given_away_evenly():
    chance = random.Random(3)
    shown = [0] * 10
    for _ in range(25):
        faces = least_shown(shown, 4, chance)
        assert len(set(faces)) == 4
        for face in faces:
            shown[face] += 1
        assert max(shown) - min(shown) <= 1
    assert shown == [10] * 10


def test_a_session_holds_each_picture_of_its_faces_once_and_is_the_same_again(folder):
    study = make_squares(folder, faces=9, catch_trials=3)
    session = plan_session(study, 5, [0] * 9)
    assert session == plan_session(study, 5, [0] * 9)
    assert session != plan_session(study, 6, [0] * 9)
    kinds = [trial.kind for trial in session.trials]
    assert kinds[:2] == ["practice"] * 2
    assert Counter(kinds) == {"practice": 2, "picture": 12, "catch": 3}
    assert kinds[2] == kinds[-1] == "picture"
    assert all(one != other for one, other in pairwise(kinds) if one == "catch")
    faces = Counter(study.pictures()[trial.picture].face for trial in session.trials if trial.kind == "picture")
    assert list(faces.values()) == [3] * 4
    assert sorted(session.choices) == sorted(study.choices)


def test_people_have_keys_and_orders_of_their_own(folder):
    study = make_squares(folder)
    sessions = [plan_session(study, number, [0] * 6) for number in range(40)]
    assert len({session.choices for session in sessions}) > 10
    assert len({session.trials for session in sessions}) == 40
    assert {t.expected for session in sessions for t in session.trials if t.kind == "catch"} == set(study.choices)


def test_a_machine_sees_every_picture_and_no_text(folder):
    study = make_squares(folder)
    session = plan_machine(study)
    assert [trial.picture for trial in session.trials] == [one.id for one in study.stimuli]
    assert {trial.kind for trial in session.trials} == {"picture"}


@pytest.mark.parametrize("faces", [1, 2, 3])
def test_a_face_never_follows_itself_in_the_practice(folder, faces):
    study = make_squares(folder, faces=4)
    practice = tuple(one.model_copy(update={"face": None}) for one in study.stimuli if one.face < faces)
    face_of = {one.id: one.face for one in study.stimuli}
    study = study.model_copy(update={"practice": practice})
    for number in range(30):
        shown = [trial.picture for trial in plan_session(study, number, [0] * 4).trials if trial.kind == "practice"]
        assert all(face_of[one] != face_of[other] for one, other in pairwise(shown))
        assert len(set(shown)) == len(shown) == (1 if faces == 1 else len(practice))


def test_photos_of_catch_trials_come_once_and_have_a_right_answer(folder):
    study = make_squares(folder, faces=9)
    photos = [Catch(picture=study.practice[n], label=label) for n, label in enumerate(("happy", "sad"))]
    study = study.model_copy(update={"catch": tuple(photos), "catch_trials": 2})
    given = {study.practice[0].id: "happy", study.practice[1].id: "sad"}
    for number in range(20):
        catch = [trial for trial in plan_session(study, number, [0] * 9).trials if trial.kind == "catch"]
        assert {trial.picture: trial.expected for trial in catch} == given
    assert {trial.kind for trial in plan_machine(study).trials} == {"picture"}
    with pytest.raises(ValueError, match="more catch trials than photos"):
        Study.model_validate(study.model_dump() | {"catch_trials": 3})
    with pytest.raises(ValueError, match="not among the choices"):
        Study.model_validate(study.model_dump() | {"catch": [photos[0].model_dump() | {"label": "bored"}]})


def test_a_photo_of_a_catch_trial_looks_like_any_other():
    shown = _described(Trial("catch", "a" * 24, "happy"))
    assert shown == {"kind": "picture", "picture": "a" * 24, "label": None}
    assert _described(Trial("catch", None, "happy")) == {"kind": "catch", "picture": None, "label": "happy"}


def test_studies_without_photos_for_catch_trials_keep_their_answers(folder):
    study = make_squares(folder)
    before = {name: value for name, value in study.model_dump(mode="json").items() if name != "catch"}
    assert study.digest == hashlib.sha256(json.dumps(before, separators=(",", ":")).encode()).hexdigest()
    photo = Catch(picture=study.practice[0], label="happy")
    assert study.model_copy(update={"catch": (photo,)}).digest != study.digest
