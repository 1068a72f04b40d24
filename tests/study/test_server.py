"""The page's server: what it serves, what it refuses, and that no answer is lost whoever asks and however it ends."""

import os
import re
import signal
import socket
import threading
from collections import Counter

import pytest
from study_server import Browser, served, served_here

from emoca_core.cli import main
from emoca_core.study.design import STUDY, picture_path
from emoca_core.study.server import BODY_BYTES
from emoca_core.study.store import ANSWERS, Store
from emoca_core.study.texts import TEXTS


@pytest.fixture
def port(folder, study):
    with served_here(folder) as port:
        yield port


def test_from_consent_to_code(port, folder, study):
    anna = Browser(port)
    assert anna.ask("state") == (200, {"known": False, "full": False})
    _, now = anna.ask("begin", consent=True)
    assert (now["done"], now["total"]) == (0, 16)
    while now["trial"]:
        assert now["code"] is now["link"] is None
        if now["trial"]["kind"] != "catch":
            status, headers, body = anna.get(f"/pictures/{now['trial']['picture']}")
            assert (status, headers["content-type"]) == (200, "image/jpeg")
            assert body == picture_path(folder, now["trial"]["picture"]).read_bytes()
        _, now = anna.answer(now)
    assert re.fullmatch("[A-Z2-7]{8}", now["code"])
    assert anna.ask("state") == (200, now)


def test_one_code_and_a_link_for_all(folder, study):
    with served_here(folder, code="C123", link="https://platform.example/done?cc={code}") as port:
        anna = Browser(port)
        _, now = anna.ask("begin", consent=True)
        while now["trial"]:
            _, now = anna.answer(now)
        assert (now["code"], now["link"]) == ("C123", "https://platform.example/done?cc=C123")


def test_only_what_belongs_to_the_page_is_served(port, folder, study):
    anna = Browser(port)
    for path in ("/", "/study.js", "/study.css", "/texts.json", f"/pictures/{study.stimuli[0].id}"):
        assert anna.get(path)[0] == 200, path
    (folder.parent / "secret.jpg").write_bytes(b"secret")
    hidden = [STUDY, ANSWERS, TEXTS, "pictures", f"pictures/{study.stimuli[0].id}.jpg", "../secret.jpg"]
    hidden += [
        "pictures/../study.json",
        "pictures/%2e%2e%2fstudy.json",
        "pictures/..%2f..%2fsecret",
        "pictures/",
        "api",
    ]
    hidden += ["pictures/%00", "pictures/" + "a" * 24, "//etc/passwd", "pictures/..\\study", "docs", "openapi.json"]
    for path in hidden:
        status, _, body = anna.get(f"/{path}")
        assert status == 404, path
        assert b"emoca" not in body and b"secret" not in body
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "POST"):
        anna.connection.request(method, "/")
        assert anna._answer()[0] == 405, method


def test_headers_hold_the_browser_to_this_page(port):
    for path in ("/", "/nothing", "/api/state"):
        _, headers, _ = Browser(port).get(path)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers
    _, _, page = Browser(port).get("/")
    assert b"<script>" not in page and b"style=" not in page and b"http" not in page.replace(b"utf-8", b"")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:8700"}, 403),
        ({"Host": "localhost.evil.example"}, 403),
        ({"Host": "[::1"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "localhost", "Origin": "http://evil.example"}, 403),
        ({"Host": "localhost", "Origin": "null"}, 403),
        ({"Host": "localhost", "Origin": "http://localhost"}, 200),
        ({"Host": "127.0.0.1:9", "Origin": "https://127.0.0.1:9"}, 200),
    ],
)
def test_pages_of_other_sites_are_refused(port, headers, status):
    assert Browser(port).post("/api/state", {"participant": "anna"}, **headers)[0] == status


def test_a_proxy_may_give_it_a_name(folder, study):
    with served_here(folder, names=("Study.Lab.example",)) as port:
        assert Browser(port).get("/", Host="study.lab.example")[0] == 200
        assert Browser(port).get("/", Host="lab.example")[0] == 403


@pytest.mark.parametrize(
    ("question", "body", "status"),
    [
        ("begin", {"participant": "anna"}, 400),
        ("begin", {"participant": "anna", "consent": False}, 400),
        ("begin", {"participant": "anna", "consent": "true"}, 400),
        ("begin", {"participant": "", "consent": True}, 400),
        ("begin", {"participant": "a" * 129, "consent": True}, 400),
        ("begin", {"participant": "machine:open_emotion", "consent": True}, 400),
        ("begin", {"participant": "anna\n", "consent": True}, 400),
        ("begin", {"participant": "anna", "consent": True, "kind": "machine"}, 400),
        ("begin", b"no json", 400),
        ("begin", b"[" * 1500, 400),
        ("begin", b"\xff\xfe", 400),
        ("state", {"participant": ["anna"]}, 400),
        ("answer", {"participant": "known", "trial": 0, "label": "happy", "milliseconds": -1}, 400),
        ("answer", {"participant": "known", "trial": 0, "label": "happy", "milliseconds": 10**12}, 400),
        ("answer", {"participant": "known", "trial": 0.5, "label": "happy", "milliseconds": 1}, 400),
        ("answer", {"participant": "known", "trial": "0", "label": "happy", "milliseconds": 1}, 400),
        ("answer", {"participant": "known", "trial": 10**30, "label": "happy", "milliseconds": 1}, 400),
        ("answer", {"participant": "known", "trial": 1, "label": "happy", "milliseconds": 1}, 409),
        ("answer", {"participant": "known", "trial": 0, "label": "joy", "milliseconds": 1}, 409),
        ("answer", {"participant": "known", "trial": 0, "label": "'; DROP TABLE trials; --", "milliseconds": 1}, 409),
        ("answer", {"participant": "nobody", "trial": 0, "label": "happy", "milliseconds": 1}, 404),
    ],
)
def test_what_nobody_could_have_answered_is_refused(port, folder, study, question, body, status):
    known = Browser(port, "known")
    known.ask("begin", consent=True)
    found, _, content = known.post(f"/api/{question}", body)
    assert found == status
    assert b"anna" not in content and b"DROP" not in content  # nothing is sent back
    with Store.open(folder, study) as store:
        assert store.answers() == []
        assert [one.name for one in store.participants()] == ["known"]


def test_forms_of_other_sites_cannot_post(port):
    anna = Browser(port)
    body = {"participant": "anna", "consent": True}
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        assert anna.post("/api/begin", body, **{"Content-Type": kind})[0] == 415


def test_requests_are_bounded(port):
    anna = Browser(port)
    assert anna.post("/api/state", b" " * BODY_BYTES + b"x")[0] == 413
    with socket.create_connection(("127.0.0.1", port), timeout=30) as endless:  # headers without an end
        endless.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000)
        assert endless.recv(64).startswith(b"HTTP/1.1 400")
    with socket.create_connection(("127.0.0.1", port), timeout=30) as endless:  # a body without an end
        endless.sendall(
            b"POST /api/state HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + (b"400\r\n" + b"x" * 1024 + b"\r\n") * 8
        )
        assert endless.recv(64).startswith(b"HTTP/1.1 413")


def test_an_answer_sent_twice_counts_once_as_at_first(port, folder, study):
    anna = Browser(port)
    _, start = anna.ask("begin", consent=True)
    first = anna.answer(start, "happy")
    assert anna.answer(start, "sad") == first
    with Store.open(folder, study) as store:
        assert [one.answer for one in store.answers()] == ["happy"]


def test_when_enough_people_take_part_others_are_told(folder, study):
    with served_here(folder, most=1) as port:
        assert Browser(port).ask("begin", consent=True)[0] == 200
        assert Browser(port, "bert").ask("state") == (200, {"known": False, "full": True})
        assert Browser(port, "bert").ask("begin", consent=True)[0] == 403
        assert Browser(port).ask("state")[1]["known"]


def test_a_server_killed_between_two_clicks_loses_no_answer(folder, study):
    """kill -9 after every answer that was confirmed; a new server goes on with the same session."""
    given, now = [], None
    for _ in range(4):
        with served(folder) as (port, process):
            anna = Browser(port)
            _, now = anna.ask("begin", consent=True)
            assert now["done"] == len(given)
            label = now["choices"][len(given) % 4]
            status, after = anna.answer(now, label)
            assert (status, after["done"]) == (200, len(given) + 1)
            given.append(label)
            os.kill(process.pid, signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
    with Store.open(folder, study) as store:
        assert [one.answer for one in store.answers()] == given


def take_part(port, name, ends):
    """One participant of many: answers everything, and sends every third answer twice."""
    browser = Browser(port, name)
    _, now = browser.ask("begin", consent=True)
    while now["trial"]:
        for _ in range(2 if now["done"] % 3 == 0 else 1):
            status, after = browser.answer(now, now["choices"][(hash(name) + now["done"]) % 4])
            assert status == 200, after
        now = after
    ends[name] = now["code"]


def check_crowd(folder, study, people):
    ends = {}
    with served_here(folder) as port:
        crowd = [threading.Thread(target=take_part, args=(port, f"p{n}", ends)) for n in range(people)]
        for one in crowd:
            one.start()
        for one in crowd:
            one.join()
    assert len(ends) == people
    assert len(set(ends.values())) == people
    with Store.open(folder, study) as store:
        counts = Counter(one.participant for one in store.answers())
        assert set(counts.values()) == {16}
        assert len(counts) == people
        names = {one.number: one.name for one in store.participants()}
        for one in store.answers():
            choices = store.progress(names[one.participant]).choices
            assert one.answer == choices[(hash(names[one.participant]) + one.position) % 4]


def test_twenty_people_at_once_lose_no_answer(folder, study):
    check_crowd(folder, study, 20)


@pytest.mark.slow
def test_two_hundred_people_at_once_lose_no_answer(folder, study):
    check_crowd(folder, study, 200)


def test_ctrl_c_ends_it(folder, study):
    with served(folder) as (_, process):
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


# bad input: one line


def refused(capsys, *arguments):
    assert main(["study", *map(str, arguments)]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1, err
    return err


def test_a_port_in_use(folder, study, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in refused(capsys, "serve", folder, "--port", port)
    assert "cannot listen on no.such.host" in refused(capsys, "serve", folder, "--host", "no.such.host")


def test_a_link_that_is_none(folder, study, capsys):
    assert "must begin with https://" in refused(capsys, "serve", folder, "--link", "javascript:alert(1)")


def test_what_is_no_study(tmp_path, folder, study, capsys):
    assert "is no study" in refused(capsys, "serve", tmp_path / "nothing")
    (folder / STUDY).write_text((folder / STUDY).read_text().replace("emoca-study-1", "emoca-study-9"))
    assert "damaged, or of another kind" in refused(capsys, "serve", folder)
    (folder / STUDY).write_text("{")
    assert "damaged, or of another kind" in refused(capsys, "results", folder, "--out", tmp_path / "r")


def test_pictures_that_are_gone_or_changed(folder, study, capsys):
    first, second = (picture_path(folder, one.id) for one in study.stimuli[:2])
    first.write_bytes(second.read_bytes())
    assert f"{first}: this is not the picture" in refused(capsys, "serve", folder)
    first.unlink()
    assert f"{first}: No such file" in refused(capsys, "serve", folder)


def test_texts_that_lack_something(folder, study, capsys):
    text = (folder / TEXTS).read_text()
    (folder / TEXTS).write_text(text.replace("question:", "questoin:"))
    err = refused(capsys, "serve", folder)
    assert "question: Field required" in err and "Did you mean 'question'" in err
    (folder / TEXTS).write_text(text.replace("{done} of {total}", "{done}"))
    assert "'progress' must hold {total}" in refused(capsys, "serve", folder)
    (folder / TEXTS).write_text(text.replace("  happy: Happy\n", ""))
    assert "under 'labels' there is nothing for happy" in refused(capsys, "serve", folder)
