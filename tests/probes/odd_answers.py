"""Odd answers to an HTTP request, and how far clients read them. Every body is "ok"."""

import enum
from typing import NamedTuple


class Read(enum.Enum):
    """How far an answer can be read before the connection closes."""

    NOT = enum.auto()
    HEAD = enum.auto()
    """Status and headers, but not the whole body."""
    WHOLE = enum.auto()


class Odd(NamedTuple):
    name: str
    answer: bytes
    read: Read
    detail: str = ""
    """What a check of the body says where it cannot read it."""


LINE = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 2\r\n"
CHUNKED = LINE + b"Transfer-Encoding: chunked\r\n\r\n"
WITHIN_BODY = "connection closed within the body, after 2 bytes"


def headers(*lines: bytes, body: bytes = b"ok") -> bytes:
    return LINE + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def status(line: bytes) -> bytes:
    return line + b"\r\n" + LENGTH + b"\r\nok"


def refused(what: str, shown: str) -> str:
    return f'{what}: "{shown}"'


AS_CURL_READS_THEM = (
    # Content-Length
    Odd("length twice", headers(b"Content-Length: 2", b"Content-Length: 2"), Read.WHOLE),
    Odd("lengths that differ", headers(b"Content-Length: 9", b"Content-Length: 2"), Read.WHOLE),
    Odd("last length too long", headers(b"Content-Length: 2", b"Content-Length: 9"), Read.HEAD, WITHIN_BODY),
    Odd("list of lengths", headers(b"Content-Length: 2, 2"), Read.WHOLE),
    Odd("letters behind the length", headers(b"Content-Length: 2x"), Read.WHOLE),
    Odd("semicolon behind the length", headers(b"Content-Length: 2;"), Read.WHOLE),
    Odd("zeros before the length", headers(b"Content-Length: 0002"), Read.WHOLE),
    Odd("blanks around the length", headers(b"Content-Length:   2  "), Read.WHOLE),
    Odd("tab before the length", headers(b"Content-Length:\t2"), Read.WHOLE),
    Odd("length before the colon's blank", headers(b"Content-Length : 2"), Read.WHOLE),
    Odd("small letters", headers(b"content-length: 2"), Read.WHOLE),
    Odd("length of 2^63", headers(b"Content-Length: 9223372036854775808"), Read.WHOLE),
    Odd("length of 23 digits", headers(b"Content-Length: " + b"9" * 23), Read.WHOLE),
    Odd("length of 5000 digits", headers(b"Content-Length: " + b"9" * 5000), Read.WHOLE),
    Odd("largest length", headers(b"Content-Length: 9223372036854775807"), Read.HEAD, WITHIN_BODY),
    Odd(
        "negative length",
        headers(b"Content-Length: -2"),
        Read.NOT,
        refused("Content-Length is not a number", "-2"),
    ),
    Odd("length in words", headers(b"Content-Length: two"), Read.NOT, refused("Content-Length is not a number", "two")),
    Odd("body longer than its length", headers(b"Content-Length: 2", body=b"ok and more"), Read.WHOLE),
    Odd("body shorter than its length", headers(b"Content-Length: 9"), Read.HEAD, WITHIN_BODY),
    Odd("no length", headers(b"X: y"), Read.WHOLE),
    Odd("no headers", headers(), Read.WHOLE),
    Odd("a second answer", headers(b"Content-Length: 2") * 2, Read.WHOLE),
    # Header lines
    Odd("folded line", headers(b"X: one", b" two", b"Content-Length: 2"), Read.WHOLE),
    Odd("line folded by a tab", headers(b"X: one", b"\ttwo", b"Content-Length: 2"), Read.WHOLE),
    Odd("blank line that is not empty", headers(b"Content-Length: 2", b" "), Read.WHOLE),
    Odd("bare line feeds", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", Read.WHOLE),
    Odd("one bare line feed", b"HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\nok", Read.WHOLE),
    Odd("bare last line feed", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok", Read.WHOLE),
    Odd("carriage return in a value", headers(b"X: a\rb", b"Content-Length: 2"), Read.WHOLE),
    Odd("no name", headers(b": x", b"Content-Length: 2"), Read.WHOLE),
    Odd("blank in a name", headers(b"X Y: z", b"Content-Length: 2"), Read.WHOLE),
    Odd("signs in a name", headers(b"X@(y): z", b"Content-Length: 2"), Read.WHOLE),
    Odd("no ASCII in a name", headers(b"X\xc3\xa9: z", b"Content-Length: 2"), Read.WHOLE),
    Odd("no ASCII in a value", headers(b"X: \xc3\xa9\xff", b"Content-Length: 2"), Read.WHOLE),
    Odd("control character in a value", headers(b"X: a\x01b\x7f", b"Content-Length: 2"), Read.WHOLE),
    Odd("a thousand headers", headers(*[b"X: y"] * 1000, b"Content-Length: 2"), Read.WHOLE),
    Odd("a line of 60 kB", headers(b"X: " + b"y" * 60000, b"Content-Length: 2"), Read.WHOLE),
    Odd(
        "no colon",
        headers(b"Content-Length: 2", b"garbage"),
        Read.NOT,
        refused("a header without a colon", "garbage"),
    ),
    Odd("NUL in a value", headers(b"X: a\0b"), Read.NOT, refused("a NUL byte in the headers", "X: a\\x00b")),
    Odd("NUL in a name", headers(b"X\0: b"), Read.NOT, refused("a NUL byte in the headers", "X\\x00: b")),
    # The status line
    Odd("no phrase", status(b"HTTP/1.1 200"), Read.WHOLE),
    Odd("empty phrase", status(b"HTTP/1.1 200 "), Read.WHOLE),
    Odd("phrase in Latin-1", status(b"HTTP/1.1 200 \xc3\xa9\xff"), Read.WHOLE),
    Odd("control character in the phrase", status(b"HTTP/1.1 200 O\x01K"), Read.WHOLE),
    Odd("HTTP/1.0", status(b"HTTP/1.0 200 OK"), Read.WHOLE),
    Odd("http in small letters", status(b"http/1.1 200 OK"), Read.WHOLE),
    Odd("status 999", status(b"HTTP/1.1 999 OK"), Read.WHOLE),
    *(
        Odd(f"status line {line.decode()}", status(line), Read.NOT, refused("not an HTTP status line", line.decode()))
        for line in (
            b"HTTP/1.1",
            b"HTTP/1.1 abc OK",
            b"HTTP/1.1 20 OK",
            b"HTTP/1.1 099 OK",
            b"HTTP/1.2 200 OK",
            b"HTTP/1.10 200 OK",
            b"HTTP/1 200 OK",
            b"HTTP/0.9 200 OK",
            b"HTTP/4.0 200 OK",
        )
    ),
    Odd(
        "NUL in the phrase",
        status(b"HTTP/1.1 200 O\0K"),
        Read.NOT,
        refused("not an HTTP status line", "HTTP/1.1 200 O\\x00K"),
    ),
    # No HTTP
    *(
        Odd(f"answer {line.decode()}", line + b"\r\n", Read.NOT, refused("not an HTTP answer", line.decode()))
        for line in (b"SSH-2.0-x", b"<html>ok</html>", b"ICY 200 OK", b"RTSP/1.0 200 OK", b" HTTP/1.1 200 OK")
    ),
    Odd("nothing", b"", Read.NOT, "connection closed without an answer"),
    Odd(
        "carriage returns alone",
        b"HTTP/1.1 200 OK\r\rok",
        Read.NOT,
        'connection closed within the headers: "HTTP/1.1 200 OK\\x0d\\x0dok"',
    ),
    # Interim answers
    Odd("100 before it", b"HTTP/1.1 100 Continue\r\n\r\n" + headers(b"Content-Length: 2"), Read.WHOLE),
    Odd("100 with a length", b"HTTP/1.1 100 C\r\nContent-Length: 5\r\n\r\n" + headers(), Read.WHOLE),
    Odd("100 that closes", b"HTTP/1.1 100 C\r\nConnection: close\r\n\r\n" + headers(), Read.WHOLE),
    Odd("102 and 103", b"HTTP/1.1 102 P\r\n\r\nHTTP/1.1 103 E\r\nLink: </x>\r\n\r\n" + headers(), Read.WHOLE),
    Odd(
        "100 alone",
        b"HTTP/1.1 100 C\r\n\r\n",
        Read.NOT,
        'connection closed within the headers: "HTTP/1.1 100 C\\x0d\\x0a\\x0d\\x0a"',
    ),
    # Chunks
    Odd("both length and chunks", headers(b"Content-Length: 9") + b"", Read.HEAD, WITHIN_BODY),
    Odd(
        "length, then chunked",
        headers(b"Content-Length: 9", b"Transfer-Encoding: chunked", body=b"2\r\nok\r\n0\r\n\r\n"),
        Read.WHOLE,
    ),
    Odd(
        "chunked, then length",
        headers(b"Transfer-Encoding: chunked", b"Content-Length: 9", body=b"2\r\nok\r\n0\r\n\r\n"),
        Read.WHOLE,
    ),
    Odd("chunked twice", headers(*[b"Transfer-Encoding: chunked"] * 2, body=b"2\r\nok\r\n0\r\n\r\n"), Read.WHOLE),
    Odd("CHUNKED", headers(b"TRANSFER-ENCODING: CHUNKED", body=b"2\r\nok\r\n0\r\n\r\n"), Read.WHOLE),
    Odd("empty transfer coding", headers(b"Transfer-Encoding:", b"Content-Length: 2"), Read.WHOLE),
    Odd("identity", headers(b"Transfer-Encoding: identity", b"Content-Length: 2"), Read.WHOLE),
    Odd("chunks in HTTP/1.0", CHUNKED.replace(b"1.1", b"1.0") + b"2\r\nok\r\n0\r\n\r\n", Read.WHOLE),
    Odd("chunk extension", CHUNKED + b"2;a=b\r\nok\r\n0\r\n\r\n", Read.WHOLE),
    Odd("quoted chunk extension", CHUNKED + b'2;a="b;c"\r\nok\r\n0\r\n\r\n', Read.WHOLE),
    Odd("blank before a chunk extension", CHUNKED + b"2 ; a\r\nok\r\n0\r\n\r\n", Read.WHOLE),
    Odd("blanks behind a chunk size", CHUNKED + b"2   \r\nok\r\n0\r\n\r\n", Read.WHOLE),
    Odd("letters behind a chunk size", CHUNKED + b"2zz\r\nok\r\n0\r\n\r\n", Read.WHOLE),
    Odd("zeros before a chunk size", CHUNKED + b"0002\r\nok\r\n000\r\n\r\n", Read.WHOLE),
    Odd("bare line feeds around chunks", CHUNKED + b"2\nok\n0\n\n", Read.WHOLE),
    Odd("bare line feed behind a chunk", CHUNKED + b"2\r\nok\n0\r\n\r\n", Read.WHOLE),
    Odd("trailer", CHUNKED + b"2\r\nok\r\n0\r\nX: y\r\n\r\n", Read.WHOLE),
    Odd(
        "no chunk size",
        CHUNKED + b"ZZ\r\nok\r\n0\r\n\r\n",
        Read.HEAD,
        'broken HTTP body: not the size of a chunk: "ZZ"',
    ),
    Odd(
        "empty chunk size",
        CHUNKED + b"\r\nok\r\n0\r\n\r\n",
        Read.HEAD,
        'broken HTTP body: not the size of a chunk: ""',
    ),
    Odd(
        "chunk of 2^72",
        CHUNKED + b"1" + b"0" * 18 + b"\r\nok\r\n0\r\n\r\n",
        Read.HEAD,
        f'broken HTTP body: a chunk larger than clients can count: "1{"0" * 18}"',
    ),
    Odd(
        "chunk longer than its size",
        CHUNKED + b"2\r\noktoo\r\n0\r\n\r\n",
        Read.HEAD,
        'broken HTTP body: a chunk longer than its size says: "too"',
    ),
    Odd("no last chunk", CHUNKED + b"2\r\nok\r\n", Read.HEAD, WITHIN_BODY),
    Odd("no end behind the last chunk", CHUNKED + b"2\r\nok\r\n0\r\n", Read.HEAD, WITHIN_BODY),
    # Others
    Odd("offered upgrade", headers(b"Upgrade: h2c", b"Connection: upgrade", b"Content-Length: 2"), Read.WHOLE),
    Odd("unknown connection option", headers(b"Connection: ???", b"Content-Length: 2"), Read.WHOLE),
    Odd("gzip that nobody asked for", headers(b"Content-Encoding: gzip", b"Content-Length: 2"), Read.WHOLE),
    Odd("unreadable cookie", headers(b"Set-Cookie: \x80;;=", b"Content-Length: 2"), Read.WHOLE),
)
"""Every version of curl in Debian 12 and 13 reads them so."""

AS_OTHERS_READ_THEM = (
    Odd("length with a plus", headers(b"Content-Length: +2"), Read.WHOLE),
    Odd("empty length", headers(b"Content-Length:"), Read.WHOLE),
    Odd("folded length", headers(b"Content-Length:", b" 2"), Read.WHOLE),
    Odd("folded first line", headers(b" X: one", b"Content-Length: 2"), Read.WHOLE),
    Odd("empty line before it", b"\r\n" + headers(b"Content-Length: 2"), Read.WHOLE),
    Odd("two carriage returns", b"HTTP/1.1 200 OK\r\r\nContent-Length: 2\r\r\n\r\r\nok", Read.WHOLE),
    Odd("two carriage returns around chunks", CHUNKED + b"2\r\r\nok\r\r\n0\r\r\n\r\r\n", Read.WHOLE),
    Odd("two blanks before the status", status(b"HTTP/1.1  200 OK"), Read.WHOLE),
    Odd("tab behind the status", status(b"HTTP/1.1 200\tOK"), Read.WHOLE),
    Odd("phrase at the status", status(b"HTTP/1.1 200OK"), Read.WHOLE),
    Odd("HTTP/2.0", status(b"HTTP/2.0 200 OK"), Read.WHOLE),
    Odd("HTTP/2", status(b"HTTP/2 200 OK"), Read.WHOLE),
    Odd("unknown transfer coding", headers(b"Transfer-Encoding: foo"), Read.WHOLE),
    Odd("many zeros before a chunk size", CHUNKED + b"00000000000000002\r\nok\r\n0\r\n\r\n", Read.WHOLE),
    Odd("trailer without a colon", CHUNKED + b"2\r\nok\r\n0\r\ngarbage\r\n\r\n", Read.WHOLE),
    Odd(
        "status of four digits",
        status(b"HTTP/1.1 2000 OK"),
        Read.NOT,
        refused("not an HTTP status line", "HTTP/1.1 2000 OK"),
    ),
    Odd(
        "headers cut off",
        b"HTTP/1.1 200 OK\r\n",
        Read.NOT,
        'connection closed within the headers: "HTTP/1.1 200 OK\\x0d\\x0a"',
    ),
)
"""curl does not, or not in every version. All but the last two are read by browsers or by older versions of curl. Only
newer versions of curl read a status of four digits, and no RFC says what it means. Where the headers are cut off, curl
takes the end of the connection for the end of the headers; but a server that breaks off there is in trouble.
"""
