"""W&B's module, and whether it is online: for whatever talks to it. No torch, no Lightning.

wandb is imported where something is told it and not before: a machine without it trains all the same.
"""

import functools
import logging
import netrc
import os
import socket
from types import ModuleType
from urllib.parse import urlsplit

log = logging.getLogger(__name__)


def imported() -> ModuleType:
    """wandb; ImportError where it is not installed."""
    os.environ.setdefault("WANDB_SILENT", "true")  # read at the import: its greetings would bury the bars
    import wandb.errors

    return wandb


def gone() -> tuple[type[Exception], ...]:
    """What is raised when W&B's own process has died."""
    return (imported().errors.Error, ConnectionError, TimeoutError)


def mode_of(wandb: ModuleType) -> str:
    """online for who has a key and a network, else offline; WANDB_MODE has the last word."""
    if mode := os.environ.get("WANDB_MODE"):
        return mode
    settings = wandb.setup().settings  # starts W&B's own process
    return mode_with(settings.api_key, settings.base_url)


@functools.cache  # once for all runs of a process
def mode_with(key: str | None, address: str) -> str:
    """The mode for W&B's server at an address; who has no key never waits for it, and others two seconds at most."""
    server = urlsplit(address)
    if not key and not in_netrc(server.hostname):
        return "offline"
    try:
        socket.create_connection((server.hostname, server.port or (80 if server.scheme == "http" else 443)), 2).close()
        return "online" if imported().login(prompt=False) else "offline"
    except (OSError, imported().errors.Error) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        log.warning("W&B does not let us in (%s): runs are logged offline, for make wandb-sync.", reason)
        return "offline"


def in_netrc(host: str | None) -> bool:
    try:
        return netrc.netrc().authenticators(host or "") is not None
    except (OSError, netrc.NetrcParseError):
        return False
