"""How often one peer may be wrong about a token."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Final

MOST: Final = 10
"""Wrong tokens that a peer may try at once."""
EVERY: Final = 6.0
"""Seconds after which it may be wrong once more."""
PEERS: Final = 10_000
"""Peers that are remembered; of more, those that were wrong longest ago are forgotten."""


class Attempts:
    """A leaky bucket of wrong tokens for each peer: an IPv4 address, or an IPv6 network of 64 bits.

    Parameters
    ----------
    now : callable
        Seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._wrong: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Peer -> how full its bucket was, and when."""

    def __len__(self) -> int:
        """How many peers are remembered."""
        return len(self._wrong)

    def wait(self, host: str) -> int:
        """Whole seconds before the peer's tokens are looked at again; 0 where they are now."""
        over = self._level(_peer(host)) - (MOST - 1)
        return math.ceil(over * EVERY) if over > 0 else 0

    def wrong(self, host: str) -> None:
        """The peer's token was wrong."""
        peer = _peer(host)
        self._wrong[peer] = self._level(peer) + 1.0, self._now()
        self._wrong.move_to_end(peer)
        while len(self._wrong) > PEERS:
            self._wrong.popitem(last=False)

    def _level(self, peer: str) -> float:
        level, since = self._wrong.get(peer, (0.0, 0.0))
        # A clock that is set back empties nothing, and does not fill either.
        return max(level - max(self._now() - since, 0.0) / EVERY, 0.0)


def _peer(host: str) -> str:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return f"{int(address) >> 64:x}/64"
    return str(address if not isinstance(address, IPv6Address) else address.ipv4_mapped)
