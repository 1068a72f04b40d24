"""Building, opening, refusing: an index is whole, made by what it says, and replaced only when asked."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from toy_benchmark import Colour, ToyLandmarker, make_manifest

from emoca_core.datasets import Manifest, ManifestRow, write_manifest
from emoca_core.datasets.rows import iterate_rows
from emoca_core.errors import AssetFormatError, EmocaError, ImageError, OutputError, ParamsError, UnknownNameError
from emoca_core.files import sha256_of
from emoca_core.probe import codes, detections
from emoca_core.retrieval import Retriever, build_index, open_index
from emoca_core.retrieval.build import find_source
from emoca_core.retrieval.index import CARD, FACES, FEATURES

BACKBONE = "emotion:ColourBackbone"


def build(photos, out, by=BACKBONE, **options):
    return build_index(photos, by, out, landmarker="ToyLandmarker", **options)


def test_an_index_holds_features_labels_and_where_the_photos_are(index, manifest_file):
    opened = open_index(index.folder)
    assert sorted(file.name for file in index.folder.iterdir()) == sorted([CARD, FACES, FEATURES])
    assert (len(opened), opened.card.dimensions, opened.features.dtype) == (90, 3, np.float32)
    assert opened.card.counts.model_dump() == {
        "images": 91,
        "faces": 90,
        "unreadable": 0,
        "without_face": 1,
        "without_code": 0,
    }
    manifest = Manifest.open(manifest_file)
    for row in (0, 44, 89):
        pixels = np.asarray(Image.open(opened.faces.image_path(opened.faces[row])))
        np.testing.assert_allclose(opened.features[row], pixels.reshape(-1, 3).mean(0) / 255, atol=2e-3)  # 8 bits
        for name in ("expression", "valence", "clip"):
            assert getattr(opened.faces[row], name) == getattr(manifest[row], name)
    assert len(opened.faces[0].box) == 4


def test_codes_are_those_of_the_blocks_that_were_asked_for(few, tmp_path):
    found = build(few, tmp_path / "codes", "codes:colour").index
    assert found.card.inputs == ("expression",)
    with pytest.raises(ParamsError, match="colour has no block 'detail'; it has: expression"):
        build(few, tmp_path / "more", "codes:colour", blocks=["detail"])
    with pytest.raises(ParamsError, match="write codes:colour"):
        build(few, tmp_path / "more", "emotion:colour")
    with pytest.raises(ParamsError, match="write emotion:ColourBackbone"):
        build(few, tmp_path / "more", "codes:ColourBackbone")
    with pytest.raises(ParamsError, match="it has features and no blocks"):
        build(few, tmp_path / "more", blocks=["expression"])
    with pytest.raises(ParamsError, match="expected emotion:BACKBONE"):
        build(few, tmp_path / "more", "colour")
    with pytest.raises(UnknownNameError, match="Did you mean 'colour'"):
        build(few, tmp_path / "more", "codes:color")
    with pytest.raises(EmocaError, match="licensed cannot run here: missing asset 'toy_weights'"):
        build(few, tmp_path / "more", "codes:licensed")
    assert not (tmp_path / "more").exists()


def test_every_face_of_a_photo_is_in_the_index_and_lost_photos_are_counted(tmp_path, monkeypatch):
    photos = tmp_path / "photos"
    make_manifest(photos, faces=6)  # and a black picture
    Image.fromarray(np.full((90, 64, 3), 99, np.uint8)).save(photos / "large.png")  # of another size
    (photos / "broken.png").write_bytes(b"no picture")
    made = build(photos, tmp_path / "out")
    assert (len(made.index), len(made.unreadable)) == (7, 1)
    assert "broken.png" in made.unreadable[0]
    assert made.index.card.counts.model_dump(exclude={"faces", "without_code"}) == {
        "images": 9,
        "unreadable": 1,
        "without_face": 1,
    }
    one = ToyLandmarker.detect
    monkeypatch.setattr(ToyLandmarker, "detect", lambda self, photo: 2 * one(self, photo))
    shutil.rmtree(tmp_path / "cache")
    made = build(photos, tmp_path / "all")
    assert len(made.index) == 14
    assert made.index.card.counts.without_face == 1
    assert [made.index.faces[row].path for row in (0, 1)] == [made.index.faces[0].path] * 2
    assert made.index.groups("photo").max() == 6


def test_the_largest_faces_of_a_benchmark_are_not_taken_for_all_faces(tmp_path, monkeypatch):
    """Codes of both are in one cache; the number of rows alone would not tell them apart."""
    photos = tmp_path / "photos"
    make_manifest(photos, faces=3)
    images = Manifest.open(photos / "faces.csv")
    every = detections.detect_every_face(images, ToyLandmarker(), "toy")
    largest = detections.detect_faces(images, ToyLandmarker(), "toy")
    assert every[1].key and not largest.key
    source = Colour("red", (0,))
    first = codes.extract_codes(source, images, largest)
    again = codes.extract_codes(source, *every)
    assert source.encoded == 6
    np.testing.assert_array_equal(first[:3], again)


def test_a_stopped_run_goes_on_and_the_folder_is_whole_or_absent(few, tmp_path, monkeypatch):
    monkeypatch.setattr(codes, "PART", 3)
    encoded = []
    real = codes.BackboneSource.encode

    def stops(self, crop):
        encoded.append(len(crop))
        if len(encoded) == 4:
            raise KeyboardInterrupt
        return real(self, crop)

    monkeypatch.setattr(codes.BackboneSource, "encode", stops)
    with pytest.raises(KeyboardInterrupt):
        build(few, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    build(few, tmp_path / "out")
    assert sum(encoded) == 12 + 3  # three parts were kept


def test_nothing_is_replaced_unasked_and_nothing_of_others_ever(few, tmp_path):
    out = tmp_path / "out"
    build(few, out)
    with pytest.raises(OutputError, match="--overwrite"):
        build(few, out)
    assert build(few, out, "codes:colour", overwrite=True).index.card.by == "codes:colour"
    (out / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="not the index's"):
        build(few, out, overwrite=True)
    assert (out / "mine.txt").read_text() == "mine"
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="is no index"):
        build(few, other, overwrite=True)


@pytest.mark.parametrize("name", [FEATURES, FACES])
def test_damaged_files_are_refused(index, name):
    file = index.folder / name
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(AssetFormatError, match=f"{name} is missing or damaged"):
        open_index(index.folder)
    file.unlink()
    with pytest.raises(AssetFormatError, match=f"{name} is missing or damaged"):
        open_index(index.folder)


def forged(index, **changes):
    """The card with changes, and right hashes."""
    card = json.loads((index.folder / CARD).read_text())
    card["sha256"] = {name: sha256_of(index.folder / name) for name in (FEATURES, FACES)}
    (index.folder / CARD).write_text(json.dumps(card | changes))
    return index.folder


def test_what_does_not_fit_together_is_refused(index, tmp_path):
    with pytest.raises(AssetFormatError, match="is no index"):
        open_index(tmp_path)
    with pytest.raises(AssetFormatError, match="does not fit together"):
        open_index(forged(index, dimensions=4))
    with pytest.raises(AssetFormatError, match="damaged, or of another kind"):
        open_index(forged(index, dimensions=3, format="emoca-index-9"))
    forged(index, format="emoca-index-1")
    write_manifest([], index.folder / FACES)
    with pytest.raises(AssetFormatError, match="0 faces"):
        open_index(forged(index))
    write_manifest([ManifestRow("a.png")] * 90, index.folder / FACES)
    codes.write_tensors(index.folder / FEATURES, {"features": np.full((90, 3), np.nan, np.float32)})
    with pytest.raises(AssetFormatError, match="not finite"):
        open_index(forged(index))
    (index.folder / FEATURES).write_bytes(b"")
    with pytest.raises(AssetFormatError, match="holds no features"):
        open_index(forged(index))


def test_a_photo_finds_the_faces_of_its_colour_but_not_itself(index):
    retriever = Retriever.of(index)
    assert retriever.warning == ""
    photo = index.faces.image_path(index.faces[7])
    query = retriever.query(photo)
    assert query.rows == (7,)
    np.testing.assert_allclose(query.feature, index.features[7], atol=1e-6)  # batches add in another order
    found = retriever.retrieve(photo, top=5)
    assert 7 not in found.rows
    assert {index.faces[int(row)].expression for row in found.rows[0]} == {index.faces[7].expression}
    clips = retriever.retrieve(photo, top=12, distinct="clip").rows[0]
    shown = [index.faces[int(row)].clip for row in clips]
    assert len(set(shown)) == 12
    assert index.faces[7].clip not in shown


def test_a_photo_from_elsewhere_leaves_nobody_out(index, tmp_path):
    saved = tmp_path / "saved.bmp"  # the same pixels in other bytes
    Image.open(index.faces.image_path(index.faces[7])).save(saved)
    retriever = Retriever.of(index)
    assert retriever.query(saved).rows == ()
    found = retriever.retrieve(saved, top=1)
    assert found.rows[0, 0] == 7
    assert found.distances[0, 0] == pytest.approx(0, abs=1e-6)


def test_copies_of_the_photo_are_left_out_whatever_they_are_called(index, few, tmp_path):
    copy = tmp_path / "copy.png"
    shutil.copy(index.faces.image_path(index.faces[7]), copy)
    retriever = Retriever.of(index)
    assert retriever.query(copy).rows == (7,)
    assert 7 not in retriever.retrieve(copy, top=len(index)).rows
    shown = retriever.retrieve(copy, top=len(index), distinct="clip").rows[0]
    assert index.faces[7].clip not in {index.faces[int(row)].clip for row in shown if row >= 0}

    shutil.copy(few.parent / "003.png", few.parent / "twice.png")
    rows = [*iterate_rows(Manifest.open(few)), ManifestRow("twice.png", clip="another")]
    write_manifest(rows, few.parent / "twice.csv")
    twice = build(few.parent / "twice.csv", tmp_path / "twice.index").index
    retriever = Retriever.of(twice)
    assert retriever.query(few.parent / "003.png").rows == (3, 12)
    assert retriever.query(few.parent / "twice.png").rows == (12, 3)
    for distinct in (None, "photo", "clip"):
        found = retriever.retrieve(few.parent / "003.png", top=13, distinct=distinct).rows[0]
        assert not {3, 12} & set(found.tolist()), distinct
        assert distinct == "clip" or (found >= 0).sum() == 11
    (few.parent / "twice.png").unlink()
    assert retriever.query(few.parent / "003.png").rows == (3,)


def test_queries_that_cannot_be_asked_are_refused(index, tmp_path):
    retriever = Retriever.of(index)
    with pytest.raises(ImageError, match=r"090\.png: no face found"):
        retriever.query(index.folder.parent / "toys" / "090.png")
    with pytest.raises(ImageError, match="no such file"):
        retriever.query(tmp_path / "absent.png")
    with pytest.raises(ParamsError, match="a query of 2 numbers"):
        index.search(np.zeros((1, 2), np.float32))
    with pytest.raises(UnknownNameError, match="Did you mean 'clip'"):
        index.groups("clp")


def test_people_are_left_out_only_where_somebody_names_them(index, tmp_path):
    assert index.groups("identity").max() == 29  # by clip
    make_manifest(tmp_path / "more", faces=5)
    nameless = [ManifestRow(f"{i:03d}.png", expression="happy") for i in range(5)]
    write_manifest(nameless, tmp_path / "more" / "nameless.csv")
    other = build(tmp_path / "more" / "nameless.csv", tmp_path / "nameless.index").index
    with pytest.raises(ParamsError, match="no face has identity or clip"):
        other.groups("identity")


def test_an_index_of_other_weights_is_refused_and_other_code_is_told(index, monkeypatch):
    monkeypatch.setattr(codes, "code_hash", lambda part: "edited")
    assert "other code" in Retriever.of(index).warning
    source = find_source(BACKBONE)
    source.backbone.gain.data += 1e-3
    monkeypatch.setattr("emoca_core.retrieval.query.find_source", lambda *args: source)
    with pytest.raises(AssetFormatError, match="other weights or parameters"):
        Retriever.of(index)
