"""The API's documentation as an ordinary page: no script, nothing fetched from elsewhere, works without a network."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request, params
from fastapi.responses import JSONResponse, Response

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.web.render import Renderer, viewer_of

METHODS = ("get", "post", "put", "patch", "delete")
DEPTH = 4
TOKEN = "ZHIBAN_TOKEN"  # noqa: S105 - the variable that the printed commands read
BINARY = "application/octet-stream"
PLACES = {"body": mark("请求体"), "query": mark("查询参数"), "path": mark("路径"), "header": mark("请求头")}


@frozen_dataclass
class Field:
    name: str
    where: str
    kind: str
    required: bool
    about: str
    sample: Any = None


@frozen_dataclass
class Operation:
    """One method of one path."""

    method: str
    path: str
    title: str
    about: str
    fields: tuple[Field, ...]
    body: str  # an example of what is sent, as JSON
    answer: str  # an example of what comes back
    statuses: tuple[tuple[str, str], ...]
    scopes: tuple[str, ...]  # what a token needs; empty: no token is needed
    protected: bool
    file: bool = False  # whether what is sent is a file as it is

    def curl(self, address: str) -> str:
        """A command that works as it stands, once the token is in its variable, and a file is there that it sends."""
        path = self.path
        for field in self.fields:
            if field.where == "path":
                path = path.replace(f"{{{field.name}}}", str(field.sample))
        asked = {one.name: one.sample for one in self.fields if one.where == "query" and one.required}
        if asked:
            path += "?" + urlencode(asked)
        lines = [f"curl -X {self.method} {shlex.quote(address + path)}"]
        if self.protected:
            lines.append(f'-H "Authorization: Bearer ${TOKEN}"')
        if self.body:
            lines += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(self.body)}"]
        if self.file:
            lines += [f"-H 'Content-Type: {BINARY}'", "--data-binary @contract.pdf"]
        return " \\\n  ".join(lines)

    @property
    def anchor(self) -> str:
        return f"{self.method}{self.path}".replace("/", "-").replace("{", "").replace("}", "")


def operations(schema: Mapping[str, Any]) -> list[Operation]:
    """Everything the OpenAPI document describes, in its order."""
    return [
        _operation(schema, method, path, item[method])
        for path, item in schema.get("paths", {}).items()
        for method in METHODS
        if method in item
    ]


def _operation(schema: Mapping[str, Any], method: str, path: str, found: Mapping[str, Any]) -> Operation:
    content = found.get("requestBody", {}).get("content", {})
    body = content.get("application/json", {}).get("schema")
    responses = found.get("responses", {})
    first: Mapping[str, Any] = next((value for code, value in responses.items() if code.startswith("2")), {})
    security: Sequence[Mapping[str, Sequence[str]]] = found.get("security", ())
    answer = first.get("content", {}).get("application/json", {}).get("schema")
    return Operation(
        method=method.upper(),
        path=path,
        title=str(found.get("summary") or path),
        about=str(found.get("description") or ""),
        fields=(*_parameters(schema, found), *_properties(schema, body)),
        body=_text(example(schema, body)) if body else "",
        answer=_text(example(schema, answer)) if answer else "",
        statuses=tuple((code, str(value.get("description", ""))) for code, value in responses.items()),
        scopes=tuple(scope for one in security for scopes in one.values() for scope in scopes),
        protected=bool(security),
        file=BINARY in content,
    )


def _parameters(schema: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[Field]:
    for one in found.get("parameters", ()):
        yield Field(
            one["name"],
            one["in"],
            _kind(schema, one.get("schema", {})),
            bool(one.get("required")),
            one.get("description", ""),
            example(schema, {**one.get("schema", {}), **({"example": one["example"]} if "example" in one else {})}),
        )


def _properties(schema: Mapping[str, Any], body: Mapping[str, Any] | None) -> Iterator[Field]:
    resolved = _resolve(schema, body or {})
    needed = set(resolved.get("required", ()))
    for name, one in resolved.get("properties", {}).items():
        yield Field(name, "body", _kind(schema, one), name in needed, str(_resolve(schema, one).get("description", "")))


def _resolve(schema: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = part.get("$ref")
    if isinstance(reference, str):
        found: Any = schema
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
        return {**found, **{key: value for key, value in part.items() if key != "$ref"}}
    return part


def _kind(schema: Mapping[str, Any], part: Mapping[str, Any]) -> str:
    resolved = _resolve(schema, part)
    if "anyOf" in resolved:
        return " | ".join(_kind(schema, one) for one in resolved["anyOf"])
    if "enum" in resolved:
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in resolved["enum"])
    kind = str(resolved.get("type", "object"))
    return f"{_kind(schema, resolved.get('items', {}))}[]" if kind == "array" else kind


def example(schema: Mapping[str, Any], part: Mapping[str, Any] | None, depth: int = 0) -> Any:
    """A value that fits: what the schema gives as example or default, otherwise something plain."""
    resolved = _resolve(schema, part or {})
    if resolved.get("examples"):
        return resolved["examples"][0]
    for key in ("example", "default", "const"):
        if key in resolved:
            return resolved[key]
    if "anyOf" in resolved:
        return example(schema, resolved["anyOf"][0], depth)
    if "enum" in resolved:
        return resolved["enum"][0]
    match resolved.get("type"):
        case "object" | None if depth < DEPTH:
            return {name: example(schema, one, depth + 1) for name, one in resolved.get("properties", {}).items()}
        case "array":
            return [example(schema, resolved.get("items", {}), depth + 1)] if depth < DEPTH else []
        case "integer":
            return 0
        case "number":
            return 0.0
        case "boolean":
            return True
        case "string":
            return "…"
    return None


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


SCHEMA = "/api/openapi.json"


def install(
    app: FastAPI,
    renderer: Renderer,
    *,
    path: str = "/docs",
    url: str = "",
    page: Sequence[params.Depends] = (),
    schema: Sequence[params.Depends] = (),
) -> None:
    """Mount the page, and the document it is made of, for whom the dependencies of each let pass.

    The application's own documentation pages must be off. `url`: where programs reach us.
    """

    @app.get(SCHEMA, include_in_schema=False, dependencies=schema)
    async def api_schema() -> Response:
        return JSONResponse(app.openapi())

    @app.get(path, include_in_schema=False, dependencies=page)
    async def api_docs(request: Request) -> Response:
        return renderer.answer(
            "apidocs.html",
            viewer_of(request),
            operations=operations(app.openapi()),
            address=url or str(request.base_url).rstrip("/"),
            schema_url=SCHEMA,
            version=app.version,
            places=PLACES,
            token=TOKEN,
        )
