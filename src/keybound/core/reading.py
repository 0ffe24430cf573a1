"""What is read of a request before it is decided: who sends it, its credential, what it tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes

from keybound.core.overriding import methods_asked
from keybound.core.told import PLAIN, UNSAID, Told

if TYPE_CHECKING:
    from keybound.core.clients import ClientAddress
    from keybound.core.head import Head
    from keybound.core.places import Places
    from keybound.core.reasons import Reason
    from keybound.core.tenants_of import TenantSource


class Reading(NamedTuple):
    """What a decision takes besides the method and the path, in its order."""

    peer: str | None
    raw: bytes | Reason | None
    told: Told | None
    head: Head | None

    def __repr__(self) -> str:
        """Return nothing of the credential."""
        return "Reading(...)"


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
    ) -> None:
        """Read these places; ``needs_head``: functions of the site's own are given the head."""
        self.places = places
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

    def read(self, head: Head) -> Reading:
        """Return what there is to a request; raises what a function of the site's own raises."""
        raw = self.places.find(head)
        told = Told(
            tenant=UNSAID if self._tenants is None else self._tenants.of(head, self.client.trusts),
            taken_for=methods_asked(head),
            crooked=_is_crooked(head),
            preflight=self._exempts and raw is None and _is_preflight(head),
            in_header=self.places.in_header(raw),
        )
        return Reading(self.client.of(head), raw, None if told == PLAIN else told, head)


def _is_preflight(head: Head) -> bool:
    """Return whether a request is exactly what browsers ask before another one (Fetch, 4.8)."""
    if head.method != "OPTIONS" or not head.path.startswith("/"):
        return False
    once = [head.lines(name) for name in ("origin", "access-control-request-method")]
    return all(len(lines) == 1 and lines[0].strip(b" \t") for lines in once)


def _is_crooked(head: Head) -> bool:
    """Return whether the raw path has other segments than the one that is routed by.

    Somebody behind us may take those. A gateway may have cut the start of the other.
    """
    raw = head.raw_path
    if raw is None:
        return False
    path = head.path.encode("utf-8", "surrogatepass")
    return b"%2f" in raw.lower() or not unquote_to_bytes(raw).endswith(path)
