"""Every block of TOML in the documentation loads: as a configuration, or as a part of one that the test completes."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.load import load
from tests.docs.pages import PAGES, Block, blocks, name

BLOCKS = [block for page in PAGES for block in blocks(page) if block.language == "toml"]
EXAMPLES = [block for block in BLOCKS if "[[service" in block.text or "\ncheck = " in f"\n{block.text}"]

SERVICE = '[[service]]\nname = "completed"\naddress = "192.0.2.9:999"\n'
SERVERS = 'real_server = ["198.51.100.201-204"]\n'
CHECK = 'check = "tcp"\n'
STORE = '[fleet]\nstore = "http://127.0.0.1:2379"\n'
READY_MADE = 'description = "completed"\ntype = "tcp"\n'
OWN_CHECK = f'{SERVICE}check = "own"\n{SERVERS}'


def ways(text: str) -> Iterator[tuple[str, str]]:
    """Yield how a text may be completed: a configuration, and the file of a ready-made check, if it is one."""
    service = SERVICE + ("" if re.search(r"^real_server = ", text, re.MULTILINE) else SERVERS)
    yield text, ""
    yield f"{text}\n{SERVICE}{CHECK}{SERVERS}", ""
    yield f"{service}{text}", ""
    yield f"{service}{CHECK}{text}", ""
    yield f"{STORE}{service}{CHECK}{text}", ""
    yield f"{SERVICE}{CHECK}{SERVERS}[[hook]]\n{text}", ""
    yield OWN_CHECK, text
    yield OWN_CHECK, READY_MADE + text


def problems(text: str, folder: Path) -> list[str]:
    """Try all ways to complete a text. Return the errors of each, or nothing if one is right."""
    told: list[str] = []
    for completed, check in ways(made_readable(text, folder)):
        (folder / "checks").mkdir(exist_ok=True)
        (folder / "checks" / "own.toml").write_text(check or READY_MADE)
        (folder / "config.toml").write_text(completed)
        try:
            if load(folder / "config.toml").services:
                return []
        except ConfigError as error:
            told += error.errors
    return told


def made_readable(text: str, folder: Path) -> str:
    """Put files that exist in the place of those of secrets, certificates and included files."""
    secret = folder / "secret"
    secret.write_text("x")
    (folder / "conf.d").mkdir(exist_ok=True)
    (folder / "shared.toml").write_text("")
    text = re.sub(r'\b(\w+_file = )"[^"]*"', rf'\1"{secret}"', text)
    text = text.replace(f'track_file = "{secret}"', 'track_file = "/run/lvs-healthd/track"')
    if "ca = " in text:
        trustme.CA().cert_pem.write_to_path(str(folder / "ca.pem"))
    text = re.sub(r'\bca = "[^"]*"', f'ca = "{folder}/ca.pem"', text)
    return text.replace('"/srv/shared/checks.toml"', f'"{folder}/shared.toml"').replace(" …", " 00")


def parts(text: str) -> list[str]:
    """Return the alternatives of a block: each line of several that are checks, or the whole."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    alternatives = len(lines) > 1 and all(re.match(r"check = .*[}\"]", line) for line in lines)
    return lines if alternatives else [text]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_block_loads(block: Block, tmp_path: Path) -> None:
    for part in parts(block.text):
        assert problems(part, tmp_path) == [], part


def test_blocks_are_found() -> None:
    assert len(BLOCKS) > 50
    assert len(EXAMPLES) > 25


@pytest.mark.parametrize(
    "text",
    [
        'check = { type = "http", pth = "/" }\n',
        'check = "tpc"\n',
        "[brake]\nshare = 80\n",
        'slow_strat = "1m"\n',
        'min_interval = "2 parsecs"\n',
        "[[service.check]]\n",
        '[[service]]\naddress = "192.0.2.100"\ncheck = "tcp"\nreal_server = ["198.51.100.11"]\n',
    ],
)
def test_a_wrong_block_is_found(text: str, tmp_path: Path) -> None:
    assert problems(text, tmp_path) != []


@pytest.mark.parametrize(
    "check",
    sorted(
        {
            (name(page), found)
            for page in PAGES
            for found in re.findall(r"`(check = [^`]*)`", page.read_text(encoding="utf-8"))
        }
    ),
    ids=lambda pair: pair[1][:40],
)
def test_check_within_the_text_loads(check: tuple[str, str], tmp_path: Path) -> None:
    assert problems(check[1].replace("\\|", "|") + "\n", tmp_path) == []
