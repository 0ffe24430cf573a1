"""What is read of a request before it is decided: who sends it, its credential, what it tells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from msgspec import Struct, structs

from keybound.core.carriers import Carriers
from keybound.core.credentials import Credential, read_credential
from keybound.core.head import Head
from keybound.core.overriding import methods_asked
from keybound.core.reasons import Reason
from keybound.core.told import PLAIN, PREFLIGHT, UNSAID, Told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from keybound.core.clients import ClientAddress
    from keybound.core.credentials import CredentialForm
    from keybound.core.places import Places
    from keybound.core.tenants_of import TenantSource


class Reading(Struct, frozen=True):
    """What a decision takes besides the method and the path, in its order.

    It can be unpacked, but is no tuple: whoever reports errors, or writes an environment down,
    looks into those.
    """

    peer: str | None
    raw: bytes | Reason | None
    told: Told | None
    head: Head | None

    def __repr__(self) -> str:
        """Return nothing of the credential."""
        return "Reading(...)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return nothing of it either."""
        return []

    def __iter__(self) -> Iterator[Any]:
        """Yield each member."""
        return iter((self.peer, self.raw, self.told, self.head))

    def telling(self, told: Told | None) -> Reading:
        """Return the same of a request that told something else."""
        return structs.replace(self, told=told)

    def rewritten(self) -> Reading:
        """Return the same of a request whose raw path was fine when it came, whatever it is now.

        The site itself has put another path in its place since.
        """
        told = self.told
        return self if told is None else self.telling(told._replace(crooked=False))


class Reader:
    """Reads requests as one site's settings say; safe for threads.

    ``always``: every request must be read. Otherwise it is enough to read those in which a shell
    sees something odd; of others, the ``Authorization`` header and the peer are all there is to it.
    """

    def __init__(
        self,
        places: Places,
        client: ClientAddress,
        tenants: TenantSource | None,
        *,
        exempt_preflight: bool,
        needs_head: bool,
        forms: Sequence[CredentialForm] = (),
        recognises: Callable[[str], bool] = bool,
        hides: bool = False,
        strangers: bool = False,
    ) -> None:
        """Read these places; ``needs_head``: functions of the site's own are given the head.

        ``hides``: keys, which ``recognises`` tells from what else is sent in these ``forms``, are
        not for the application; ``strangers``: what is let in may have come without one.
        """
        self.places = places
        self._everywhere = (places,)
        self._forms = tuple(forms)
        self._carriers = Carriers(self._forms)
        self._recognises = recognises
        self._hides = hides
        self._strangers = strangers
        self.client = client
        self._tenants = tenants
        self._exempts = exempt_preflight
        self.always = (
            not (places.plain and client.plain)
            or tenants is not None
            or exempt_preflight
            or needs_head
        )

    @property
    def believes_headers(self) -> bool:
        """Whether headers that proxies set say who the client is, or for which tenant."""
        return self.client.header is not None or bool(self._tenants and self._tenants.varies)

    @property
    def varies(self) -> tuple[str, ...]:
        """The headers that answers depend on, for ``Vary``."""
        return (*self.places.varies, *(self._tenants.varies if self._tenants else ()))

    def hidden(self, head: Head, *, allowed: bool) -> tuple[Places, ...]:
        """Return the places of a request that hold keys, which are not for the application.

        The site's own credentials are, and so are those of a path that needs none. Such a path may
        be sent several keys: no place that has one is left out.
        """
        if not self._hides:
            return ()
        if allowed and not self._strangers:
            return self._everywhere
        return self._carriers.holding(head, self._is_key)

    def _is_key(self, raw: bytes) -> bool:
        found = read_credential(raw, self._forms)
        return isinstance(found, Credential) and self._recognises(found.token)

    def read(self, head: Head) -> Reading:
        """Return what there is to a request; raises what a function of the site's own raises."""
        raw, taken_for = self.places.find(head), methods_asked(head)
        told = Told(
            tenant=UNSAID if self._tenants is None else self._tenants.of(head, self.client.trusts),
            taken_for=taken_for,
            crooked=_is_crooked(head),
            preflight=self._exempts and raw is None and not taken_for and _is_preflight(head),
            in_header=self.places.in_header(raw),
        )
        return Reading(self.client.of(head), raw, None if told == PLAIN else told, head)


def _is_preflight(head: Head) -> bool:
    """Return whether a request is exactly what browsers ask before another one (Fetch, 4.8)."""
    if head.method != PREFLIGHT or not head.path.startswith("/"):
        return False
    # A server may have joined two lines: neither value has a comma.
    once = [head.lines(name) for name in ("origin", "access-control-request-method")]
    return all(len(lines) == 1 and _WORD.fullmatch(lines[0].strip(b" \t")) for lines in once)


_WORD = re.compile(rb"[!-+\x2d-~]+")


def _is_crooked(head: Head) -> bool:
    """Return whether the raw path has other segments than the one that is routed by.

    Somebody behind us may take those. A gateway may have cut the start of the other.
    """
    raw = head.raw_path
    if raw is None:
        return False
    path = head.path.encode("utf-8", "surrogatepass")
    if raw == path and b"%" not in raw:  # as most are
        return False
    return b"%2f" in raw.lower() or not unquote_to_bytes(raw).endswith(path)
