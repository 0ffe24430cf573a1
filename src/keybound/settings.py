"""Every setting, in one frozen record that checks itself. ``keybound.sources`` says where from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from keybound import setting_values as read
from keybound.caches.credentials import check_credentials
from keybound.core.bodies import BODY_MAX
from keybound.core.clients import ClientAddress
from keybound.core.credentials import FORMS, parse_forms
from keybound.core.errors import InputError, SettingsError
from keybound.core.keys import KeyFormat
from keybound.core.models_of import ModelSource
from keybound.core.places import Places
from keybound.core.reading import Reader
from keybound.core.tenants_of import HeaderTenant, TenantSource
from keybound.rendering import read_renderer
from keybound.setting_values import HOW_TO_MAKE_ONE
from keybound.sources import load_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from keybound.authenticators import Authenticator
    from keybound.caches.credentials import Credentials
    from keybound.core.routes import Route
    from keybound.core.secret import Secret
    from keybound.rendering import Renderer

SYNC_EVERY_MAX = 1.0
"""Seconds between two questions to the store where nobody chose."""

USAGE_EVERY = 10.0
"""Seconds after which how keys were used is recorded where nobody chose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a site decides. Durations are seconds, or text such as ``"5s"``.

    :param database: path of an SQLite file, or the URL of another store:
        ``postgresql://user:password@host:5432/name`` with whatever libpq knows (several hosts,
        ``?sslmode=verify-full``); the primary among them is found. ``memory://`` keeps nothing.
    :param store_connections: connections that one process keeps to it, at least 2: while one
        waits to write, others read. PostgreSQL has one more of each process, for syncs alone.
    :param redis: URL of a Redis or Valkey server that processes share, such as
        ``redis://user:password@host:6379/0``, ``rediss://`` for TLS, ``unix://`` for a socket. Keys
        that one process knows need not be read from the store by others. It needs a ``secret``.
        ``redis+sentinel://host:26379,host2:26379/name`` asks Sentinels for the primary, and
        ``redis+cluster://host:6379,host2:6379`` is a Cluster.
    :param redis_credentials: what knows user and password of Redis, asked at every connection: an
        object with ``get_credentials()``, as redis-py has them, a function, or
        ``"package.module:attribute"``.
    :param redis_timeout: how long a request waits for it at most, connecting included, before the
        store is asked; then nobody asks it for a second. At least what a connection over TLS takes.
    :param cache_size_max: keys that one process remembers, at about 300 bytes each.
    :param cache_compiled_max: of those, keys that are ready to decide with, at about 2,000 bytes
        each; to get another one ready takes longer than to decide with it. A full garbage
        collection looks into them: 5,000 add some 7 ms to it.
    :param unknown_keys_max: keys a second that one process asks the store for in vain, as many at
        once after a quiet second; beyond that, keys that are neither in memory nor in Redis are a
        503, and the store is not asked. 0: no limit.
    :param secret: what digests and denial ids rest on; at least 32 characters. Losing it ends
        every key; changing it needs the old one in ``retired_secrets``.
    :param retired_secrets: earlier secrets: keys issued under them still work.
    :param prefix: first word of new keys.
    :param accepted_prefixes: earlier first words that are still accepted.
    :param environment: second word of keys; keys of another environment are refused.
    :param protect: path patterns that are guarded at all.
    :param routes: what requests are about; the first that matches wins.
    :param credentials: forms in which a request may carry its key; exactly one must be there.
    :param hide_credentials: take the key out of what the application sees. Keys in queries always
        are.
    :param client_ip: what says who the client is: ``peer``, ``x-forwarded-for``, ``forwarded``, or
        a preset: ``nginx``, ``cloudflare``, ``aws-alb``.
    :param trusted_proxies: networks of proxies whose word about clients is taken, ``unix:`` for
        sockets, or how many proxies there are.
    :param tenant_from: what says which tenant a request is about, where its route does not.
    :param model_from: what says which models it is about, where its route does not.
    :param body_max: bytes of the longest body that is read to find a model.
    :param exempt_preflight: let CORS preflights, in their exact form, pass without a key.
    :param close_on_revoke: close an open WebSocket when its key ends.
    :param authenticators: functions that know who sends what is no key.
    :param revoke_within: a revoked key may live this long, whatever fails; the same in every
        process, that of the command line too: receipts and ``--wait`` count by it.
    :param sync_every: how often a process asks the store what changed; at most a third of
        ``revoke_within``. Unless chosen, that third, and no more than a second.
    :param stale_grace: how much longer known keys are served while the store cannot be reached; a
        revoked key may then live for ``revoke_within + stale_grace``.
    :param usage_every: how often a process hands over to the store how its keys were used; a
        process that is killed loses as much. 0: keys are not counted.
    :param realm: name of the protected space in challenges.
    :param reveal_reason: tell holders of a dead key why it is dead.
    :param renderer: a function that renders refusals, or ``"package.module:function"``; it changes
        how they look, never what is decided.
    :param wildcard_scopes: a key with the scope ``*`` has every scope.
    """

    database: str = field(default="keybound.db", repr=False)  # a password may stand in it
    store_connections: int = 2
    redis: Secret | None = None
    redis_credentials: Credentials | None = None
    redis_timeout: float = 0.05
    cache_size_max: int = 100_000
    cache_compiled_max: int = 5_000
    unknown_keys_max: int = 1_000
    secret: Secret | None = None
    retired_secrets: tuple[Secret, ...] = ()
    prefix: str = "kb"
    accepted_prefixes: tuple[str, ...] = ()
    environment: str = "live"
    protect: tuple[str, ...] = ("/*",)
    routes: tuple[Route, ...] = ()
    credentials: tuple[str, ...] = tuple(FORMS)
    hide_credentials: bool = False
    client_ip: str | None = None
    trusted_proxies: int | tuple[str, ...] = ()
    tenant_from: TenantSource | None = None
    model_from: ModelSource | None = None
    body_max: int = BODY_MAX
    exempt_preflight: bool = False
    close_on_revoke: bool = False
    authenticators: tuple[Authenticator, ...] = ()
    revoke_within: float = 5.0
    sync_every: float = read.UNCHOSEN
    stale_grace: float = 0.0
    usage_every: float = USAGE_EVERY
    realm: str = "api"
    reveal_reason: bool = False
    renderer: Renderer | None = None
    wildcard_scopes: bool = False

    def __post_init__(self) -> None:
        """Read every value exactly; raises ``SettingsError`` naming the setting and the fix."""
        for name, value_of in _READERS.items():
            try:
                object.__setattr__(self, name, value_of(name, getattr(self, name)))
            except SettingsError:
                raise
            except InputError as error:
                raise SettingsError(error.field, error.problem, fix=error.fix) from None
        try:
            ClientAddress.parse(self.client_ip, self.trusted_proxies)
        except InputError as error:
            raise SettingsError(error.field, error.problem, fix=error.fix) from None
        if self.redis is not None and self.secret is None:
            raise SettingsError(
                "redis", "needs a secret, which proves what is in it", fix=HOW_TO_MAKE_ONE
            )
        check_credentials(self.redis_credentials, self.redis)
        self._check_tenants()
        self.key_format()
        if self.sync_every is read.UNCHOSEN:
            object.__setattr__(self, "sync_every", min(SYNC_EVERY_MAX, self.revoke_within / 3))
        if self.sync_every > self.revoke_within / 3:
            raise SettingsError(
                "sync_every",
                f"{self.sync_every:g} s is more than a third of revoke_within",
                fix=f"at most {self.revoke_within / 3:g}, or a larger revoke_within",
            )

    @classmethod
    def load(
        cls, given: Mapping[str, Any] | None = None, *, file: str | Path | None = None
    ) -> Settings:
        """Combine arguments over environment over TOML file over defaults.

        ``file`` is by default ``KEYBOUND_SETTINGS``, else ``keybound.toml`` in the working
        directory if there is one. Raises ``SettingsError`` for an unknown name anywhere.
        """
        return cls(**load_values(given or {}, known=_READERS, lists=_LISTS, file=file))

    def key_format(self) -> KeyFormat:
        """Return the format of new keys."""
        return KeyFormat(self.prefix, self.environment, self.accepted_prefixes)

    def _calls(self) -> bool:
        """Return whether functions of the site name models, which are given the head."""
        calls = any(route.models_by for route in self.routes)
        return calls or (self.model_from is not None and bool(self.model_from.calls))

    def _check_tenants(self) -> None:
        """Raise where nobody is believed who could say which tenant a request is about."""
        source, client = self.tenant_from, self.reader().client
        if isinstance(source, HeaderTenant) and not (source.anybody or client.trusts_some):
            raise SettingsError(
                "tenant_from",
                f"header({source.name}) is read from proxies, and trusted_proxies names none",
                fix=f"name them, or write 'header({source.name}, any)'",
            )

    def reader(self) -> Reader:
        """Return what reads requests; raises ``SettingsError`` for what contradicts itself."""
        forms = parse_forms(self.credentials)
        return Reader(
            Places(forms),
            ClientAddress.parse(self.client_ip, self.trusted_proxies),
            self.tenant_from,
            exempt_preflight=self.exempt_preflight,
            needs_head=self.hide_credentials or bool(self.authenticators) or self._calls(),
            forms=forms,
            recognises=self.key_format().recognises,
            hides=self.hide_credentials,
            strangers=bool(self.authenticators),
        )


_READERS: dict[str, Callable[[str, object], object]] = {
    "database": read.text,
    "store_connections": read.whole(2, 1_000),
    "redis": read.redis,
    "redis_credentials": read.redis_credentials,
    "redis_timeout": read.redis_timeout,
    "cache_size_max": read.whole(1, 100_000_000),
    "cache_compiled_max": read.whole(1, 100_000_000),
    "unknown_keys_max": read.whole(0, 1_000_000),
    "secret": read.secret,
    "retired_secrets": read.secrets,
    "prefix": read.text,
    "accepted_prefixes": read.texts,
    "environment": read.text,
    "protect": read.patterns,
    "routes": read.routes,
    "credentials": read.some_texts,
    "hide_credentials": read.switch,
    "client_ip": read.text_or_none,
    "trusted_proxies": read.proxies,
    "tenant_from": read.parsed(TenantSource),
    "model_from": read.parsed(ModelSource),
    "body_max": read.whole(1, 1 << 30),
    "exempt_preflight": read.switch,
    "close_on_revoke": read.switch,
    "renderer": lambda _, value: read_renderer(value),
    "authenticators": read.functions,
    "revoke_within": read.seconds,
    "sync_every": read.interval,
    "stale_grace": read.grace,
    "usage_every": read.grace,
    "realm": read.quotable,
    "reveal_reason": read.switch,
    "wildcard_scopes": read.switch,
}

_LISTS = frozenset(
    {
        "accepted_prefixes",
        "authenticators",
        "credentials",
        "model_from",
        "protect",
        "retired_secrets",
        "routes",
        "tenant_from",
    }
)
