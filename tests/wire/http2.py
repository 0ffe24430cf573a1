"""One request over HTTP/2, in whatever fields: nothing is checked on the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

from tests.wire.connections import CLOSED, SILENT, Answer

if TYPE_CHECKING:
    from h2.events import Event

    from tests.wire.connections import Connection

Fields = list[tuple[bytes, bytes]]


def ask_http2(
    connection: Connection, fields: Fields | None = None, *, upgraded: bool = False
) -> Answer:
    """Send one request, or begin after an upgrade that was one; return the answer to it."""
    config = H2Configuration(
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
        validate_inbound_headers=False,
        header_encoding=None,
    )
    client = H2Connection(config)
    if upgraded:
        client.initiate_upgrade_connection()
    else:
        client.initiate_connection()
    if fields is not None:
        client.send_headers(1, fields, end_stream=True)
    connection.send(client.data_to_send())
    answer, body = Answer(CLOSED), b""
    while True:
        try:
            data = connection.receive()
        except TimeoutError:
            return Answer(SILENT)
        try:
            events = client.receive_data(data) if data else []
        except ProtocolError:
            return Answer(CLOSED)
        for event in events:
            if isinstance(event, ResponseReceived):
                answer = begun(event.headers)
            elif isinstance(event, DataReceived):
                body += event.data
        connection.send(client.data_to_send())
        if not data or any(map(ends, events)):
            return Answer(answer.status, answer.headers, body)


def ends(event: Event) -> bool:
    """Return whether nothing more comes."""
    return isinstance(event, ConnectionTerminated | StreamEnded | StreamReset)


def begun(fields: Fields) -> Answer:
    """Return the head of an answer."""
    text = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
    return Answer(int(dict(text)[":status"]), tuple(text))
