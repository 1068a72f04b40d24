"""People through clips: one identity, smooth without lag, never across a cut; gaps are filled or stay empty."""

import gc
import time

import numpy as np
import pytest
import torch
from PIL import Image
from toy_clips import SIZE, ByNote, Reader, Remembering, frame, toy_clip
from toy_moods import Moods

from emoca_core.errors import EmocaError, ImageError, ParamsError, RecipeError
from emoca_core.interfaces import EmotionPrediction, EmotionReading
from emoca_core.interfaces.clip import ClipFrame
from emoca_core.reconstruction import following, observations, reconstruct, reconstruct_sequence
from emoca_core.reconstruction.best_frames import best_frames
from emoca_core.reconstruction.observations import Observations
from emoca_core.reconstruction.sequence_settings import SequenceSettings
from emoca_core.video import open_clip
from emoca_core.video.smoothing import DEFAULT_STRENGTH


@pytest.fixture
def method(build_method):
    made = build_method()
    made.landmarker, made.tracker = Reader(), ByNote()
    return made


def walk(count: int, gaps: set[int] = frozenset(), shades=None):
    """One face that moves to the right, one pixel a frame; absent in some frames."""
    shades = shades or [100 + number % 3 for number in range(count)]
    return [frame([] if n in gaps else [(1, 60 + n % 30, 60)], shades[n]) for n in range(count)]


def test_one_person(tmp_path, method):
    clip = open_clip(toy_clip(tmp_path / "a", walk(20)))
    (person,) = reconstruct_sequence(method, clip)
    assert (len(person), person.track, person.smoothing, person.crop_size) == (20, 0, DEFAULT_STRENGTH, (224, 224))
    assert person.numbers.tolist() == list(range(20)) and np.allclose(person.times, np.arange(20) / 25)
    assert person.parameters.shape.unique(dim=0).shape[0] == 1 and not any(person.flags)
    assert person.landmarks[:, :, 0].mean(1) == pytest.approx(60 + np.arange(20), abs=0.1)
    assert person.crop_to_image[:, 0, 2] - person.crop_to_image[0, 0, 2] == pytest.approx(np.arange(20), abs=1e-3)
    assert person.confidence == pytest.approx(0.9) and person.emotion is None
    assert len(list(person.pictures(slice(3, 6)))) == 3 and person.geometry(slice(0, 2)).vertices.shape[0] == 2


def test_without_smoothing_every_frame_is_what_a_photo_is(tmp_path, method):
    frames = walk(6, shades=[60, 90, 140, 70, 80, 100])
    (person,) = reconstruct_sequence(method, toy_clip(tmp_path / "a", frames), smooth=0.0)
    for number, pixels in enumerate(frames):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    faces = reconstruct(method, [tmp_path / f"{number}.png" for number in range(6)])
    for row, face in enumerate(faces):
        assert torch.allclose(person.parameters.expression[row], face.parameters.expression[0], atol=1e-5)
        assert person.crop_to_image[row] == pytest.approx(face.crop.crop_to_image, abs=1e-4)
    shapes = torch.cat([face.parameters.shape for face in faces])
    assert torch.allclose(person.parameters.shape[0], shapes.median(0).values, atol=1e-5)


def test_smoothing_is_along_time(tmp_path, method):
    shades = [100 + 8 * (number % 2) for number in range(40)]
    clip = toy_clip(tmp_path / "a", walk(40, shades=shades))
    rough, smooth = (reconstruct_sequence(method, clip, smooth=s)[0].codes["expression"][:, 0] for s in (0.0, 0.7))
    shaking = [np.abs(np.diff(values, n=2)).mean() for values in (rough, smooth)]
    assert shaking[1] < 0.3 * shaking[0] and smooth.mean() == pytest.approx(rough.mean(), rel=0.02)


def test_short_gaps_are_filled_and_long_ones_stay_empty(tmp_path, method):
    gaps = {5, 6, *range(15, 28)}
    (person,) = reconstruct_sequence(method, toy_clip(tmp_path / "a", walk(30, gaps)))
    assert person.numbers.tolist() == [*range(15), 28, 29]
    bridged = ["bridged" in flags for flags in person.flags]
    assert np.flatnonzero(bridged).tolist() == [5, 6] and (person.confidence[bridged] == 0).all()
    assert person.landmarks[:15, :, 0].mean(1) == pytest.approx(60 + np.arange(15), abs=0.1)
    codes = person.codes["expression"]
    assert codes[5:7].min() >= codes.min() and np.isfinite(codes).all()


def test_nothing_is_smoothed_or_filled_across_a_cut(tmp_path, method):
    shades = [20] * 10 + [200] * 10
    clip = toy_clip(tmp_path / "a", walk(20, {9, 10}, shades))
    (person,) = reconstruct_sequence(method, clip, smooth=1.0)
    assert person.numbers.tolist() == [*range(9), *range(11, 20)]
    assert ["cut" in flags for flags in person.flags] == [row == 9 for row in range(18)]
    values = person.codes["expression"][:, 0]
    assert np.ptp(values[:9]) < 0.02 and np.ptp(values[9:]) < 0.02 and values[9] - values[8] > 0.3


def test_several_people(tmp_path, method):
    shown = [[(1, 50, 60), (2, 120, 60)] if number >= 5 else [(2, 120, 60)] for number in range(30)]
    shown[7].append((3, 20, 90))
    clip = toy_clip(tmp_path / "a", map(frame, shown))
    everybody = reconstruct_sequence(method, clip, track="all")
    assert [(one.track, len(one), one.confidence[0]) for one in everybody] == [
        (0, 25, pytest.approx(0.9)),  # the largest
        (1, 30, pytest.approx(0.8)),  # and one frame is too short for the third
    ]
    (second,) = reconstruct_sequence(method, clip, track=1)
    assert second.numbers.tolist() == list(range(30))
    with pytest.raises(EmocaError, match="there is no track 2: 2 people are seen, counted from 0"):
        reconstruct_sequence(method, clip, track=2)
    assert len(reconstruct_sequence(method, clip, min_score=0.85, track="all")) == 1


def test_one_frame_and_no_face(tmp_path, method):
    (person,) = reconstruct_sequence(method, toy_clip(tmp_path / "one", walk(1)))
    assert len(person) == 1
    assert reconstruct_sequence(method, toy_clip(tmp_path / "none", walk(8, set(range(8))))) == []


def test_one_frame_of_so_many(tmp_path, method):
    clip = open_clip(toy_clip(tmp_path / "a", walk(30)), start=0.2, every=4)
    (person,) = reconstruct_sequence(method, clip)
    assert person.numbers.tolist() == [5, 9, 13, 17, 21, 25, 29] and person.times[0] == pytest.approx(0.2)


def test_emotion_is_read_where_there_are_trained_weights(tmp_path, method):
    clip = toy_clip(tmp_path / "a", walk(9, {4}, shades=[30 + 20 * n for n in range(9)]))
    method.recipe = method.recipe.model_validate(method.recipe.model_dump() | {"emotion_backbone": {"uses": "moods"}})
    method.emotion_backbone = Moods()
    assert reconstruct_sequence(method, clip)[0].emotion is None
    method.emotion_backbone.asset_paths = {"moods": tmp_path / "weights"}
    emotion = reconstruct_sequence(method, clip)[0].emotion
    assert emotion.backbone == "moods" and set(emotion.scores) == {"sad", "happy"} and emotion.arousal is None
    method.encoder.frames_have_pixels = False
    glanced = reconstruct_sequence(method, clip)[0].emotion
    np.testing.assert_allclose(glanced.valence, emotion.valence, atol=0.02)  # the crops are not the smoothed ones
    assert glanced.backbone == "moods" and glanced.arousal is None
    happy = emotion.scores["happy"]
    assert happy.shape == (9,) and (np.diff(happy) >= 0).all() and happy[-1] > happy[0]
    assert happy + emotion.scores["sad"] == pytest.approx(1) and np.abs(emotion.valence).max() <= 1


def test_frames_are_decoded_once_where_the_encoder_needs_no_pixels(tmp_path, method, monkeypatch):
    clip = open_clip(toy_clip(tmp_path / "a", walk(40)))
    decoded, read = [], type(clip)._decoded

    def count(self, wanted):
        for one in read(self, wanted):
            decoded.append(one[0])
            yield one

    monkeypatch.setattr(type(clip), "_decoded", count)
    method.encoder.frames_have_pixels = False
    (person,) = reconstruct_sequence(method, clip)
    assert len(person) == 40 and len(decoded) == 40 + 8, "all once, and the best for the person"
    assert method.encoder.batches[0] == 8


@pytest.mark.parametrize("room", [following._PIXELS_AHEAD, 1000], ids=["beside", "in turn"])
def test_what_a_glance_tells_needs_no_second_decoding(tmp_path, method, monkeypatch, room):
    """Of every face that is no copy, cut as of a photo, in any number of parts; the code is that of the pixels."""
    monkeypatch.setattr(observations, "PART", 8)
    monkeypatch.setattr(following, "_PIXELS_AHEAD", room)
    clip = open_clip(toy_clip(tmp_path / "a", walk(40, {5, 6}, [30 + 4 * n for n in range(40)])))
    encoder, looks, encode = method.encoder, [], type(method.encoder).encode_frames

    def glance(crop):
        looks.append(len(crop))
        return torch.stack([crop.image.mean((1, 2, 3)), torch.ones(len(crop))], dim=1)

    def encode_frames(crop, person):
        given = glance(crop) if crop.glance is None else crop.glance
        code = encode(encoder, crop, person)
        return code.replace(expression=given[:, :1].expand_as(code.expression))

    monkeypatch.setattr(encoder, "glance", glance)
    monkeypatch.setattr(encoder, "encode_frames", encode_frames)
    encoder.glance_size = 2

    def emotion_in(numbers):
        return EmotionReading("own", (), EmotionPrediction({}, valence=2 * numbers[:, 0] - 1))

    monkeypatch.setattr(encoder, "emotion_in", emotion_in)
    (tmp_path / "kept").mkdir()
    (late,) = reconstruct_sequence(method, clip, smooth=0.0, kept=tmp_path / "kept")
    assert sum(looks) == 38
    looks.clear()
    encoder.frames_have_pixels = False
    (first,) = reconstruct_sequence(method, clip, smooth=0.0)
    assert sum(looks) == 38 and max(looks) == 8, "some at a time, until a part is full"
    (again,) = reconstruct_sequence(method, clip, smooth=0.0, kept=tmp_path / "kept")
    np.testing.assert_allclose(again.codes["expression"], late.codes["expression"], atol=1e-6)  # nobody had glanced
    np.testing.assert_allclose(first.codes["expression"], late.codes["expression"], atol=1e-6)
    np.testing.assert_allclose(first.emotion.valence, late.emotion.valence, atol=1e-6)
    assert first.emotion.backbone == "own" and np.ptp(first.emotion.valence) > 0.5


def test_encoders_that_want_it_get_the_landmarks_of_more_frames(tmp_path, method, monkeypatch):
    clip, given, meet = open_clip(toy_clip(tmp_path / "a", walk(40, {3, 4}))), [], type(method.encoder).encode_person

    def note(crop, others=None):
        given.append((crop, others))
        return meet(method.encoder, crop)

    monkeypatch.setattr(method.encoder, "encode_person", note)
    method.encoder.person_landmarks = 20
    reconstruct_sequence(method, clip)
    method.encoder.person_landmarks = 0
    reconstruct_sequence(method, clip)
    ((crop, others), (_, none)) = given
    assert none is None and len(crop) == 8 and 12 <= len(others) <= 20
    assert bool((crop.image.flatten(1).amax(1) > 0).all()) and not others.image.any()
    assert len({*crop.keys, *others.keys}) == len(crop) + len(others), "no frame twice"
    assert not {f"{clip.path}#{gap}" for gap in (3, 4)} & {*others.keys}, "nor one that is filled in"
    middles = others.landmarks["ibug68"].mean((1, 2))
    assert bool(middles.isfinite().all())


@pytest.mark.parametrize(
    ("stop", "cut"), [(3, None), (8, None), (21, None), (28, None), (21, 15), (21, 16), (28, 22), (8, 22)]
)
def test_a_run_that_was_stopped_finds_what_one_at_a_stretch_does(tmp_path, method, monkeypatch, stop, cut):
    """Parts of 8 frames, of which followers see 3 beforehand; they remember all frames since they began."""
    monkeypatch.setattr(observations, "PART", 8)
    monkeypatch.setattr(following, "_WARM_UP", 3)
    shades = [200 if cut is not None and number >= cut else 20 + number % 3 for number in range(29)]
    clip = open_clip(toy_clip(tmp_path / "a", walk(29, {5, 6}, shades)))
    (tmp_path / "whole").mkdir(), (tmp_path / "stopped").mkdir()
    method.landmarker = Remembering()
    (whole,) = reconstruct_sequence(method, clip, kept=tmp_path / "whole")
    assert whole.numbers[whole.flagged("cut")].tolist() == [cut] * (cut is not None)
    method.landmarker = Remembering(stop / 25)
    with pytest.raises(KeyboardInterrupt):
        reconstruct_sequence(method, clip, kept=tmp_path / "stopped")
    known = stop // 8 * 8
    again = Observations(tmp_path / "stopped")
    assert len(again) == known and not again.are_whole
    method.landmarker = Remembering()
    (gone_on,) = reconstruct_sequence(method, clip, kept=tmp_path / "stopped")
    tables = [Observations(tmp_path / name).tables() for name in ("whole", "stopped")]
    for one, other in zip(*tables, strict=True):
        assert all(np.array_equal(one[name], other[name], equal_nan=True) for name in one)
    assert np.array_equal(gone_on.landmarks, whole.landmarks)
    assert all(np.array_equal(gone_on.codes[name], whole.codes[name]) for name in whole.codes)
    looks = 29 - known + 3 * sum(end >= known for end in (8, 16, 24))
    assert method.landmarker.seen == looks, "what was known was looked for again"
    reconstruct_sequence(method, clip, kept=tmp_path / "stopped")
    assert method.landmarker.seen == looks


def test_frames_that_are_shown_twice_are_looked_at_once_and_have_one_face(tmp_path, method):
    """A clip of 15 frames a second at 25: three frames in five, and the first copies before anything is usual."""
    shown = np.arange(50) * 3 // 5
    clip = open_clip(toy_clip(tmp_path / "a", [frame([(1, 60 + k, 60)], 20 + 5 * k) for k in shown]))
    (person,) = reconstruct_sequence(method, clip)
    copies = np.flatnonzero(np.diff(shown, prepend=-1) == 0)
    assert len(copies) == 20 and len(person) == 50
    assert method.landmarker.seen == 50 - len(copies) + 1
    assert sum(method.encoder.batches) == 8 + 50 - len(copies) + 1, "copies were encoded"
    for block in person.codes.values():
        assert np.array_equal(block[copies[1:]], block[copies[1:] - 1])
    inner = slice(10, -10)
    for moving in (person.codes["expression"][:, 0], person.crop_to_image[:, 0, 2]):  # steadily, at the times of taking
        late = slice(20, -10)
        slope, start = np.polyfit(shown[late], moving[late], 1)
        assert abs(slope) > 0.005 and np.abs(moving - slope * shown - start)[late].max() < 0.03 * abs(slope)
    assert np.abs(person.landmarks[:, :, 0].mean(1) - 60 - shown)[inner].max() < 0.01


@pytest.fixture
def moods(method, tmp_path):
    """The method reads moods, and its encoder looks at no pixels: both glance while the clip is followed."""
    backbone = Moods()
    backbone.asset_paths = {"moods": tmp_path / "weights"}
    method.encoder.frames_have_pixels = False
    return method.looking_through(backbone)


def test_a_backbone_that_no_recipe_names_is_told_by_its_class(tmp_path, moods):
    (person,) = reconstruct_sequence(moods, toy_clip(tmp_path / "a", walk(9)))
    assert person.emotion.backbone == "Moods" and np.isfinite(person.emotion.valence).all()


def test_a_backbone_of_features_alone_tells_no_emotion(tmp_path, moods, monkeypatch):
    monkeypatch.setattr(Moods, "forward", lambda self, image: EmotionPrediction({"mean": image.mean((2, 3))}))
    emotion = reconstruct_sequence(moods, toy_clip(tmp_path / "a", walk(9)))[0].emotion
    assert emotion.backbone == "Moods" and not emotion.scores and emotion.valence is None and emotion.arousal is None


def test_an_encoder_that_tells_the_person_alone(tmp_path, method, monkeypatch):
    monkeypatch.setattr(method.encoder, "encode_frames", lambda crop, person: person)
    (person,) = reconstruct_sequence(method, toy_clip(tmp_path / "a", walk(9)))
    assert len(person) == 9 and set(person.codes) == {"shape"}


def test_a_copy_after_a_long_time_begins_a_stretch_and_is_no_copy(tmp_path, moods):
    """Two frames a second: nothing is filled in between them."""
    shown = np.arange(30) * 2 // 3
    clip = toy_clip(tmp_path / "a", [frame([(1, 60 + k, 60)], 20 + 5 * k) for k in shown], rate=2)
    (person,) = reconstruct_sequence(moods, clip)
    assert moods.landmarker.seen < 30, "copies were found"
    assert person.numbers.tolist() == list(range(30)) and np.isfinite(person.codes["expression"]).all()
    assert np.isfinite(person.emotion.valence).all() and np.ptp(person.emotion.valence) > 0.5


def test_a_copy_that_is_the_first_frame_of_a_track_has_what_was_seen_before(tmp_path, moods):
    class Renaming(ByNote):
        def track(self, frames):
            for number, tracks in enumerate(super().track(frames)):
                yield tuple(track + 10 * (number >= 23) for track in tracks)

    moods.tracker = Renaming()
    shown = np.arange(50) * 3 // 5
    assert shown[23] == shown[22]
    clip = toy_clip(tmp_path / "a", [frame([(1, 60 + k, 60)], 20 + 5 * k) for k in shown])
    people = reconstruct_sequence(moods, clip, track="all", smooth=0.0)
    assert sorted(len(person) for person in people) == [23, 27]
    valence = {int(n): v for person in people for n, v in zip(person.numbers, person.emotion.valence, strict=True)}
    assert valence[23] == valence[22] and np.isfinite(list(valence.values())).all()


@pytest.mark.parametrize("stop", [21, 29])
def test_a_part_that_begins_with_a_copy_is_the_same_after_a_stop(tmp_path, method, monkeypatch, stop):
    """There both runs look anew: of the frame before, one that begins there knows nothing."""
    monkeypatch.setattr(observations, "PART", 8)
    monkeypatch.setattr(following, "_WARM_UP", 3)
    shown = [number - (number in (16, 19, 24, 25)) - (number == 25) for number in range(32)]
    clip = open_clip(toy_clip(tmp_path / "a", [frame([(1, 60 + k, 60)], 20 + 5 * k) for k in shown]))
    (tmp_path / "whole").mkdir(), (tmp_path / "stopped").mkdir()
    method.landmarker = Remembering()
    (whole,) = reconstruct_sequence(method, clip, kept=tmp_path / "whole")
    repeats = np.concatenate([table["frame.repeats"] for table in Observations(tmp_path / "whole").tables()])
    assert np.flatnonzero(repeats).tolist() == [19, 25], "16 and 24 begin parts"
    method.landmarker = Remembering(stop / 25)
    with pytest.raises(KeyboardInterrupt):
        reconstruct_sequence(method, clip, kept=tmp_path / "stopped")
    assert len(Observations(tmp_path / "stopped")) == stop // 8 * 8
    method.landmarker = Remembering()
    (gone_on,) = reconstruct_sequence(method, clip, kept=tmp_path / "stopped")
    assert np.array_equal(gone_on.landmarks, whole.landmarks)
    assert all(np.array_equal(gone_on.codes[name], whole.codes[name]) for name in whole.codes)


def test_a_new_part_does_not_forget_what_was_just_seen(tmp_path, method, monkeypatch):
    """Followers that need three frames to find a face have seen them when their part begins, unless a shot does."""

    class Slow(Remembering):
        needs = 3

    monkeypatch.setattr(observations, "PART", 8)
    monkeypatch.setattr(following, "_WARM_UP", 3)
    method.landmarker = Slow()
    clip = toy_clip(tmp_path / "a", walk(30, shades=[20] * 22 + [200] * 8))
    (person,) = reconstruct_sequence(method, clip, smooth=0.0)
    assert person.numbers[~person.flagged("bridged")].tolist() == [*range(3, 22), *range(25, 30)]


@pytest.mark.parametrize(("pixels", "most"), [(following._PIXELS_AHEAD, 3 + following._MOST_AHEAD), (1000, 2)])
def test_frames_do_not_pile_up(tmp_path, method, monkeypatch, pixels, most):
    """Small frames wait for each other in threads; of 8K, 100 MB each, only what is looked at is there."""
    monkeypatch.setattr(observations, "PART", 16)
    monkeypatch.setattr(following, "_WARM_UP", 8)
    monkeypatch.setattr(following, "_PIXELS_AHEAD", pixels)
    alive = []

    class Counting(Reader):
        def detect(self, photo):
            time.sleep(0.01)  # the decoder is quicker
            alive.append(sum(type(thing) is ClipFrame for thing in gc.get_objects()))
            return super().detect(photo)

    method.landmarker = Counting()
    reconstruct_sequence(method, toy_clip(tmp_path / "a", walk(64)))
    assert len(alive) == 64 + 4 * 8 and max(alive) <= most


def test_best_frames_are_sharp_and_varied():
    random = np.random.default_rng(0)
    landmarks = np.tile(random.normal(size=(68, 2)) * 50, (40, 1, 1)) + 100
    landmarks[10, 48:68, 1] += 30  # an open mouth
    landmarks[20, :27, 0] *= 0.8  # a turned head
    landmarks[30, :27, 0] *= 0.5  # turned further, but blurred
    sharp = np.full(40, 5.0)
    sharp[[7, 10, 20, 30]] = 9.0, 6.0, 6.0, 0.1
    chosen = best_frames(landmarks, sharp, np.ones(40), 3)
    assert chosen.tolist() == [7, 10, 20]
    scores = np.zeros(40)
    scores[4:6] = 0.5
    assert best_frames(landmarks, sharp, scores, 3).tolist() == [4, 5]


def test_settings_and_methods_that_cannot_work(tmp_path, method):
    for wrong in ({"smooth": 1.5}, {"track": -1}, {"batch_size": 0}, {"min_score": -0.1}):
        with pytest.raises(ParamsError):
            SequenceSettings(**wrong)
    clip = toy_clip(tmp_path / "a", walk(3))
    method.tracker = None
    with pytest.raises(RecipeError, match="recipe 'toy' has no tracker"):
        reconstruct_sequence(method, clip)
    with pytest.raises(ImageError):
        reconstruct_sequence(method, tmp_path / "gone.mp4")
    assert open_clip(clip).size == SIZE
