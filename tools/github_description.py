"""Take out of GitHub's own description what tests hold our calls to: the bodies of the requests that we send.

python tools/github_description.py node_modules/@octokit/openapi

What we need of the package is a few kilobytes, kept in tests/integrations/github/requests.json, so that every test can
look at it; one test installs the package and compares. Run it again when a call is added, or with a newer package.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parent.parent / "tests" / "integrations" / "github" / "requests.json"
DESCRIPTION = Path("generated") / "api.github.com.json"
CALLS = (
    ("post", "/repos/{owner}/{repo}/issues"),
    ("patch", "/repos/{owner}/{repo}/issues/{issue_number}"),
    ("post", "/repos/{owner}/{repo}/issues/{issue_number}/comments"),
    ("post", "/repos/{owner}/{repo}/issues/{issue_number}/labels"),
    ("post", "/repos/{owner}/{repo}/issues/{issue_number}/assignees"),
    ("post", "/app/installations/{installation_id}/access_tokens"),
    ("post", "/app/hook/deliveries/{delivery_id}/attempts"),
    ("delete", "/repos/{owner}/{repo}/issues/{issue_number}/labels/{name}"),
    ("delete", "/repos/{owner}/{repo}/issues/comments/{comment_id}"),
    ("post", "/repos/{owner}/{repo}/issues/{issue_number}/reactions"),
    ("delete", "/repos/{owner}/{repo}/issues/{issue_number}/reactions/{reaction_id}"),
    ("post", "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions"),
    ("delete", "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions/{reaction_id}"),
)


def plain(schema: Any) -> Any:
    """The schema as JSON Schema knows it: OpenAPI 3.0 says `nullable` beside a type, and also beside oneOf."""
    if isinstance(schema, list):
        return [plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        name: plain(value)
        for name, value in schema.items()
        if name not in ("nullable", "example", "examples", "description") and not name.startswith("x-")
    }
    return {"anyOf": [kept, {"type": "null"}]} if schema.get("nullable") is True else kept


def whole(schema: Any, document: dict[str, Any]) -> Any:
    """The schema with what it refers to in place of its references."""
    if isinstance(schema, list):
        return [whole(one, document) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(name := schema.get("$ref"), str):
        found: Any = document
        for part in name.removeprefix("#/").split("/"):
            found = found[part]
        return whole(found, document)
    return {name: whole(value, document) for name, value in schema.items()}


def excerpt(document: dict[str, Any]) -> dict[str, Any]:
    """The schema of each body, by method and path; null where the call has none."""
    found = {}
    for method, path in CALLS:
        content = document["paths"][path][method].get("requestBody", {}).get("content", {})
        schema = whole(content.get("application/json", {}).get("schema"), document)
        # Named properties alone: what GitHub does not know it ignores, and we would not notice.
        found[f"{method.upper()} {path}"] = None if schema is None else plain(schema) | _closed(schema)
    return found


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    return {"additionalProperties": False} if "properties" in schema else {}


def written(package: Path) -> str:
    """What the file has to say, by this package."""
    document = json.loads((package / DESCRIPTION).read_text("utf-8"))
    return json.dumps(excerpt(document), ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def main() -> int:
    TARGET.write_text(written(Path(sys.argv[1])), "utf-8")
    print(f"{TARGET.name}: {len(CALLS)} calls")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
