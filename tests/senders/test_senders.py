"""What arrives at the other end, read by decoders of the formats that share nothing with the senders."""

import json
import socket
import struct
import time
from dataclasses import replace
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
import torch
from browser import browser_page

from emoca_core.errors import EmocaError
from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.interfaces import LiveFace, LiveFrame
from emoca_core.registry import get_registry
from emoca_core.testing.sample_face import sample_face
from emoca_core.vocabulary.arkit import ARKIT_NAMES

VALUES = np.linspace(0.01, 0.98, 52)


def turned(yaw=0.0, pitch=0.0, roll=0.0):
    parts = [torch.tensor(v, dtype=torch.float64) for v in ([0, yaw, 0], [pitch, 0, 0], [0, 0, roll])]
    return torch.linalg.multi_dot([rotation_vector_to_matrix(part) for part in parts]).numpy()


FACE = LiveFace(VALUES, turned(0.3, -0.2, 0.1), np.stack([turned(0.1), turned(-0.05, 0.2)]), np.array([0.0, 0.1, -0.6]))
FACE = replace(FACE, emotion={"valence": -0.25, "emotion.sad": 0.75})
FRAME = LiveFrame(7, 12.51, 0.031, 3, np.full((30, 40, 3), 90, np.uint8), FACE)


@pytest.fixture
def receiver():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        opened.settimeout(10)
        yield opened


def build(name, receiver=None, **params):
    port = {} if receiver is None else {"port": receiver.getsockname()[1]}
    return get_registry().build("sender", name, port | params)


def test_live_link_packets_are_read_as_receivers_read_them(receiver):
    with build("live_link", receiver, subject="Ada") as sender:
        sender.send(replace(FRAME, face=None))  # no face, no packet
        sender.send(FRAME)
    data = receiver.recv(2048)
    assert struct.unpack("<i", data[:4])[0] == 6, "receivers read version and the length's first bytes as one number"
    assert data[4] == 36 and len(data[5:41].decode().split("-")) == 5
    (length,) = struct.unpack("!i", data[41:45])
    assert data[45 : 45 + length].decode() == "Ada"
    frame, part, rate, denominator, count = struct.unpack("!if2ib", data[45 + length : 62 + length])
    assert (frame + part) * denominator / rate == pytest.approx(12.51, abs=1e-6)
    values = struct.unpack("!61f", data[62 + length :])
    assert count == 61
    order = {
        "eyeBlinkLeft": 0,
        "eyeBlinkRight": 7,
        "jawOpen": 17,
        "mouthSmileLeft": 23,
        "browInnerUp": 43,
        "tongueOut": 51,
    }
    for name, place in order.items():
        assert values[place] == pytest.approx(VALUES[ARKIT_NAMES.index(name)], abs=1e-6), name
    assert values[52:55] == pytest.approx((0.3, -0.2, 0.1), abs=1e-6)
    assert values[55:61] == pytest.approx((0.1, 0, 0, -0.05, 0.2, 0), abs=1e-6)
    receiver.setblocking(False)
    with pytest.raises(BlockingIOError):
        receiver.recv(10)


def osc_messages(data):
    """Open Sound Control 1.0 by its specification: a bundle of messages with ints, floats and texts."""
    assert data[:8] == b"#bundle\0" and len(data) % 4 == 0
    place = 16
    while place < len(data):
        (size,) = struct.unpack(">i", data[place : place + 4])
        yield osc_message(data[place + 4 : place + 4 + size])
        place += 4 + size


def osc_message(data):
    def text(start):
        end = data.index(b"\0", start)
        return data[start:end].decode(), end + 4 - end % 4

    address, place = text(0)
    tags, place = text(place)
    values = []
    for tag in tags[1:]:
        if tag == "s":
            value, place = text(place)
        else:
            (value,) = struct.unpack({"i": ">i", "f": ">f"}[tag], data[place : place + 4])
            place += 4
        values.append(value)
    return address, values


def test_vmc_bundles_hold_blend_shapes_and_bones(receiver):
    with build("vmc", receiver) as sender:
        sender.send(FRAME)
        sender.send(replace(FRAME, face=None))
    messages = list(osc_messages(receiver.recv(65536)))
    assert messages[0] == ("/VMC/Ext/OK", [1]) and messages[-1] == ("/VMC/Ext/Blend/Apply", [])
    shapes = dict(values for address, values in messages if address == "/VMC/Ext/Blend/Val")
    assert len(shapes) == 52 and shapes["JawOpen"] == pytest.approx(VALUES[ARKIT_NAMES.index("jawOpen")], abs=1e-6)
    bones = {values[0]: values[1:] for address, values in messages if address == "/VMC/Ext/Bone/Pos"}
    assert set(bones) == {"Head", "LeftEye", "RightEye"}
    # to the subject's left is a negative turn about Unity's upward axis, which is left-handed
    assert bones["LeftEye"][3:] == pytest.approx((0, -np.sin(0.05), 0, np.cos(0.05)), abs=1e-6)
    assert [address for address, _ in osc_messages(receiver.recv(65536))] == ["/VMC/Ext/OK", "/VMC/Ext/T"]


def test_json_by_websocket_is_what_was_sent_and_other_sites_are_kept_out():
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    with build("preview", port=0) as sender:
        place = sender.address.removeprefix("http://")
        with connect(f"ws://{place}live", open_timeout=10) as connection:
            sender.send(FRAME)
            got = json.loads(connection.recv(10))
        with pytest.raises(InvalidStatus, match="403"):
            connect(f"ws://{place}live", origin="http://elsewhere.example", open_timeout=10)
        port = place.strip("/").rpartition(":")[2]
        rebound = {"Host": f"elsewhere.example:{port}"}  # a name of theirs that leads to this machine
        with pytest.raises(HTTPError, match="403"):
            urlopen(Request(f"http://{place}", headers=rebound), timeout=10)
        with urlopen(f"http://{place}", timeout=10) as page:
            assert page.status == 200
    assert (got["number"], got["time"], got["dropped"]) == (7, 12.51, 3)
    assert list(got["face"]["arkit"]) == list(ARKIT_NAMES)
    assert list(got["face"]["arkit"].values()) == pytest.approx(VALUES.tolist(), abs=1e-4)
    assert got["face"]["head"] == pytest.approx([0.3, -0.2, 0.1], abs=1e-5)
    assert got["face"]["position"] == [0.0, 0.1, -0.6]
    assert got["face"]["emotion"] == {"valence": -0.25, "emotion.sad": 0.75}


def test_a_slow_receiver_gets_the_newest_frame_and_nothing_piles_up():
    from websockets.sync.client import connect

    with build("preview", port=0) as sender, connect(f"ws://{sender.address[7:]}live", open_timeout=10) as connection:
        sender.send(replace(FRAME, number=0))
        assert json.loads(connection.recv(10))["number"] == 0
        for number in range(1, 400):
            sender.send(replace(FRAME, number=number))
        numbers = []
        while not numbers or numbers[-1] != 399:
            numbers.append(json.loads(connection.recv(10))["number"])
    assert numbers == sorted(numbers) and len(numbers) < 399, "every frame was kept for it"


def test_whoever_does_not_read_is_not_waited_for():
    """A browser's tab that is frozen: the pipe to it is full, and the sender blocked in the middle of a picture."""
    sender = build("preview", port=0)
    sender.open()
    host, port = sender.address[7:-1].split(":")
    with socket.socket() as frozen:
        frozen.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        frozen.connect((host, int(port)))
        hello = f"GET /pictures HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        frozen.sendall(f"{hello}Sec-WebSocket-Key: {'A' * 22}==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        assert frozen.recv(12) == b"HTTP/1.1 101"
        noise = np.random.default_rng(0).integers(0, 255, (600, 640, 3), np.uint8)
        for number in range(60):
            sender.send(replace(FRAME, number=number, picture=noise))
            time.sleep(0.02)
        assert len(sender._talking) == 1
        begun = time.monotonic()
        sender.close()
        assert time.monotonic() - begun < 8
    assert not sender._talking


def test_a_port_in_use_and_an_unknown_host_are_one_line():
    with build("preview", port=0) as sender:
        port = int(sender.address.rstrip("/").rpartition(":")[2])
        with pytest.raises(EmocaError, match=f"cannot listen on 127.0.0.1:{port}.*port=8800"):
            build("preview", port=port).open()
    with pytest.raises(EmocaError, match="no host 'no such host'"):
        build("vmc", host="no such host").open()


def test_the_page_shows_picture_head_and_curves(tmp_path):
    get_registry().build("exporter", "glb").export(sample_face(), tmp_path)
    with build("preview", port=0) as sender, browser_page(viewport={"width": 1000, "height": 900}) as page:
        sender.show_person((tmp_path / "face.glb").read_bytes())
        page.goto(sender.address)
        page.wait_for_function("document.getElementById('state').value === 'connecting'")
        for number in range(60):
            sender.send(replace(FRAME, number=number, time=number / 10))
            page.wait_for_timeout(50)
            if page.evaluate("document.querySelector('model-viewer').loaded"):
                break
        sender.send(replace(FRAME, number=1000, time=7.0))
        page.wait_for_selector("body[data-frames='1000']")
        page.wait_for_timeout(500)
        weights = page.evaluate(
            """() => { const viewer = document.querySelector("model-viewer"); const found = {};
            viewer[Object.getOwnPropertySymbols(viewer).find((s) => s.description === "scene")].traverse((node) => {
              for (const [name, place] of Object.entries(node.morphTargetDictionary || {}))
                found[name] = node.morphTargetInfluences[place]; });
            return found; }"""
        )
        assert weights["jawOpen"] == pytest.approx(VALUES[ARKIT_NAMES.index("jawOpen")], abs=1e-3)
        assert "31 ms" in page.locator("#state").text_content()
        pixel = "c => Array.from(c.getContext('2d').getImageData(20, 15, 1, 1).data)"
        assert np.allclose(page.locator("canvas.picture").evaluate(pixel), [90, 90, 90, 255], atol=6)
        drawn = "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v > 0)"
        assert page.locator("canvas.curves").evaluate(drawn)
