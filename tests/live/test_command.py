"""``emoca live`` as people call it: a clip in the place of a camera, and what goes wrong."""

import json
import socket
import threading
from pathlib import Path

import numpy as np
import pytest
from clips import write_clip
from PIL import Image

import emoca_core
from emoca_core import cli, load_method, open_clip
from emoca_core.live import LiveCapture, play_clip
from emoca_core.registry import get_registry
from emoca_core.testing.sender import sample_frames


def run(capsys, *words):
    code = cli.main([str(word) for word in words])
    return code, capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--from", "absent.mp4"], "absent.mp4"),
        (["--camera", "97"], "camera 97 gives no picture"),
        (["--no-page"], "nobody would receive anything"),
        (["--send", "carrier_pigeon"], "carrier_pigeon"),
        (["--send", "vmc:prot=3"], "prot"),
        (["--send", "vmc:"], "write vmc:param=value"),
        (["--send", "live_link:port=99999999"], "port"),
        (["--send", "vmc", "--smooth", "2"], "no number from 0 to 1"),
    ],
)
def test_what_cannot_work_is_one_line(capsys, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    code, err = run(capsys, "live", *words)
    assert code == 2 and said in " ".join(err) and not any("Traceback" in line for line in err), err


def test_a_port_in_use_is_one_line(capsys, tmp_path):
    write_clip(tmp_path / "a.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 3)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, err = run(capsys, "live", "--from", tmp_path / "a.mp4", "--send", f"preview:port={port}")
    assert code == 2 and f"cannot listen on 127.0.0.1:{port}" in err[-1], err


@pytest.fixture
def smiling(tmp_path):
    """A clip of four seconds."""
    with Image.open(Path(emoca_core.__file__).parents[1] / "examples/photos/astronaut.jpg") as photo:
        small = np.asarray(photo.convert("RGB").resize((320, 320)))
    write_clip(tmp_path / "face.mp4", [small] * 40, rate=10)
    return tmp_path / "face.mp4"


@pytest.mark.parametrize(("recipe", "reads"), [("open_emoca_fit", True), ("open_fit", False)])
def test_emotion_is_told_as_far_as_the_method_reads_it(smiling, recipe, reads):
    method = load_method(recipe, change={"face_model": {"params": {"texture_size": 64}}})
    with play_clip(open_clip(smiling)) as source:
        faces = [frame.face for frame, _ in zip(LiveCapture(method).frames(source), range(4), strict=False)]
    assert all(faces)
    for face in faces:
        assert bool(face.emotion) == reads
        assert not reads or (face.emotion["emotion.happy"] > 0.5 and face.emotion["valence"] > 0.2)


def test_a_face_in_a_clip_arrives_at_the_other_end(capsys, smiling):
    got = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(60)
        thread = threading.Thread(target=lambda: got.append(receiver.recv(2048)))
        thread.start()
        send = f"live_link:port={receiver.getsockname()[1]}"
        code, err = run(
            capsys, "live", "--from", smiling, "--no-page", "--send", send,
            "--set", "face_model.texture_size=64",
        )  # fmt: skip
        thread.join()
    assert code == 0, err
    assert "with a face" in err[-1] and " 0 with a face" not in err[-1]
    assert len(got[0]) > 61 * 4 and b"EMOCA" in got[0]


def test_json_has_no_numbers_that_json_does_not_know():
    from emoca_plugins.senders.preview import frame_to_json

    texts = [json.dumps(frame_to_json(frame), allow_nan=False) for frame in sample_frames()]
    assert [json.loads(text)["face"] is None for text in texts] == [False, True, False]
    assert get_registry().params("sender", "preview", {}).port == 8765
