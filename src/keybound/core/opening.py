"""Opening a store: it is ours, and used with the secret that its keys were made with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keybound.core.effects import Installation, OpenStore, ReadEntropy, SetFingerprint, ask
from keybound.core.errors import SettingsError

if TYPE_CHECKING:
    from keybound.core.effects import Steps
    from keybound.core.keys import Peppers

INSTALLATION_BYTES = 32


def open_store(peppers: Peppers) -> Steps[Installation]:
    """Create or check the store, and note the secret it is used with from now on.

    Raises ``StoreError``, and ``SettingsError`` when the configured secrets are not its own.
    """
    entropy = yield from ask(ReadEntropy(INSTALLATION_BYTES))
    installation = yield from ask(OpenStore(entropy))
    ours = peppers.fingerprints()
    stored = installation.fingerprint
    if stored is not None and stored not in ours:
        raise SettingsError(
            "secret",
            f"is not the one that the stored keys were made with (fingerprint {stored})",
            fix="set that one again, or add it to retired_secrets next to a new one",
        )
    if ours and stored != ours[0]:
        yield from ask(SetFingerprint(ours[0]))
    return installation
