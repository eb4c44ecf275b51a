"""Makes the TLS settings of webhooks and mail, on a thread, because they are read from files."""

import ssl

from lvs_healthd.hooks.facts import NotToldError
from lvs_healthd.runtime.authorities import client_context
from lvs_healthd.runtime.threads import HungError, in_thread

READ_S = 5.0
"""How long reading certificates or a secret may take, seconds."""


async def trusting(ca: str, *, verify: bool = True) -> ssl.SSLContext:
    """Return the settings that trust the certificates in the file `ca`, or those of the system. Raises `NotToldError`.

    verify: whether the other end's certificate must be valid.
    """

    def make() -> ssl.SSLContext:
        if verify:
            return client_context(ca)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    try:
        return await in_thread(make, timeout_s=READ_S, what="reading trusted certificates")
    except (OSError, HungError) as error:
        what = ca or "the system's certificates"
        raise NotToldError(f"cannot use {what}: {error}", may_work_later=True) from error
