"""Moves the bytes of each probe between its socket and its conversation, and carries out the conversation's steps."""

import errno
import select
import socket
from collections.abc import Callable
from typing import Protocol

from lvs_healthd.probes.exchange import Farewell, Reconnect, Stays, Step, Target
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason, down
from lvs_healthd.probing.errnos import at_connect, from_network
from lvs_healthd.probing.firewall import CAUSED_BY_ICMP, own_refusal
from lvs_healthd.probing.flight import MAX_RECEIVED, Flight
from lvs_healthd.probing.sockets import Sockets

_STREAM = socket.SOCK_STREAM

_RECV_SIZE = 65536
_READS_PER_TURN = 16
"""How many times one socket is read before the others get their turn. That is up to 1 MiB."""

_OVER = (Outcome, Reconnect)
_LAST = (*_OVER, Farewell, Stays)
"""Steps after which a connection is used no more, and all steps that end the conversation on it. A union of types would
be built again at every use."""

_FAILED = select.EPOLLERR | select.EPOLLHUP
_READABLE = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_ENDING = select.EPOLLRDHUP | select.EPOLLHUP


class Finish(Protocol):
    """Ends a probe, or the connection that it had so far."""

    def __call__(
        self,
        flight: Flight,
        outcome: Outcome | Reconnect,
        *,
        in_good_order: bool = False,
        peer_may_close: bool = False,
        is_spent: bool = False,
    ) -> None:
        """Report the outcome, and end or reset the connection. The probe may go on over a new one.

        in_good_order: whether to end the connection in good order. Otherwise it is reset.
        peer_may_close: whether something was sent that may make the peer close first (see `Farewell`). Used only with
            `in_good_order`.
        is_spent: whether the socket must not serve another probe.
        """


class Serving:
    """Serves the sockets of the probes under way.

    clock: monotonic time, seconds.
    finish: ends a probe.
    stay: ends a probe whose connection may stay open.
    rest: ends a probe that had an ordinary answer over a connection that is kept.
    hear_idle: reads what has come over a kept connection, by its descriptor.
    come_back: calls `advance` again, after the other sockets' turns.
    """

    def __init__(
        self,
        sockets: Sockets,
        clock: Callable[[], float],
        *,
        finish: Finish,
        stay: Callable[[Flight, Stays], None],
        rest: Callable[[Flight, Outcome], None],
        hear_idle: Callable[[int], object],
        come_back: Callable[[Flight, int], None],
    ) -> None:
        self._sockets = sockets
        self._clock = clock
        self._finish = finish
        self._stay = stay
        self._rest = rest
        self._hear_idle = hear_idle
        self._come_back = come_back

    def advance(self, flight: Flight, mask: int) -> None:
        """Serve one socket that epoll reported."""
        if flight.run is None:
            return
        if not flight.connected:
            if mask & _FAILED and (number := flight.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                self.lose(flight, number)
                return
            if not mask & select.EPOLLOUT:
                return
            flight.connects(self._clock())
            step = flight.exchange.connected()
            if step is None:
                self._sockets.speak_last(flight.socket)
            elif self.obey(flight, step):
                self._hear_the_rest(flight, mask & _READABLE)
                return
        elif flight.pending and mask & select.EPOLLOUT and self.send(flight, flight.pending):
            return
        self.read(flight, flight.run.target, mask)

    def read(self, flight: Flight, target: Target, mask: int) -> None:
        """Read from a connected socket that epoll reported, if it did so because there is something to read."""
        if not mask & _READABLE:
            return
        is_stream = target.kind is _STREAM
        for _ in range(_READS_PER_TURN):
            try:
                data = flight.socket.recv(_RECV_SIZE)
            except BlockingIOError:
                return
            except InterruptedError:
                continue
            except OSError as error:
                failure = from_network(error.errno or errno.EINVAL, datagram=not is_stream)
                # A datagram socket may have more errors queued, which the next probe would take for its own.
                self._finish(flight, flight.exchange.failed(failure), is_spent=not is_stream)
                return
            # After a shortcut, what `hears` has noted of a first piece would be taken for the next probe's.
            kept = None if flight.received else flight.kept
            if kept is not None and len(data) < _RECV_SIZE and not (mask & _ENDING or flight.pending):
                outcome = kept.ordinary(data)
                if outcome is not None:
                    self._rest(flight, outcome)
                    return
            if is_stream and not data:
                step = flight.exchange.closed()
                is_up = isinstance(step, Outcome) and step.kind is OutcomeKind.UP
                self._finish(flight, step, in_good_order=is_up)
                return
            if self.obey(flight, flight.hears(data, self._clock)):
                self._hear_the_rest(flight, mask & _ENDING or len(data) == _RECV_SIZE)
                return
            if flight.received > MAX_RECEIVED:
                self._finish(flight, down(Reason.TOO_LARGE, f"more than {MAX_RECEIVED} bytes, and no end"))
                return
            # A short read has emptied a stream, and epoll will report what comes later. But if epoll has already
            # reported the end of the stream, it will not do so again, so read on until the end.
            if is_stream and len(data) < _RECV_SIZE and not mask & _ENDING:
                return
        # There is more to read, but epoll will not report it again. Come back after the other sockets' turns.
        self._come_back(flight, mask | select.EPOLLIN)

    def _hear_the_rest(self, flight: Flight, is_more: int) -> None:
        """Read what has come after the end of a probe, if its connection is kept: epoll will not report it again."""
        if is_more:
            self._hear_idle(flight.descriptor)

    def obey(self, flight: Flight, step: Step) -> bool:
        """Carry out a step of the conversation. Return True when that ended the probe."""
        if step is None:
            return False
        if isinstance(step, bytes):
            return self.send(flight, flight.pending + step)
        if isinstance(step, _OVER):
            self._finish(flight, step)
            return True
        if isinstance(step, Stays):
            self._stay(flight, step)
            return True
        # A farewell has few bytes. They are not kept if they do not fit into the socket's buffer at once.
        if not step.data or not self.send(flight, step.data):
            is_stream = flight.run is not None and flight.run.target.kind is socket.SOCK_STREAM
            self._finish(flight, step.outcome, in_good_order=is_stream, peer_may_close=step.peer_may_close)
        return True

    def send(self, flight: Flight, data: bytes) -> bool:
        """Send what fits now, and keep the rest for the next EPOLLOUT. Return True when an error ended the probe."""
        try:
            sent = flight.socket.send(data)
        except OSError as error:
            number = error.errno or errno.EINVAL
            if flight.run is not None and flight.run.target.kind is not socket.SOCK_STREAM:
                # A datagram cannot be sent later, so it is lost when our own buffer is full.
                address = flight.run.target.address[0]
                outcome = at_connect(errno.ENOBUFS if number == errno.EAGAIN else number, address)
                self._finish(flight, outcome, is_spent=True)
                return True
            if number != errno.EAGAIN:
                self.lose(flight, number)
                return True
            sent = 0
        flight.pending = data[sent:]
        return False

    def lose(self, flight: Flight, number: int) -> None:
        """End a probe whose connection has failed. First read what the peer sent before, because it may say why.

        number: the errno.
        """
        for _ in range(_READS_PER_TURN):
            try:
                data = flight.socket.recv(_RECV_SIZE)
            except OSError:
                break
            if not data:
                break
            step = flight.hears(data, self._clock)
            if isinstance(step, _LAST):
                self._finish(flight, step.outcome if isinstance(step, Farewell | Stays) else step)
                return
        outcome = None
        if not flight.connected and number in CAUSED_BY_ICMP and flight.run is not None:
            outcome = own_refusal(flight.run.target)
        self._finish(flight, flight.exchange.failed(outcome or from_network(number)))
