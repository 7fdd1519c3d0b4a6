import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import wskit_channels
from tests.codegen.sample.handlers import router
from wskit_channels import Router, message
from wskit_channels.codegen.contract import contract_of
from wskit_channels.codegen.typescript import typescript
from wskit_channels.codegen.typescript_types import TypeNames, comment, type_of_schema

HERE = Path(__file__).parent
CLIENT = Path(wskit_channels.__file__).parent / "static" / "wskit_channels"

STRICT = {
    "strict": True,
    "exactOptionalPropertyTypes": True,
    "noUncheckedIndexedAccess": True,
    "noUnusedLocals": True,
    "target": "es2022",
    "module": "esnext",
    "moduleResolution": "bundler",
    "lib": ["es2022", "dom"],
}


def compiled(tsc: list[str], folder: Path, **options: Any) -> str:
    """What the compiler says of a folder's files; nothing if they are right."""
    config = {"compilerOptions": {**STRICT, **options}, "include": ["*.ts"]}
    (folder / "tsconfig.json").write_text(json.dumps(config))
    done = subprocess.run([*tsc, "-p", str(folder)], capture_output=True, text=True, cwd=folder)
    return done.stdout + done.stderr


def prepared(folder: Path, *names: str) -> Path:
    """A folder with the client, the generated file and some of the files beside this one."""
    for path in (CLIENT / "client.js", CLIENT / "client.d.ts", *(HERE / name for name in names)):
        shutil.copy(path, folder)
    (folder / "contract.ts").write_text(typescript(contract_of(router)), encoding="utf-8")
    return folder


def test_right_uses_compile_and_run(tsc: list[str], tmp_path: Path) -> None:
    """``tsc --strict``; what comes out is a module that node can load."""
    folder = prepared(tmp_path, "right.ts")

    assert compiled(tsc, folder, outDir="out", noUnusedLocals=False) == ""

    shutil.copy(CLIENT / "client.js", folder / "out")
    (folder / "out" / "package.json").write_text('{"type": "module"}')
    script = (
        'import { ServerError } from "./client.js";\n'
        'import { isKnownError, wsClient } from "./contract.js";\n'
        'const made = ["ROOM_FULL", "OTHER"].map((code) => new ServerError("m", code));\n'
        "const errors = [...made, new Error()];\n"
        'console.log(errors.map(isKnownError), wsClient({ url: "ws://h/" }).state);\n'
    )
    (folder / "out" / "use.js").write_text(script)
    done = subprocess.run(
        [tsc[0], "use.js"], cwd=folder / "out", capture_output=True, text=True, check=False
    )

    assert (done.stdout, done.stderr) == ("[ true, false, false ] closed\n", "")


WRONG = {
    number: line.partition("// wrong: ")[2]
    for number, line in enumerate((HERE / "wrong.ts").read_text().splitlines(), 1)
    if "// wrong: " in line
}


@pytest.fixture(scope="module")
def rejected(tsc: list[str], tmp_path_factory: pytest.TempPathFactory) -> set[int]:
    """The lines of wrong.ts that do not compile."""
    folder = prepared(tmp_path_factory.mktemp("wrong"), "wrong.ts")
    said = compiled(tsc, folder, noEmit=True)
    lines = re.findall(r"^([\w.]+)\((\d+),\d+\): error", said, re.MULTILINE)
    assert {file for file, _ in lines} == {"wrong.ts"}
    return {int(line) for _, line in lines}


@pytest.mark.parametrize("line", WRONG, ids=WRONG.get)
def test_each_wrong_use_does_not_compile(rejected: set[int], line: int) -> None:
    assert line in rejected


def test_nothing_else_of_the_wrong_uses_fails(rejected: set[int]) -> None:
    """Or they would be rejected for another reason than the one that they name."""
    assert rejected == set(WRONG)


def test_contracts_of_nothing_and_of_clashing_names_compile(tsc: list[str], tmp_path: Path) -> None:
    """A class that is called as TypeScript's own types, or the file's, gives way."""
    host = Router[Any]()
    made = [message(name, {"a": int}) for name in ("record", "events", "client", "promise", "1st")]
    host.on(*made)(_handler)
    text = typescript(contract_of(host))
    prepared(tmp_path)
    (tmp_path / "contract.ts").write_text(text)
    (tmp_path / "nothing.ts").write_text(typescript(contract_of(Router())))

    assert sorted(re.findall(r"export interface (\w+2|Model\w+)", text)) == [
        "Client2", "Events2", "Model1st", "Promise2", "Record2"
    ]  # fmt: skip
    assert compiled(tsc, tmp_path, noEmit=True) == ""


async def _handler(ctx: Any) -> None: ...


def test_the_same_router_gives_the_same_text() -> None:
    assert typescript(contract_of(router)) == typescript(contract_of(router))


NAMES = TypeNames(["Line", "Line-Output", "Page_Line_", "a__b__Line"])


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({}, "unknown"),
        (True, "unknown"),
        (False, "never"),
        ({"type": "string", "format": "date-time"}, "string"),
        ({"type": "integer"}, "number"),
        ({"type": ["string", "null"]}, "string | null"),
        ({"const": 'say "hi"'}, '"say \\"hi\\""'),
        ({"enum": ["a", 1, None, True]}, '"a" | 1 | true | null'),
        ({"$ref": "#/$defs/Line-Output"}, "LineOutput"),
        ({"$ref": "#/$defs/Page_Line_"}, "PageLine"),
        ({"$ref": "#/$defs/a__b__Line"}, "ABLine"),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, "string | null"),
        ({"anyOf": [{"type": "string"}, {"type": "string"}]}, "string"),
        ({"anyOf": [{"type": "string"}, {}]}, "unknown"),
        ({"oneOf": [{"$ref": "#/$defs/Line"}, {"const": 1}]}, "Line | 1"),
        ({"allOf": [{"$ref": "#/$defs/Line"}, {"enum": [1, 2]}]}, "Line & (1 | 2)"),
        ({"type": "array"}, "unknown[]"),
        ({"type": "array", "items": {"enum": ["|", "b"]}}, '("|" | "b")[]'),
        ({"type": "array", "items": {"type": "array", "items": {"type": "null"}}}, "null[][]"),
        (
            {"type": "array", "prefixItems": [{"type": "string"}], "minItems": 1, "maxItems": 1},
            "[string]",
        ),
        (
            {"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "null"}},
            "[string?, ...null[]]",
        ),
        ({"type": "object"}, "{ [key: string]: unknown }"),
        ({"type": "object", "additionalProperties": False}, "{ [key: string]: never }"),
        (
            {"type": "object", "patternProperties": {"^a": {"type": "null"}},
             "additionalProperties": False},
            "{ [key: string]: null }",
        ),
        (
            {"type": "object", "propertyNames": {"enum": ["a"]},
             "additionalProperties": {"type": "null"}},
            'Partial<Record<"a", null>>',
        ),
        (
            {"type": "object", "properties": {"a-b": {"type": "null"}, "c": {}},
             "required": ["c"], "additionalProperties": False},
            '{\n  "a-b"?: null;\n  c: unknown;\n}',
        ),
        (
            {"type": "object", "properties": {"a": {}}, "additionalProperties": True},
            "{\n  a?: unknown;\n} & { [key: string]: unknown }",
        ),
    ],
)  # fmt: skip
def test_schemas_as_types(schema: Any, kind: str) -> None:
    assert type_of_schema(schema, NAMES) == kind


def test_names_are_given_once() -> None:
    names = TypeNames(["Page_Line_", "PageLine", "Array", "class"])

    assert [names[one] for one in ("PageLine", "Page_Line_", "Array", "class")] == [
        "PageLine", "PageLine2", "Array2", "class2"
    ]  # fmt: skip


def test_comments_cannot_be_ended_from_within() -> None:
    assert comment("a */ b") == "/** a *\\/ b */\n"
    assert comment("a\n\n*/ b\n", "  ") == "  /**\n   * a\n   *\n   * *\\/ b\n   */\n"
    assert comment("  \n") == ""
