"""What our own processes say to each other, what programs print, and the bytes of certificates, to begin with."""

import datetime as dt
import time
from typing import Any

import msgspec
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from lvs_healthd import __version__
from lvs_healthd.config.basics import Endpoint
from lvs_healthd.config.check_model import Convention, ExecCheck, MonNames, Per
from lvs_healthd.probes.certificate import read_end
from lvs_healthd.probes.outcome import Course, Reason, down, up
from lvs_healthd.probing.workers.framing import Frames, GarbledFrameError, frame
from lvs_healthd.probing.workers.place import Place
from lvs_healthd.probing.workers.protocol import MOST_BYTES, Fault, Hello, Report, Text, encoded, record, said
from lvs_healthd.programs.messages import Finished, GarbledMessageError, NotRun, Request, Started, line, request
from tests.fuzz.control import Control, pieces, repeating, with_control
from tests.fuzz.conversation import BrokenRuleError, Stopwatch
from tests.fuzz.subject import Run, Subject, conversations, seeded

# ---- programs --------------------------------------------------------------------------------------------------------

_SERVERS = (Endpoint("192.0.2.1", 80), Endpoint("192.0.2.2", 80), Endpoint("2001:db8::3", 443))
_PLACE: dict[str, Any] = {
    "name": "exec",
    "address": "192.0.2.1",
    "port": 80,
    "helper": "/run/exec.sock",
    "command": ("/bin/check", "-v"),
}
_MON = MonNames(group="web", service="http")
_PROGRAMS = (
    ExecCheck(**_PLACE, convention=Convention.MON, mon=_MON),
    ExecCheck(**_PLACE, convention=Convention.MON, mon=_MON, per=Per.GROUP, servers=_SERVERS),
    ExecCheck(**_PLACE, convention=Convention.NAGIOS),
    ExecCheck(**_PLACE, convention=Convention.KEEPALIVED, dynamic_weight=True),
)
_PRINTED = (
    *(
        b"192.0.2.1 192.0.2.2\n192.0.2.1: connection refused\n",
        b"web@192.0.2.2:8080, [2001:db8::3] (slow)\ndetail",
        b"",
    ),
    *(
        b"OK - 3 ms|time=3ms;;;\n",
        b"\n\n192.0.2.1",
        b"2001:0DB8:0::3. 192.000.002.001\n\0\x1b[31m",
        b"\xff\xfe\xe2\x80\xa8",
    ),
    *(b"192.0.2.2 is down\n" * 40, b"((((" * 99),
)
_HEAVY_PRINTED = tuple(
    repeating(b"", part, variant=variant, manner=1)
    for variant in range(4)
    for part in (b"(", b"1:a ", b"a@::1,", b"192.0.2.1 x\n", b"\n", b"[1 ", b"|", b"\xff")
)
_PRINTED_WORDS = (
    b"192.0.2.1",
    b"[2001:db8::3]:443",
    b"@",
    b"(",
    b")",
    b"\n",
    b"|",
    b",;",
    b":80",
    b"\0",
    b"::ffff:192.0.2.1",
)
_ANSWERS = (
    line(Started()) + line(Finished(status=0, output="well")),
    line(Started()) + line(Finished(status=1, output="192.0.2.1\n", timed_out=True)),
    line(Started()) + line(Finished(status=-9, output="")),
    *(line(NotRun("cannot run /x: no such file")), line(Started()) * 9, b"{}\n", b'{"type":"finished","status":1}\n'),
)
_REQUESTS = (
    line(Request(("/bin/true", "x"), {"PATH": "/bin"}, 2.5)),
    line(Request(("/bin/true",), {}, 1, ("MON_LOGDIR",))),
    *(b"[]\n", b'{"argv":["/x"],"environment":{"a":1},"timeout_s":"x"}\n'),
)
_HEAVY_ANSWERS = (repeating(b"", line(Started())), repeating(b'{"type":"started","x":', b"["), repeating(b"", b" "))
_JSON_WORDS = (
    *(
        b'{"type":"started"}\n',
        b'{"type":"finished","status":',
        b'"output":"',
        b'"timed_out":true',
        b'{"type":"not_run"',
    ),
    *(
        b'"why":"',
        b"\\ud800",
        b"\\u0000",
        b"[[[[",
        b'{"a":',
        b"1e999",
        b"18446744073709551616",
        b"\xff",
        b"}\n",
        b"null",
    ),
    *(b'"argv":["/x"]', b'"environment":{', b'"timeout_s":', b'"folders":['),
)


def _finished(_asked: bytes, printed: bytes, control: Control) -> bytes:
    """Let a program end that has printed this. Its exit status comes from the control."""
    status = control.manner - 256 if control.manner >= 0xF0 else control.manner % 8
    output = printed.decode("utf-8", "replace")
    return line(Started()) + line(Finished(status=status, output=output, timed_out=control.length == 0xFF))


def _asked_for(data: bytes, _control: Control, watch: Stopwatch) -> None:
    try:
        watch.call(request, data)
    except GarbledMessageError:
        return


# ---- workers ---------------------------------------------------------------------------------------------------------


class _Sink:
    """Takes the outcomes of a probe."""

    def outcome(self, _outcome: object, course: Course) -> None:
        """Write the course as the metrics and the status do."""
        msgspec.json.encode(course)


def _reported() -> Run:
    sink = _Sink()

    def run(data: bytes, control: Control, watch: Stopwatch) -> None:
        place = Place(0, lambda _report: None, time.monotonic, lambda _event: None, ())
        place._sinks = dict.fromkeys(range(8), sink.outcome)
        frames = Frames(MOST_BYTES)

        def receive(piece: bytes) -> None:
            for payload in frames.feed(piece):
                message = said(payload)
                if isinstance(message, Report):
                    place._take(message)

        try:
            for piece in pieces(_in_frames(data, control), control):
                watch.call(receive, piece)
        except GarbledFrameError:
            return

    return run


def _in_frames(data: bytes, control: Control) -> bytes:
    """Put a message into a frame if the control wants it, so that changes in it leave the length right."""
    return frame(data) if control.manner & 1 else data


_REPORT = Report(
    texts=(Text(0, up("status 200")), Text(1, down(Reason.BAD_ANSWER, "bad"))),
    records=record(1, 0, Course(0.1, 0.01, None, 0.05), 1.0) + record(2, 1, Course(0.2), 2.0),
    heard=((1, '"oops"'),),
    forget=1,
    lags=bytes(8),
    loop_lags=bytes(4),
    skipped=1,
    in_flight=2,
    waiting=3,
)
_SAID = (encoded(Hello(__version__)), encoded(_REPORT), encoded(Report()), encoded(Fault("KeyError('x')")))
_HEAVY_SAID = (
    with_control(encoded(Report(records=_REPORT.records[:36] * 512, texts=_REPORT.texts)), manner=1),
    with_control(encoded(Report(heard=((0, ""),) * 10000)), manner=1),
    repeating(b"", frame(encoded(Report()))),
    repeating(b"\x82\xa4type\xa6report\xa1x", b"\x91", manner=1),
)
_SAID_WORDS = (
    *(
        b"\xa4type\xa6report",
        b"\xa4type\xa5hello",
        b"\xa7records",
        b"\xa5heard",
        b"\xa6forget",
        b"\xa5texts",
        b"\xa4lags",
    ),
    *(
        b"\x91\x91\x91\x91",
        b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc4\x20",
        b"\xa1\xff",
        b"\xc7",
    ),
)


# ---- certificates ----------------------------------------------------------------------------------------------------


def _certificates() -> tuple[bytes, ...]:
    authority = trustme.CA()
    ends = (None, dt.datetime(2049, 12, 31, tzinfo=dt.UTC), dt.datetime(2050, 1, 1, tzinfo=dt.UTC))
    made = [authority.issue_cert("web.example", not_after=end).cert_chain_pems[0].bytes() for end in ends]
    encoding = serialization.Encoding.DER
    return tuple(x509.load_pem_x509_certificate(pem).public_bytes(encoding) for pem in made)


def _read(data: bytes, _control: Control, watch: Stopwatch) -> None:
    end = watch.call(read_end, data)
    if end is not None and not isinstance(end, float):
        raise BrokenRuleError(f"a certificate ends {end!r}")


_DER_WORDS = (
    b"\x30\x82",
    b"\xa0\x03\x02\x01\x02",
    b"\x17\x0d491231235959Z",
    b"\x18\x0f20500101000000Z",
    b"\x84\xff\xff\xff\xff",
)


def subjects() -> tuple[Subject, ...]:
    """Return what is fuzzed here. It makes certificates, which takes a moment."""
    programs = ("probes/programs.py", "probes/mon.py", "programs/messages.py")
    workers = ("probing/workers/protocol.py", "probing/workers/framing.py")
    return (
        Subject(
            *("exec-answers", programs, conversations(_PROGRAMS)),
            *(seeded(_ANSWERS, len(_PROGRAMS)), _JSON_WORDS, _HEAVY_ANSWERS),
        ),
        Subject(
            *("exec-output", programs, conversations(_PROGRAMS, _finished)),
            *(seeded(_PRINTED, len(_PROGRAMS), manner=1) + seeded(_PRINTED, 2), _PRINTED_WORDS, _HEAVY_PRINTED),
        ),
        Subject(
            "exec-requests", ("programs/messages.py",), _asked_for, seeded(_REQUESTS), _JSON_WORDS, _HEAVY_ANSWERS[1:]
        ),
        Subject(
            *("worker-frames", workers, _reported()),
            *(seeded(_SAID, manner=1) + seeded(map(frame, _SAID)), _SAID_WORDS, _HEAVY_SAID),
        ),
        Subject("certificate", ("probes/certificate.py",), _read, seeded(_certificates()), _DER_WORDS),
    )
