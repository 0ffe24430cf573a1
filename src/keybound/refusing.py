"""What becomes of a denial: the answer to the client, and a line for the operator."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from keybound.clocks import read_entropy
from keybound.core.decision import Denied
from keybound.core.errors import InputError, RecordCorruptError
from keybound.core.keys import derive
from keybound.core.reasons import Reason
from keybound.core.refusals import Refusals
from keybound.core.sealing import NONCE_BYTES, SEALING_KEY_BYTES, Sealer
from keybound.core.secret import Secret
from keybound.denial_log import EVENTS, DenialLog
from keybound.plugins import SiteFunction
from keybound.rendering import load_renderer, rendered
from keybound.telling import Teller

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from keybound.clocks import Clock
    from keybound.core.credentials import CredentialForm
    from keybound.core.refusals import RefusalResponse
    from keybound.core.sealing import SealedDenial
    from keybound.denial_log import Event, Pair
    from keybound.rendering import Renderer
    from keybound.settings import Settings


class Refuser:
    """Answers denied requests, and opens the ids that it gave them; safe for threads."""

    def __init__(
        self,
        settings: Settings,
        forms: Sequence[CredentialForm],
        clock: Clock,
        *,
        varies: Sequence[str] = ("Authorization",),
    ) -> None:
        """Seal ids under the secrets; without one under chance, until ``adopt`` is called.

        ``varies`` are the headers of requests that decide.
        """
        self._wall = clock.wall
        self._refusals = Refusals(
            forms, realm=settings.realm, reveal_reason=settings.reveal_reason, varies=varies
        )
        self.varies = self._refusals.varies
        secrets = [each for each in (settings.secret, *settings.retired_secrets) if each]
        self._sealers = [Sealer(derive(secret, b"seal")) for secret in secrets]
        if settings.secret is None:
            self._sealers.insert(0, Sealer(read_entropy(SEALING_KEY_BYTES)))
        self._renderer: Renderer | None = settings.renderer
        self._teller = Teller(clock.boot)
        self._logs = {event: DenialLog(event, clock.boot) for event in EVENTS}

    def adopt(self, installation: bytes) -> None:
        """Seal under the random id of the store from now on; what was sealed can be opened."""
        self._sealers.insert(0, Sealer(derive(Secret(installation.hex()), b"seal")))

    def load(self) -> Renderer | None:
        """Return the site's renderer, importing what a setting names; raises ``SettingsError``.

        Whoever serves does so at start; whoever only changes keys need not have it.
        """
        if isinstance(self._renderer, SiteFunction):
            self._renderer = load_renderer(self._renderer)
        return self._renderer

    def failed(self, error: Exception) -> Denied:
        """Return the denial that a failure is, having told the operator: once a minute for each."""
        self._teller.tell("cannot decide", error)
        corrupt = isinstance(error, RecordCorruptError)
        return Denied(Reason.RECORD_CORRUPT if corrupt else Reason.STORE_UNAVAILABLE)

    def refuse(self, denied: Denied, renderer: Renderer | None = None) -> RefusalResponse:
        """Return the answer to a denied request, and log the id that ``explain`` opens.

        It is rendered by ``renderer``, else by that of the settings, else as it is; a rendering
        that fails leaves it as it is, and the operator is told.
        """
        try:
            answer = self._answer(denied)
        except Exception as error:  # noqa: BLE001 - a clause of the site's own may not even dump
            answer = self._answer(self.failed(error))
        try:
            render = renderer or self.load()
            if render is not None:
                return rendered(answer, render, self._refusals.challenges)
        except Exception as error:  # noqa: BLE001 - a rendering that fails is not needed
            self._teller.tell("cannot render a refusal", error)
        return answer

    def report(self, denied: Denied) -> None:
        """Log what would have been refused, were it not only to be reported. Nothing is raised."""
        try:
            log = self._logs["would_refuse"]
            due = log.count(denied)
            if due is not None:
                log.write(denied, self._seal(denied), due)
        except Exception as error:  # noqa: BLE001 - the request was let through
            self._teller.tell("cannot report a denial", error)

    def totals(self, event: Event = "refused") -> Mapping[Pair, int]:
        """Return how many requests were refused, by key and reason, as far as remembered.

        With ``"would_refuse"``, how many were only reported.
        """
        return self._logs[event].totals()

    def by_reason(self, event: Event = "refused") -> Mapping[Reason, int]:
        """Return how many requests were refused, or only reported, by reason."""
        return self._logs[event].by_reason

    def unseal(self, denial: str) -> SealedDenial:
        """Return what the id of a denial says; raises ``InputError`` for one of somebody else."""
        for sealer in self._sealers[1:]:
            with suppress(InputError):
                return sealer.open(denial)
        return self._sealers[0].open(denial)

    def _answer(self, denied: Denied) -> RefusalResponse:
        denial = self._seal(denied)
        log = self._logs["refused"]
        due = log.count(denied)
        if due is not None:
            log.write(denied, denial, due)
        return self._refusals.render(denied, denial)

    def _seal(self, denied: Denied) -> str:
        nonce = read_entropy(NONCE_BYTES)
        return self._sealers[0].seal(denied, at=self._wall(), nonce=nonce)
