"""Values of a check that do not go with a connection that is kept, or that do nothing without one."""

from collections.abc import Container, Iterator, Mapping
from typing import Any

from lvs_healthd.config.check_model import Connection
from lvs_healthd.config.schema import KEPT_FIELDS


def kept_misfits(
    fields: Mapping[str, Any], wrong: Container[str], written: Container[str]
) -> Iterator[tuple[str, str]]:
    """Yield the field and the message of every error in the combination of a check's values.

    fields: the values of the check, inherited ones too.
    wrong: the fields that were written with a wrong value.
    written: the fields that were written in the table that is being read.
    """
    if "connection" in wrong:
        return
    if fields.get("connection", Connection.NEW) is not Connection.KEEP:
        for field in KEPT_FIELDS:
            if field in written:
                yield field, 'this check has a new connection for each probe; add connection = "keep"'
        return
    if fields.get("http_version") == "1.0":
        yield "connection", 'over HTTP/1.0 each answer ends its connection; write http_version = "1.1", or leave it out'
    if fields.get("websocket"):
        yield "connection", 'the probe of a WebSocket ends its connection; write connection = "new"'
    if fields.get("requests"):
        yield "connection", 'the requests of one probe share a connection already; write connection = "new"'
    if fields.get("through"):
        what = "a kept connection goes to the server that it began with, whatever the table says by now; "
        yield "connection", what + 'write connection = "new"'
