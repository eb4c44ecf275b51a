"""The process that `lab.forks` starts: it imports lvs-healthd once, and becomes a copy of it for each order.

An order is one message on the socket that is standard input: a JSON object with `words` (the command line after the
program's name), `env` and `folder`, and with it five open files: the connection for answers, the network namespace,
standard input, output and error. The connection gets two lines: the process id, and its exit status, negative for a
signal, once it has ended. A process ends with whoever ordered it.
"""

import contextlib
import ctypes
import gc
import importlib
import io
import json
import os
import pkgutil
import select
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from lab.netns import enter

ORDER_BYTES = 1 << 17
FILES = 5

_CLONE_NEWNS, _MS_SLAVE, _MS_REC, _MNT_DETACH = 0x20000, 0x80000, 0x4000, 2  # sched.h, sys/mount.h


def wait_for_order() -> Callable[[], None]:
    """Import everything, then fork for each order. Return what to run, in the process that is to run it."""
    main = _import_all()
    # What is here stays in every copy, so that none of them needs to look for garbage among it, not even at its end.
    gc.collect()
    gc.freeze()
    orders = socket.socket(fileno=os.dup(0))
    here = _namespace(os.open("/proc/self/ns/net", os.O_RDONLY))
    while True:
        message, files, _, _ = socket.recv_fds(orders, ORDER_BYTES, FILES)
        if not message:
            sys.exit()
        if not os.fork():
            # Only the process that waits for orders may have the socket: it is closed when that one ends.
            orders.close()
            os.close(0)
            _become(json.loads(message), files, here)
            return main
        for file in files:
            os.close(file)
        _forget_the_ended()


def _import_all() -> Callable[[], None]:
    program = importlib.import_module("lvs_healthd.cli")
    for module in pkgutil.iter_modules(program.__path__, f"{program.__name__}."):
        importlib.import_module(module.name)
    main: Callable[[], None] = program.main
    # The command line's library imports half of itself when it is first used.
    sys.argv = ["lvs-healthd", "status", "--help"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main()
    return main


def _forget_the_ended() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _become(order: dict[str, Any], files: list[int], here: int) -> None:
    """Return in a new process that is as the order wants it; wait for its end in this one."""
    answers, namespace, *standard = files
    pid = os.fork()
    if pid:
        for file in standard:
            os.close(file)
        _watch(pid, answers)
    os.close(answers)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["env"])
    if _namespace(namespace) != here:
        _enter(namespace)
    os.close(namespace)
    for number, file in enumerate(standard):
        os.dup2(file, number)
        os.close(file)
    sys.argv = ["lvs-healthd", *order["words"]]


def _watch(pid: int, answers: int) -> None:
    """Say the process's id and how it ended, then exit. End the process if nobody is there to be told."""
    os.write(answers, b"%d\n" % pid)
    ended = select.poll()
    ended.register(os.pidfd_open(pid), select.POLLIN)
    ended.register(answers, 0)
    if any(file == answers for file, _ in ended.poll()):
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        os.write(answers, b"%d\n" % status)
    finally:
        os._exit(0)


def _namespace(file: int) -> int:
    return os.fstat(file).st_ino


def _enter(namespace: int) -> None:
    """Enter a network namespace with its own /sys, as `ip netns exec` does."""
    enter(namespace)
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.unshare(_CLONE_NEWNS))
    _checked(libc.mount(b"", b"/", b"none", _MS_SLAVE | _MS_REC, None))
    _checked(libc.umount2(b"/sys", _MNT_DETACH))
    _checked(libc.mount(b"lab", b"/sys", b"sysfs", 0, None))


def _checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), "cannot enter the network namespace")
