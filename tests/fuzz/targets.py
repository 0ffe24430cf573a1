"""What reads text of strangers, each as a function of bytes that may raise nothing but our errors.

A target asserts in passing what must hold of whatever it reads. One joins by an entry in
``TARGETS`` and a file of its name in ``corpus``, which may be empty.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from keybound.core.clients import ClientAddress
from keybound.core.credentials import FORMS, Credential, parse_forms, read_credential
from keybound.core.durations import parse_duration
from keybound.core.effects import LogHead
from keybound.core.errors import InputError, KeyboundError
from keybound.core.facts import RequestFacts, pack_address, unpack_address
from keybound.core.keys import KeyFormat
from keybound.core.limits import Limits, parse_tenant
from keybound.core.limits.hours_text import read_window
from keybound.core.models_of import ModelSource
from keybound.core.nodes import RECORD_MAX, decode_node, encode_node
from keybound.core.patterns import check_protected
from keybound.core.places import Places
from keybound.core.routes import Route
from keybound.core.sealing import SEALING_KEY_BYTES, Sealer
from keybound.core.secret import Secret
from keybound.core.shared import SharedRecords
from keybound.core.table import RouteTable
from keybound.core.tenants_of import TenantSource
from tests.fuzz.head_targets import HEAD_TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable

    Target: TypeAlias = Callable[[bytes], object]

_FORMS = tuple(FORMS.values())
_FORMAT = KeyFormat()


def credential(data: bytes) -> None:
    """Read the value of ``Authorization``: what is found is one word, and is found again."""
    found = read_credential(data, _FORMS)
    if isinstance(found, Credential):
        _FORMAT.recognises(found.token)
        again = read_credential(found.canonical, _FORMS)
        assert isinstance(again, Credential)
        assert again == found


def address(data: bytes) -> None:
    """Read the address of a peer: what is one has one spelling, and is the same in that."""
    packed = pack_address(data.decode("latin-1"))
    if packed is not None:
        assert pack_address(unpack_address(packed)) == packed


_TABLE = RouteTable(
    [
        Route("/{tenant}/{model}", methods="POST", access="read"),
        Route("/d/{domain}/u/{user}", tenant="{domain}/{user}", model="message"),
        Route("/files/{tenant:path}/raw", scopes="rest"),
        Route("/open/*", auth="exempt"),
        Route("/v1/models/{model:path}/chat", auth="optional"),
    ],
    protect=["/v1/*", "/files"],
)


def path(data: bytes) -> None:
    """Match a method and a path: what is remembered is what is found."""
    method, _, rest = data.decode("utf-8", "surrogateescape").partition(" ")
    found = _TABLE.match_unrouted(method, rest)
    remembered = _TABLE.match(method, rest)
    assert (found is None) == (remembered is None)
    assert _TABLE.match(method, rest) == remembered


def pattern(data: bytes) -> None:
    """Read a pattern, and match a path with it: it matches its own text, where it has no fields."""
    written, _, rest = data.decode("utf-8", "surrogateescape").partition(" ")
    with suppress(InputError):
        route = Route(written)
        table = RouteTable([route])
        table.match_unrouted("GET", rest)
        if "{" not in written and "*" not in written:
            assert route.pattern().fullmatch(written)


def record(data: bytes) -> None:
    """Read a record of the store: what can be read is written again in the same words."""
    node = decode_node(data)
    with suppress(InputError):  # what was read may have been written shorter
        assert decode_node(encode_node(node)) == node


_RECORDS = SharedRecords(Secret("a secret of the fuzzer, which nobody else has"))
_EPOCH = bytes(16)
_NAME = _RECORDS.key_name(_EPOCH, bytes(32))


def shared(data: bytes) -> None:
    """Read a value of Redis, once as it is and once as if we had written it."""
    assert _RECORDS.decode(_NAME, _EPOCH, data) is None, "somebody else's value was taken"
    start, body = data[:21].ljust(21, b"0"), data[21 : RECORD_MAX + 21]
    value = start + _RECORDS._mac(_NAME, start, body) + body  # noqa: SLF001 - nobody else can
    found = _RECORDS.decode(_NAME, _EPOCH, value)
    if found is not None and len(found.head.tag) < 256 and found.head.rev >= 0:
        head = LogHead(found.head.rev, found.head.tag, _EPOCH)
        again = _RECORDS.encode(_NAME, found.node, head, found.above)
        assert _RECORDS.decode(_NAME, _EPOCH, again) == found


_FACTS = [
    RequestFacts(method="GET", path="/", access="read"),
    RequestFacts(method="POST", path="/", address=1, tenant="a/b", model="m", scopes=("a",)),
]


def limits(data: bytes) -> None:
    """Read limits as people write them, and as a store has them; neither answers but yes or no."""
    try:
        values: Any = json.loads(data)
    except (ValueError, RecursionError):
        return
    with suppress(KeyboundError):
        _check(Limits.load(values))
    if isinstance(values, dict):
        _check(Limits.read(values))


def _check(read: Limits) -> None:
    for facts in _FACTS:
        assert read.permits(facts, 0.0) in {True, False}
    assert all(text.isprintable() for text in read.describe().values())
    again = Limits.load(json.loads(json.dumps(read.dump())))
    assert again == read
    assert read.covers(again)


def tenant(data: bytes) -> None:
    """Read the name of one tenant: it is its own name, and a pattern that covers it."""
    name = parse_tenant(data.decode("utf-8", "surrogateescape"))
    assert parse_tenant(name) == name
    facts = RequestFacts(method="GET", path="/", tenant=name)
    assert Limits(tenants=[name]).permits(facts, 0.0)


_SEALER = Sealer(bytes(SEALING_KEY_BYTES))


def denial(data: bytes) -> None:
    """Open an id of a denial, once as it is and once as if we had sealed it."""
    with suppress(InputError):
        _SEALER.open(data.decode("latin-1"))
    sealed = _SEALER._cipher.encrypt(data or b"\0", [b"keybound denial 1"])  # noqa: SLF001 - the same
    _SEALER.open(urlsafe_b64encode(sealed).decode())


def hours(data: bytes) -> None:
    """Read a window of hours: it is written in one way, and read again as it was."""
    window = read_window(data.decode("utf-8", "surrogateescape"))
    assert read_window(str(window)) == window


def spelled(data: bytes) -> None:
    """Read what settings spell: forms, sources, proxies."""
    text = data.decode("utf-8", "surrogateescape")
    for read in _SETTINGS:
        with suppress(KeyboundError):
            read(text)


_SETTINGS: list[Callable[[str], object]] = [
    lambda text: Places(parse_forms([text])),
    TenantSource.parse,
    lambda text: ModelSource.parse(text, templates=True),
    lambda text: ClientAddress.parse("forwarded", [text]),
    lambda text: check_protected("protect", text),
    lambda text: parse_duration("revoke_within", text),
]


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (
        *(credential, address, path, pattern, record, shared, limits, tenant, denial, hours),
        *(spelled, *HEAD_TARGETS),
    )
}
"""Every target by its name."""
