"""What becomes of a denial: the answer to the client, and a line for the operator."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from keybound.clocks import monotonic, read_entropy
from keybound.core.decision import Denied
from keybound.core.errors import InputError, KeyboundError, RecordCorruptError
from keybound.core.keys import derive
from keybound.core.reasons import Reason
from keybound.core.refusals import Refusals
from keybound.core.sealing import NONCE_BYTES, SEALING_KEY_BYTES, Sealer
from keybound.core.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from keybound.core.credentials import CredentialForm
    from keybound.core.refusals import RefusalResponse
    from keybound.core.sealing import SealedDenial
    from keybound.settings import Settings

logger = logging.getLogger("keybound")
denials = logging.getLogger("keybound.denials")

TOLD_AGAIN_AFTER = 60.0
"""Seconds after which the operator is told of the same failure again."""

_TOLD_MAX = 64
"""Failures that are told in one such time: as many may differ in words alone."""


class Refuser:
    """Answers denied requests, and opens the ids that it gave them; safe for threads."""

    def __init__(
        self, settings: Settings, forms: Sequence[CredentialForm], wall: Callable[[], float]
    ) -> None:
        """Seal ids under the secrets; without one under chance, until ``adopt`` is called."""
        self._wall = wall
        self._refusals = Refusals(forms, realm=settings.realm, reveal_reason=settings.reveal_reason)
        secrets = [each for each in (settings.secret, *settings.retired_secrets) if each]
        self._sealers = [Sealer(derive(secret, b"seal")) for secret in secrets]
        if settings.secret is None:
            self._sealers.insert(0, Sealer(read_entropy(SEALING_KEY_BYTES)))
        self._told: dict[str, float] = {}

    def adopt(self, installation: bytes) -> None:
        """Seal under the random id of the store from now on; what was sealed can be opened."""
        self._sealers.insert(0, Sealer(derive(Secret(installation.hex()), b"seal")))

    def failed(self, error: Exception) -> Denied:
        """Return the denial that a failure is, having told the operator: once a minute for each.

        What is broken fails every request alike, and clients choose how many there are.
        """
        known = isinstance(error, KeyboundError)
        # The text of a foreign error may hold anything; its type does not.
        said, now = str(error) if known else type(error).__qualname__, monotonic()
        if now >= self._told.get(said, now):
            if len(self._told) >= _TOLD_MAX:
                self._told = {each: until for each, until in self._told.items() if until > now}
            if len(self._told) < _TOLD_MAX:
                self._told[said] = now + TOLD_AGAIN_AFTER
                logger.error("cannot decide: %s", said)
        corrupt = isinstance(error, RecordCorruptError)
        return Denied(Reason.RECORD_CORRUPT if corrupt else Reason.STORE_UNAVAILABLE)

    def refuse(self, denied: Denied) -> RefusalResponse:
        """Return the answer to a denied request, and log the id that ``explain`` opens."""
        try:
            return self._refuse(denied)
        except Exception as error:  # noqa: BLE001 - a clause of the site's own may not even dump
            return self._refuse(self.failed(error))

    def _refuse(self, denied: Denied) -> RefusalResponse:
        nonce = read_entropy(NONCE_BYTES)
        denial = self._sealers[0].seal(denied, at=self._wall(), nonce=nonce)
        check = denied.check
        denials.info(
            "refused reason=%s key=%s node=%s limit=%s id=%s",
            denied.reason.value,
            denied.key,
            check.node if check else None,
            check.clause.dimension if check else None,
            denial,
        )
        return self._refusals.render(denied, denial)

    def unseal(self, denial: str) -> SealedDenial:
        """Return what the id of a denial says; raises ``InputError`` for one of somebody else."""
        for sealer in self._sealers[1:]:
            with suppress(InputError):
                return sealer.open(denial)
        return self._sealers[0].open(denial)
