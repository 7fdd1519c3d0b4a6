"""
Serve the conformance server on loopback, in this very process.

    python -m tests.conformance --port 8301 [--server daphne|uvicorn]
                                [--layer memory|redis://HOST:PORT]
"""

import argparse

from tests.live.settings import configure

APPLICATION = "tests.conformance.server:application"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--server", choices=["daphne", "uvicorn"], default="daphne")
    parser.add_argument("--layer", default="memory", help="memory, or redis://HOST:PORT")
    options = parser.parse_args()
    configure(options.layer)
    if options.server == "daphne":
        serve_daphne(options.port)
    else:
        serve_uvicorn(options.port)


def serve_daphne(port: int) -> None:
    # daphne has no types.
    from daphne.cli import CommandLineInterface  # type: ignore[import-untyped]

    CommandLineInterface().run(["-b", "127.0.0.1", "-p", str(port), APPLICATION])


def serve_uvicorn(port: int) -> None:
    import uvicorn

    uvicorn.run(APPLICATION, host="127.0.0.1", port=port)


if __name__ == "__main__":
    main()
