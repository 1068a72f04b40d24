"""Work beside the caller's: order, bounds, errors, stops."""

import threading
import time

import pytest

from emoca_core.reconstruction.saver import MOST_WAITING, Saver


def test_results_come_in_order_in_the_callers_thread_while_work_runs_elsewhere():
    reported, workers = [], set()

    def work(number):
        workers.add(threading.get_ident())
        time.sleep(0.02 * (number % 3 == 0))

    with Saver() as saver:
        for number in range(20):
            saver.submit(lambda n=number: work(n), lambda error, n=number: reported.append((n, threading.get_ident())))
    assert [number for number, _ in reported] == list(range(20))
    assert {thread for _, thread in reported} == {threading.get_ident()} and threading.get_ident() not in workers


def test_errors_are_reported_and_stop_nothing():
    reported = []
    with Saver() as saver:
        saver.submit(lambda: 1 / 0, reported.append)
        saver.submit(lambda: None, reported.append)
    assert isinstance(reported[0], ZeroDivisionError) and reported[1] is None


def test_little_is_unfinished_at_a_time():
    begin, most = threading.Event(), []
    unfinished = 0

    def done(error):
        nonlocal unfinished
        unfinished -= 1

    with Saver() as saver:
        for _ in range(3 * MOST_WAITING):
            unfinished += 1
            if unfinished == MOST_WAITING:
                begin.set()
            saver.submit(begin.wait, done)
            most.append(unfinished)
    assert max(most) < MOST_WAITING and unfinished == 0


def test_a_stop_lets_the_begun_end_and_drops_the_rest():
    begun, release, ended = threading.Event(), threading.Event(), []

    def work():
        begun.set()
        release.wait()
        ended.append(True)

    reported = []
    with pytest.raises(KeyboardInterrupt), Saver() as saver:
        for _ in range(MOST_WAITING - 1):
            saver.submit(work, reported.append)
        begun.wait()
        threading.Timer(0.1, release.set).start()
        raise KeyboardInterrupt
    assert 1 <= len(ended) < MOST_WAITING - 1 and reported == []


def test_what_stops_a_worker_stops_the_caller():
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Saver() as saver:
        saver.submit(stop, pytest.fail)
        saver.finish()
