"""The thread that sends: takes from the buffer, encodes, hands over, and learns what was delivered."""

from __future__ import annotations

import logging
import threading
from collections import deque
from contextlib import suppress
from functools import partial
from time import monotonic, sleep

from observer.client.buffer import Buffer, Ledger, describe
from observer.client.items import Item
from observer.client.messages import Message, by_stream
from observer.client.plan import Plan, Signal
from observer.client.spill import Spill
from observer.client.transports import Connection, TooLarge

_log = logging.getLogger("observer.client")

_IN_FLIGHT_BYTES = 8 << 20
"""Handed to the transport and not confirmed, at most; beyond it events wait in the buffer."""
_POLL_SECONDS = 0.02  # between looks at what is under way
_BREATH = 20  # messages handed over before another thread may run
_ATTEMPTS = 10  # of a message that the brokers answer with an error
_BACKOFF = (0.2, 5.0)  # seconds before reconnecting, first and longest
_TELL_EVERY = 60.0
_LAST_SECONDS = 5.0  # for the thread to settle when its time is up, should the transport hang


class Sender:
    """The buffer, its account and the thread of one process."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.ledger = Ledger()
        self.buffer = Buffer(self.ledger, plan.buffer_bytes, plan.overflow)
        self.wake = Signal()
        self._thread: threading.Thread | None = None
        self._connection: Connection | None = None
        self._opening: threading.Thread | None = None
        self._opened: Connection | Exception | None = None
        self._outbox: deque[Message] = deque()
        self._retry: deque[Message] = deque()
        self._flying: dict[Message, None] = {}  # an ordered set
        self._flying_bytes = 0
        self._broken = False
        self._backoff = 0.0
        self._connect_at = 0.0
        self._spill: Spill | None = None
        self._flushing = 0
        self._stopping = False
        self._end = threading.Event()
        self._told: tuple[float, int] = (-_TELL_EVERY, 0)  # when, of how many dropped
        self._well: tuple[float, int] = (monotonic(), 0)  # when last, with how many delivered

    # Called from the model's threads.

    def put(self, item: Item) -> None:
        """Buffer an item; wakes or starts the thread where that is due."""
        with self.ledger.lock:
            if self._stopping:
                self.refuse("closed", item.rows, "the logger is closed")
                return
            rows = self.buffer.put(item)
        if self._thread is None:
            self.start()
        elif (rows >= self.plan.batch_rows or self.buffer.half_full) and not self.wake.is_set():
            self.wake.set()

    def refuse(self, reason: str, rows: int, error: object) -> None:
        """Count events that could not even be buffered."""
        with self.ledger.lock:
            self.ledger.logged += rows
            self.ledger.turn_away(reason, rows, error)

    def start(self) -> None:
        """Start the thread unless it runs."""
        with self.ledger.lock:
            if self._thread is None and not self._stopping:
                thread = threading.Thread(target=self._run, name="observer-client", daemon=True)
                self._thread = thread  # before it starts, for a signal handler may log meanwhile
                try:
                    thread.start()
                except RuntimeError:  # no more threads: the next event tries again
                    self._thread = None

    def flush(self, timeout: float) -> bool:
        """Wait until all that was logged before is delivered or dropped; False when time is up."""
        ledger = self.ledger
        with ledger.lock:
            target = ledger.taken
            if ledger.is_done(target):
                return True
            self._flushing += 1
        try:
            self.wake.set()
            with ledger.lock:
                return ledger.settled.wait_for(lambda: ledger.is_done(target), timeout)
        finally:
            with ledger.lock:
                self._flushing -= 1

    def close(self, timeout: float) -> None:
        """Flush, then end the thread; what is left goes to the disk or is counted as dropped."""
        with self.ledger.lock:
            if self._stopping:
                return
            self._stopping = True
        if self._thread is None:
            if self.ledger.buffered:  # no thread could be started
                self._open_spill()
                self._finish()
        else:
            until = monotonic() + timeout
            self.flush(timeout)
            self._end.set()
            self.wake.set()
            self._thread.join(max(_LAST_SECONDS, until - monotonic()))
        self._tell(last=True)

    def forget(self) -> None:
        """Of a forked child: leave what was the parent's to the parent."""
        self._stopping = True
        if self._spill is not None:
            with suppress(OSError):
                self._spill.forget()

    # Called from the thread.

    def _run(self) -> None:
        try:
            self._open_spill()
            due = monotonic() + self.plan.linger
            while not self._end.is_set():
                now = monotonic()
                self._step(now, everything=now >= due or self._flushing > 0)
                if now >= due:
                    due = now + self.plan.linger
                if self._connection is None or self._broken or self._flying_bytes >= _IN_FLIGHT_BYTES:
                    self._end.wait(_POLL_SECONDS)  # new events change nothing
                    continue
                busy = self._flying or self._retry or self._flushing
                self.wake.wait(_POLL_SECONDS if busy else self.plan.linger)
                self.wake.clear()
        except Exception as error:  # whatever it is must not reach the model, and must not go unheard
            _log.exception("the thread that sends events ended")
            with self.ledger.lock:
                self.ledger.last_error = describe(error)
        finally:
            self._stopping = True
            self._end.set()
            self._finish()

    def _step(self, now: float, *, everything: bool) -> None:
        if self._connection is None and now >= self._connect_at:
            self._connect(now)
        if self._connection is not None:
            self.ledger.fail(self._connection.poll())
            sent = 0
            while self._flying_bytes < _IN_FLIGHT_BYTES and not self._broken and not self._end.is_set():
                message = self._next(everything=everything)
                if message is None or not self._send(self._connection, message):
                    break
                if not self._outbox and not self._flushing:
                    everything = False  # what has come meanwhile is a batch of its own, later
                sent += 1
                if not sent % _BREATH:
                    sleep(0)
                    self.ledger.fail(self._connection.poll())
            if self._broken and not self._flying:
                self._disconnect(now)
        if self._spill is not None:
            self._relieve(self._spill)
        self._tell()

    def _connect(self, now: float) -> None:
        """Open a connection in a thread of its own: that may take seconds, in which the buffer fills."""
        if self._opening is None:
            self._opened = None
            self._opening = threading.Thread(target=self._open, name="observer-client-connect", daemon=True)
            self._opening.start()
            self._opening.join(_POLL_SECONDS)
        if self._opening.is_alive():
            return
        self._opening = None
        if isinstance(self._opened, Exception):
            self.ledger.fail(self._opened)
            self._wait_longer(now)
        else:
            self._connection, self._opened, self._broken = self._opened, None, False

    def _open(self) -> None:
        try:
            self._opened = connection = self.plan.transport.open()
        except Exception as error:  # of whatever library; the next attempt may succeed
            self._opened = error
        else:
            if self._end.is_set():  # nobody waits for it any more
                connection.close()

    def _disconnect(self, now: float) -> None:
        """Close a connection that failed; the messages it had are sent again by the next one."""
        with self.ledger.lock:
            connection, self._connection = self._connection, None
            self._retry.extend(self._flying)
            self._flying.clear()
            self._flying_bytes = 0
        if connection is not None:
            with suppress(Exception):
                connection.close()
        self._wait_longer(now)

    def _wait_longer(self, now: float) -> None:
        first, longest = _BACKOFF
        self._backoff = min(longest, max(first, self._backoff * 2))
        self._connect_at = now + self._backoff

    def _next(self, *, everything: bool) -> Message | None:
        """The next message to send: failed ones first, then encoded, then from disk, then from memory."""
        if self._retry:
            return self._retry.popleft()
        if not self._outbox and self._spill is not None and self._spill.waiting:
            self._load(self._spill)
        enough = everything or self.ledger.buffered >= self.plan.batch_rows or self.buffer.half_full
        if not self._outbox and enough:
            self._outbox.extend(self._encoded())
        return self._outbox.popleft() if self._outbox else None

    def _encoded(self) -> list[Message]:
        """Messages of the oldest items in memory."""
        items = self.buffer.take(self.plan.batch_rows)
        if not items:
            return []
        rows = sum(item.rows for item in items)
        refused = 0

        def refuse(reason: str, count: int, error: object) -> None:
            nonlocal refused
            refused += count
            self._drop(reason, count, error)

        try:
            return by_stream(items, self.plan.encode, self.plan.message_bytes, refuse)
        except Exception as error:  # a value nobody foresaw costs its batch, not the thread
            self._drop("invalid", rows - refused, error)
            return []

    def _drop(self, reason: str, rows: int, error: object) -> None:
        with self.ledger.lock:
            self.ledger.in_flight -= rows
            self.ledger.drop(reason, rows, error)

    def _send(self, connection: Connection, message: Message) -> bool:
        """Hand a message over; False when the transport takes no more for now."""
        with self.ledger.lock:
            self._flying[message] = None
            self._flying_bytes += len(message.value)
        done = partial(self._done, connection, message)
        problem: Exception | None = None
        try:
            if connection.send(self.plan.topics[message.stream], message.value, done):
                return True
        except TooLarge as error:
            done(error)
            return True
        except Exception as error:  # of whatever library
            problem = error
        with self.ledger.lock:
            if message in self._flying:
                del self._flying[message]
                self._flying_bytes -= len(message.value)
                self._retry.appendleft(message)
            if problem is not None:
                self._broken = True
                self.ledger.fail(problem)
        return False

    def _done(self, connection: Connection, message: Message, error: Exception | None) -> None:
        """What became of a message; called from any thread."""
        ledger = self.ledger
        with ledger.lock:
            if connection is not self._connection or message not in self._flying:
                return  # given up already
            del self._flying[message]
            self._flying_bytes -= len(message.value)
            message.attempts += 1
            if error is None:
                ledger.in_flight -= message.rows
                ledger.delivered += message.rows
                ledger.trouble = ""
                self._backoff = 0.0
                ledger.settled.notify_all()
            elif isinstance(error, TooLarge):
                self._drop("too_large", message.rows, error)
            elif message.attempts >= _ATTEMPTS:
                self._drop("refused", message.rows, error)
            else:
                self._retry.append(message)
                self._broken = True
                ledger.fail(error)
                return
        if message.segment is not None and self._spill is not None:
            self._spill.settle(message.segment)

    # The disk.

    def _open_spill(self) -> None:
        if self.plan.spill is None:
            return
        try:
            self._spill = Spill(self.plan.spill, self.plan.spill_bytes)
        except OSError as error:
            with self.ledger.lock:
                self.ledger.last_error = describe(error)
            return
        with self.ledger.lock:
            self.ledger.recovered = self.ledger.spilled = self._spill.rows

    def _load(self, spill: Spill) -> None:
        messages, lost = spill.take()
        rows = sum(one.rows for one in messages)
        with self.ledger.lock:
            self.ledger.spilled -= rows + lost
            self.ledger.in_flight += rows
            self.ledger.drop("disk", lost, "a file was damaged")
        self._outbox.extend(messages)

    def _relieve(self, spill: Spill) -> None:
        """Move the buffer to the disk while it is more than half full and nothing can be sent."""
        if self.buffer.half_full:
            while self.buffer.bytes * 4 > self.plan.buffer_bytes:
                self._store(spill, self._encoded())

    def _store(self, spill: Spill, messages: list[Message]) -> None:
        if not messages:
            return
        rows = sum(one.rows for one in messages)
        try:
            removed = spill.put(messages)
        except OSError as error:
            self._drop("disk", rows, error)
            return
        with self.ledger.lock:
            self.ledger.in_flight -= rows
            self.ledger.spilled += rows - removed
            self.ledger.drop("disk", removed, "the disk's share is full")

    def _finish(self) -> None:
        """Close the connection and settle the account."""
        if self._opened is not None and not isinstance(self._opened, Exception):
            with suppress(Exception):
                self._opened.close()
        with self.ledger.lock:
            connection, self._connection = self._connection, None
            unsent = (*self._flying, *self._retry, *self._outbox)
            left = [one for one in unsent if one.segment is None]
            loaded = [one for one in unsent if one.segment is not None]
            self._flying.clear()
            self._retry.clear()
            self._outbox.clear()
            rows = sum(one.rows for one in loaded)  # still on disk
            self.ledger.in_flight -= rows
            self.ledger.spilled += rows
        if connection is not None:
            with suppress(Exception):
                connection.close()
        spill = self._spill
        if spill is None:
            self._drop("shutdown", sum(one.rows for one in left), "the process ended")
        else:
            self._store(spill, left)
        while self.ledger.buffered:
            if spill is None:
                waiting = sum(item.rows for item in self.buffer.take(self.ledger.buffered))
                self._drop("shutdown", waiting, "the process ended")
            else:
                self._store(spill, self._encoded())
        if spill is not None:
            spill.close()
        with self.ledger.lock:
            self.ledger.settled.notify_all()

    def _tell(self, *, last: bool = False) -> None:
        """Log what was dropped, or that nothing arrives, at most once a minute."""
        (at, told), now, found = self._told, monotonic(), self.ledger.stats()
        total = sum(found.dropped.values())
        if not found.pending or found.delivered != self._well[1]:
            self._well = (now, found.delivered)
        if not last and now < at + _TELL_EVERY:
            return
        if total > told:
            self._told = (now, total)
            reasons = ", ".join(f"{reason} {rows}" for reason, rows in sorted(found.dropped.items()))
            _log.warning("%d events dropped so far: %s; last problem: %s", total, reasons, found.last_error)
        elif not last and (silent := now - self._well[0]) >= _TELL_EVERY + self.plan.linger:
            self._told = (now, total)
            waits, why = found.pending, found.last_error or "no answer"
            _log.warning("%d events wait, none delivered for %d s: %s", waits, silent, why)
