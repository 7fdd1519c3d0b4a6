"""
Run in a process of its own: ``python -m benchmarks.publisher MODULE TIMES`` has a peer publish.
"""

from __future__ import annotations

import asyncio
import importlib
import sys


def main() -> None:
    peer = importlib.import_module(f"benchmarks.peers.{sys.argv[1]}")
    asyncio.run(peer.publish(int(sys.argv[2])))


if __name__ == "__main__":
    main()
