"""Imports aiohttp without the authorities that the system trusts.

At its import, aiohttp reads them twice, for clients that bring no settings of their own. Here all of them do
(`hooks.webhook`, `store.client`). Reading takes a fifth of the time of all imports, and 2 MiB of memory. Whoever used
aiohttp's settings all the same would trust nobody, so that no certificate would go unverified.
"""

import os

_PLACES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Where OpenSSL looks for them, if these are set (`SSL_CTX_set_default_verify_paths`)."""

_before = {place: os.environ.get(place) for place in _PLACES}
os.environ.update(dict.fromkeys(_PLACES, os.devnull))
try:
    import aiohttp
finally:
    for _place, _value in _before.items():
        if _value is None:
            del os.environ[_place]
        else:
            os.environ[_place] = _value

__all__ = ["aiohttp"]
