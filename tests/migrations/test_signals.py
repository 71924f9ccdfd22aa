"""Interruptions by signals, in one process: its handlers are called, no signal is sent."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from time import monotonic, sleep
from typing import Any
from weakref import finalize

import pytest

from tenantkit.cancellation import SIGNALS, Cancellation, current, exit_in_order, handling
from tests.support.processes import until


def send(number: int) -> None:
    """Call the handler of a signal, as Python does when it has got the signal."""
    handler: Any = signal.getsignal(number)
    handler(number, None)


def test_a_signal_is_deferred_where_interruptions_are_not_allowed() -> None:
    with pytest.raises(KeyboardInterrupt), handling() as cancellation:
        with cancellation.deferred():
            send(signal.SIGINT)
            reached = True
        pytest.fail("the end of the block raises")
    assert reached


def test_a_signal_interrupts_at_once_where_interruptions_are_allowed() -> None:
    with handling() as cancellation:
        with pytest.raises(KeyboardInterrupt), cancellation.interruptible():
            send(signal.SIGINT)
            pytest.fail("the handler raises")
        with cancellation.cancelling(Event().set):  # cleanup is not interrupted
            assert cancellation.is_requested
        for wait in (cancellation.check, lambda: cancellation.sleep(60), cancellation.hold):
            with pytest.raises(KeyboardInterrupt):
                wait()
        with pytest.raises(KeyboardInterrupt), cancellation.interruptible():
            pytest.fail("what begins after it raises")


def _raise_keyboard_interrupt() -> None:
    raise KeyboardInterrupt


def test_an_interruption_that_python_ignores_is_not_printed_and_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: reported.append(unraisable.exc_value))
    with pytest.raises(KeyboardInterrupt), handling() as cancellation, cancellation.interruptible():
        finalize(garbage := Event(), send, signal.SIGINT)
        del garbage
        finalize(garbage := Event(), int, "x")
        del garbage
        assert cancellation.is_requested
        cancellation.check()
    with handling():
        finalize(garbage := Event(), _raise_keyboard_interrupt)  # no signal has requested it
        del garbage
    assert KeyboardInterrupt in {type(error) for error in reported}
    reported[:] = [error for error in reported if not isinstance(error, KeyboardInterrupt)]
    assert [type(error) for error in reported] == [ValueError]
    assert sys.unraisablehook.__name__ == "<lambda>"


def test_finished_work_is_not_interrupted() -> None:
    with handling() as cancellation:
        with cancellation.interruptible():
            cancellation.hold()
            send(signal.SIGINT)
            cancellation.check_unless_deferred()
        assert cancellation.is_requested


def test_code_that_cleans_up_after_a_signal_is_not_interrupted_by_its_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    monkeypatch.setattr("os.kill", lambda _, number: killed.append(number))
    with handling() as cancellation:
        with pytest.raises(KeyboardInterrupt), cancellation.interruptible():
            try:
                send(signal.SIGINT)
            finally:
                send(signal.SIGTERM)  # within the same moment
                cancellation.check_unless_deferred()
                cancellation.request(signal.SIGHUP)
                is_clean = True
        assert (is_clean, cancellation.number, killed) == (True, signal.SIGINT, [])
        cancellation._requested_at -= 1
        send(signal.SIGTERM)
        assert killed == [signal.SIGTERM]
        signal.signal(signal.SIGTERM, cancellation.handle)  # which a second signal resets


def test_an_error_in_a_deferred_block_is_not_replaced_by_the_interruption() -> None:
    with handling() as cancellation:
        with pytest.raises(ValueError, match="own"), cancellation.deferred():
            send(signal.SIGINT)
            raise ValueError("own")
        assert cancellation.is_requested


def test_after_a_block_signals_are_permitted_as_before() -> None:
    with handling() as cancellation:
        with cancellation.interruptible():
            with cancellation.deferred():
                pass
            with cancellation.interruptible():
                cancellation.hold()
            with pytest.raises(KeyboardInterrupt):
                send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt), cancellation.interruptible():
            pytest.fail("the block does not begin")
        cancellation.check_unless_deferred()
    assert cancellation.is_requested


def test_ended_work_is_not_cancelled() -> None:
    cancelled: list[str] = []
    with handling() as cancellation:
        with cancellation.cancelling(lambda: cancelled.append("ended")):
            pass
        with cancellation.cancelling(lambda: cancelled.append("running")):
            send(signal.SIGINT)
            until(lambda: cancelled)
    with cancellation.cancelling(lambda: cancelled.append("later")):
        sleep(0.5)
    assert set(cancelled) == {"running"}


def test_running_work_is_cancelled_until_it_has_ended() -> None:
    cancelled: list[float] = []

    def cancel() -> None:
        cancelled.append(monotonic())
        raise OSError

    with handling() as cancellation, cancellation.cancelling(cancel):
        send(signal.SIGTERM)
        until(lambda: len(cancelled) >= 3)


def test_a_sleeping_thread_is_woken() -> None:
    with handling() as cancellation, ThreadPoolExecutor() as threads:
        sleeping = threads.submit(cancellation.sleep, 600)
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            sleeping.result()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_other_signals_than_ctrl_c_exit_with_their_code(number: int, code: int) -> None:
    with pytest.raises(SystemExit) as exit_, handling() as cancellation, cancellation.interruptible():
        send(number)
    assert exit_.value.code == code


def test_handlers_are_restored() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with handling() as cancellation:
        assert [signal.getsignal(number) for number in SIGNALS] == [cancellation.handle] * 3
        with handling() as nested:
            assert nested is cancellation is current()
        assert current() is cancellation
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert not current().is_requested


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_a_signal_that_the_application_ignores_or_handles_is_left_to_it(handler: Any) -> None:
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with handling():
            assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_other_threads_there_are_no_signals() -> None:
    def enter() -> Cancellation:
        with handling() as cancellation:
            return cancellation

    with handling() as ours, ThreadPoolExecutor() as threads:
        send(signal.SIGINT)
        theirs = threads.submit(enter).result()
        assert ours.is_requested
        assert not theirs.is_requested


def test_an_exit_in_order_is_not_interrupted_by_a_second_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    handled: list[tuple[int, Any]] = []
    set_handler: Callable[[int, Any], None] = lambda number, handler: handled.append((number, handler))  # noqa: E731
    monkeypatch.setattr(signal, "signal", set_handler)
    with pytest.raises(SystemExit) as exit_:
        exit_in_order(signal.SIGTERM, None)
    assert exit_.value.code == 143
    assert handled == [(signal.SIGTERM, signal.SIG_IGN)]
