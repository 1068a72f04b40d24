"""The page in a real browser: from consent to code, with keys, by touch, through reloads, pauses and a lost server."""

import re
import subprocess
import sys

import pytest
from browser import browser_page
from square_study import make_squares
from study_server import served, served_here

from emoca_core.study.store import Store

PHONE = {"viewport": {"width": 360, "height": 640}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}


def wait_for_trial(page, number):
    page.locator(f"body[data-shown='{number}'] #trial").wait_for()


def go(page):
    page.locator("#go").click()


def agree(page, port, query="?participant=anna"):
    page.goto(f"http://127.0.0.1:{port}/{query}")
    page.get_by_text("Taking part in this study").wait_for()
    go(page)
    page.get_by_text("What to do").wait_for()
    go(page)


def choose(page, number, press):
    """Answer the trial of a number as it asks, or with the second choice; returns what was chosen."""
    wait_for_trial(page, number)
    buttons = page.locator("#choices button")
    told = re.search("“(.+)”", page.locator("#text").inner_text())
    names = [name.split("\n")[-1] for name in buttons.all_inner_texts()]
    place = names.index(told[1]) if told else 1
    press(page, place)
    return names[place].lower()


def by_key(page, place):
    page.keyboard.press(str(place + 1))


def by_touch(page, place):
    page.locator("#choices button").nth(place).tap()


def test_from_consent_to_code_with_keys_and_a_reload(folder, study):
    with served_here(folder) as port, browser_page(viewport={"width": 1200, "height": 800}) as page:
        agree(page, port)
        chosen = [choose(page, number, by_key) for number in range(2)]
        page.get_by_text("That was the practice").wait_for()
        page.keyboard.press("3")  # answers nothing
        go(page)
        chosen += [choose(page, number, by_key) for number in range(2, 7)]
        wait_for_trial(page, 7)
        assert page.locator("#count").inner_text() == "7 of 16"
        page.reload()
        page.get_by_text("Welcome back").wait_for()
        page.keyboard.press("Enter")
        chosen += [choose(page, number, by_key) for number in range(7, 16)]
        code = page.locator("#code output")
        code.wait_for()
        shown = code.inner_text()
        page.reload()
        code.wait_for()
        assert code.inner_text() == shown
    with Store.open(folder, study) as store:
        assert store.progress("anna").code == shown
        assert [one.answer for one in store.answers()] == chosen
        assert all(one.answer == one.trial.expected for one in store.answers() if one.trial.kind == "catch")
        assert all(0 < one.milliseconds < 60_000 for one in store.answers())


def test_by_touch_on_a_phone_everything_is_in_sight(folder):
    study = make_squares(
        folder, choices=("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
    )
    with served_here(folder) as port, browser_page(**PHONE) as page:
        agree(page, port, "?PROLIFIC_PID=5f0c&STUDY_ID=x")
        choose(page, 0, by_touch)
        wait_for_trial(page, 1)
        boxes = [one.bounding_box() for one in page.locator("#choices button").all()]
        assert len(boxes) == 8
        for box in [*boxes, page.locator("figure img").bounding_box(), page.locator("#pause").bounding_box()]:
            assert box["x"] >= 0 and box["y"] >= 0
            assert box["x"] + box["width"] <= 360 and box["y"] + box["height"] <= 640
        assert all(box["height"] >= 40 and box["width"] >= 100 for box in boxes)  # as large as a finger
        assert page.locator("figure img").bounding_box()["width"] > 200
        choose(page, 1, by_touch)
        page.get_by_text("That was the practice").wait_for()
    with Store.open(folder, study) as store:
        assert [one.name for one in store.participants()] == ["5f0c"]
        assert len(store.answers()) == 2


def test_whoever_does_not_agree_leaves_nothing(folder, study):
    with served_here(folder) as port, browser_page() as page:
        page.goto(f"http://127.0.0.1:{port}/?workerId=A1")
        page.locator("#decline").click()
        page.get_by_text("nothing was stored").wait_for()
        assert page.locator("#go").is_hidden()
    with Store.open(folder, study) as store:
        assert store.participants() == []


def test_without_a_number_in_the_link_a_reload_goes_on_as_well(folder, study):
    with served_here(folder) as port, browser_page() as page:
        agree(page, port, "")
        choose(page, 0, by_key)
        wait_for_trial(page, 1)
        page.reload()
        page.get_by_text("Welcome back").wait_for()
        assert re.search(r"\?participant=[0-9a-f]{24}$", page.url)


def test_a_pause_hides_the_picture_and_its_time_does_not_count(folder, study):
    with served_here(folder) as port, browser_page() as page:
        agree(page, port)
        wait_for_trial(page, 0)
        page.locator("#pause").click()
        page.get_by_text("Take your time").wait_for()
        assert page.locator("figure img").is_hidden()
        page.keyboard.press("1")
        page.wait_for_timeout(1500)
        go(page)
        choose(page, 0, by_key)
        wait_for_trial(page, 1)
    with Store.open(folder, study) as store:
        (answer,) = store.answers()
        assert answer.milliseconds < 1500


def test_two_presses_at_once_are_one_answer(folder, study):
    with served_here(folder) as port, browser_page() as page:
        agree(page, port)
        wait_for_trial(page, 0)
        page.evaluate(
            "for (const key of ['1', '2', '3']) document.dispatchEvent(new KeyboardEvent('keydown', {key}));"
            "document.dispatchEvent(new KeyboardEvent('keydown', {key: '9'}));"
        )
        wait_for_trial(page, 1)
    with Store.open(folder, study) as store:
        assert len(store.answers()) == 1


def test_a_server_that_dies_between_two_clicks_is_waited_for(folder, study):
    """Killed with the page open: the page keeps the answer, says so, and goes on with a new server at the same port."""
    with browser_page() as page:
        with served(folder) as (port, process):
            agree(page, port)
            first = choose(page, 0, by_key)
            wait_for_trial(page, 1)
            process.kill()
            process.wait()
            second = choose(page, 1, by_key)
            page.get_by_text("The connection is interrupted").wait_for()
        command = [sys.executable, "-m", "emoca_core", "study", "serve", str(folder), "--port", str(port)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as again:
            page.get_by_text("That was the practice").wait_for()
            assert page.locator("#trouble").is_hidden()
            again.kill()
    with Store.open(folder, study) as store:
        assert [one.answer for one in store.answers()] == [first, second]


@pytest.mark.parametrize("query", ["?participant=a%20b", "?participant=%3Cscript%3Ealert(1)%3C/script%3E"])
def test_a_broken_link_is_said_so(folder, study, query):
    with served_here(folder) as port, browser_page() as page:
        page.goto(f"http://127.0.0.1:{port}/{query}")
        page.get_by_text("This link does not work").wait_for()


def test_texts_are_shown_as_texts(folder, study):
    text = (folder / "texts.yaml").read_text()
    (folder / "texts.yaml").write_text(text.replace("What to do", "<img src=x onerror=alert(1)>"))
    with served_here(folder) as port, browser_page() as page:
        page.goto(f"http://127.0.0.1:{port}/?participant=anna")
        page.get_by_text("Taking part in this study").wait_for()
        go(page)
        page.get_by_text("<img src=x").wait_for()


def test_when_enough_people_take_part_the_page_says_so(folder, study):
    with Store.open(folder, study) as store:
        store.begin("bert")
    with served_here(folder, most=1) as port, browser_page() as page:
        page.goto(f"http://127.0.0.1:{port}/?participant=anna")
        page.get_by_text("all the participants that it needs").wait_for()
