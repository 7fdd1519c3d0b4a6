"""The JavaScript client as a static file: found, small, whole, alone, and typed."""

import gzip
import re

from django.contrib.staticfiles import finders

CLIENT = "wskit_channels/client.js"
TYPES = "wskit_channels/client.d.ts"
MOST_BYTES = 12 * 1024


def read(name: str) -> str:
    path = finders.find(name)
    assert isinstance(path, str), f"{name} is in no static directory"
    with open(path, encoding="utf-8") as file:
        return file.read()


def exports(source: str) -> set[str]:
    """Names of the values that a module or its declaration exports."""
    return set(
        re.findall(r"^export (?:declare )?(?:class|function|const) (\w+)", source, re.MULTILINE)
    )


def test_client_is_under_12_kb_on_the_wire() -> None:
    assert len(gzip.compress(read(CLIENT).encode())) < MOST_BYTES


def test_client_is_one_module_that_needs_no_other() -> None:
    assert (
        re.findall(
            r"^\s*import\b|\bimport\(|\brequire\(|^export .* from", read(CLIENT), re.MULTILINE
        )
        == []
    )


def test_client_exports_what_its_types_declare() -> None:
    names = {
        "ConnectionClosedError",
        "RpcError",
        "ServerError",
        "StateError",
        "TimeoutError",
        "ValidationError",
        "WsClient",
        "WsKitError",
        "wsClient",
    }
    assert (exports(read(CLIENT)), exports(read(TYPES))) == (names, names)


def test_types_name_every_public_member_of_the_client() -> None:
    body = read(CLIENT).partition("export class WsClient {")[2].partition("\n}\n")[0]
    members = set(re.findall(r"^  (?:get )?([a-z]\w*)\(", body, re.MULTILINE))
    declared = read(TYPES).partition("export declare class WsClient")[2].partition("\n}\n")[0]

    assert members == set(re.findall(r"^  (?:readonly )?(\w+)(?=[<(:])", declared, re.MULTILINE))
