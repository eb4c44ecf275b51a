#!/usr/bin/env bash
# The PyPI package "toml" cannot read an array that holds strings and inline tables.
#
# Expected: TOML 1.0 allows values of different types in one array. A list of servers that is short where it can be
# ("address:port") and long where it must be ({ address, weight }) is valid, and a reader either reads it or says that
# it does not support it, with its own TomlDecodeError.
# What happens: `toml` raises IndexError ("list index out of range"), which `except toml.TomlDecodeError` lets through. It
# reads the same array without the string. tomli, rtoml, tomlkit and the standard library's tomllib read it. So a tool
# that edits a configuration with `toml` fails on a file that the program which owns the file accepts.
# Versions: toml 0.10.2, tomli 2.5.0, rtoml 0.14.0, tomlkit 0.15.2, Python 3.11.
# Seen on 2026-11-28: the lines under "recorded" below.
set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" -qq --disable-pip-version-check install toml==0.10.2 tomli==2.5.0 rtoml==0.14.0 tomlkit==0.15.2

recorded='tomllib reads 2 servers
tomli reads 2 servers
rtoml reads 2 servers
tomlkit reads 2 servers
toml: IndexError: list index out of range
toml reads 1 servers without the string'

seen=$("$tmp/venv/bin/python" - <<'PYTHON'
import importlib

MIXED = """
real_server = [
  "198.51.100.11:80",
  { address = "198.51.100.12:80", weight = 2 },
]
"""
TABLES = """
real_server = [
  { address = "198.51.100.12:80", weight = 2 },
]
"""

for name in ("tomllib", "tomli", "rtoml", "tomlkit", "toml"):
    module = importlib.import_module(name)
    try:
        print(f"{name} reads {len(module.loads(MIXED)['real_server'])} servers")
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {error}")
print(f"toml reads {len(module.loads(TABLES)['real_server'])} servers without the string")
PYTHON
)

if [ "$seen" != "$recorded" ]; then
    printf 'changed; recorded:\n%s\nseen now:\n%s\n' "$recorded" "$seen"
    exit 1
fi
echo 'as recorded: toml 0.10.2 raises IndexError, the four others read both servers'
