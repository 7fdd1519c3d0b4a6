"""
Serve the conformance server on loopback, in this very process.

    python -m tests.conformance --port 8301 [--server daphne|uvicorn]
                                [--layer memory|redis://HOST:PORT]
                                [--messages pydantic|msgspec]
"""

import argparse

from tests.live.servers import PATIENT
from tests.live.settings import configure

APPLICATIONS = {
    "pydantic": "tests.conformance.server:application",
    "msgspec": "tests.conformance.struct_server:application",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--server", choices=["daphne", "uvicorn"], default="daphne")
    parser.add_argument("--layer", default="memory", help="memory, or redis://HOST:PORT")
    parser.add_argument("--messages", choices=[*APPLICATIONS], default="pydantic")
    options = parser.parse_args()
    configure(options.layer)
    if options.server == "daphne":
        serve_daphne(APPLICATIONS[options.messages], options.port)
    else:
        serve_uvicorn(APPLICATIONS[options.messages], options.port)


def serve_daphne(application: str, port: int) -> None:
    # daphne has no types.
    from daphne.cli import CommandLineInterface  # type: ignore[import-untyped]

    CommandLineInterface().run([*PATIENT, "-b", "127.0.0.1", "-p", str(port), application])


def serve_uvicorn(application: str, port: int) -> None:
    import uvicorn

    uvicorn.run(application, host="127.0.0.1", port=port)


if __name__ == "__main__":
    main()
