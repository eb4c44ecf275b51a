"""Sends mail to a relay over SMTP."""

import asyncio
import os
import ssl
from email.message import EmailMessage

import aiosmtplib

from lvs_healthd.config.hook_model import Hook, Mail, MailTls
from lvs_healthd.config.secret_files import read_password
from lvs_healthd.hooks.facts import NotToldError
from lvs_healthd.hooks.lookup import found
from lvs_healthd.hooks.trust import READ_S, trusting
from lvs_healthd.runtime.printable import printable
from lvs_healthd.runtime.resolver import LoneResolver
from lvs_healthd.runtime.threads import HungError, in_thread

_SHOWN = 200

_START_TLS = {MailTls.AUTO: None, MailTls.STARTTLS: True, MailTls.TLS: False, MailTls.NONE: False}
"""What the library calls them. None: if the relay offers it."""

_FIRST_PERMANENT = 500
"""From here on a relay will say the same the next time (RFC 5321, section 4.2.1)."""


class Relay:
    """Sends the mail of a hook, each over a connection of its own."""

    def __init__(self, hook: Hook, mail: Mail) -> None:
        self._hook = hook
        self._mail = mail
        host, _, port = mail.relay.rpartition(":")
        self._host, self._port = host.removeprefix("[").removesuffix("]"), int(port)
        self._resolver = LoneResolver(hook.timeout)
        self._context: ssl.SSLContext | None = None

    async def send(self, payload: object) -> None:
        """Send a mail. Raises `NotToldError` unless the relay takes it for at least one of its readers."""
        if not isinstance(payload, EmailMessage):
            raise TypeError(payload)
        await found(self._resolver, self._host)
        mail = self._mail
        if self._context is None:
            self._context = await trusting(self._hook.ca, verify=mail.tls is not MailTls.AUTO)
        password = await self._password() if mail.user else None
        try:
            async with asyncio.timeout(self._hook.timeout):  # the library's own is for each step
                refused, _ = await aiosmtplib.send(
                    payload,
                    sender=mail.sender,
                    recipients=list(mail.to),
                    hostname=self._host,
                    port=self._port,
                    username=mail.user or None,
                    password=password,
                    local_hostname=os.uname().nodename,
                    timeout=self._hook.timeout,
                    use_tls=mail.tls is MailTls.TLS,
                    start_tls=_START_TLS[mail.tls],
                    tls_context=self._context,
                )
        except TimeoutError:
            raise self._not_sent(f"it took more than {self._hook.timeout:g}s", is_final=False) from None
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [each.code for each in error.recipients]
            raise self._not_sent(str(error.recipients[0].message), is_final=min(codes) >= _FIRST_PERMANENT) from error
        except aiosmtplib.SMTPResponseException as error:
            raise self._not_sent(f"{error.code} {error.message}", is_final=error.code >= _FIRST_PERMANENT) from error
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise self._not_sent(str(error) or type(error).__name__, is_final=False) from error
        if refused:
            readers = ", ".join(refused)
            raise NotToldError(f"{self._host} took the mail, but not for {readers}"[:_SHOWN], may_work_later=False)

    async def close(self) -> None:
        """Do nothing, because every connection is closed after its mail."""

    def _not_sent(self, why: str, *, is_final: bool) -> NotToldError:
        shown = printable(" ".join(why.split()))[:_SHOWN]
        return NotToldError(f"mail to {self._host}:{self._port}: {shown}", may_work_later=not is_final)

    async def _password(self) -> str:
        path = self._mail.password_file
        try:
            return await in_thread(read_password, path, timeout_s=READ_S, what=f"reading {path}")
        except (OSError, HungError) as error:
            raise NotToldError(f"cannot use {path}: {error}", may_work_later=True) from error
