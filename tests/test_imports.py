"""A server carries what it needs to answer, and nothing that one command or one kind of file needs."""

from __future__ import annotations

import re
import subprocess
import sys

from alembic.config import Config
from alembic.script import ScriptDirectory

from zhiban.postgres.provisioning import VERSIONS, newest_revision

ELSEWHERE = {
    "aiosmtplib": "transcripts by mail",
    "alembic": "migrations",
    "apprise": "notices by other ways",
    "av": "voices, in a process of their own",
    "babel": "tools of development",
    "bs4": "imports of web pages",
    "chinese_calendar": "inboxes whose hours follow a calendar",
    "fastapi": "pages and API, loaded once webhooks are served",
    "jieba": "tools of development",
    "jinja2": "pages",
    "lxml": "imports of web pages",
    "mammoth": "imports of Word documents",
    "markdown_it": "imports of Markdown",
    "obstore": "FILE_STORE=s3://…",
    "opencc": "the first text that is searched for",
    "openpyxl": "imports of tables",
    "psutil": "other systems than Linux",
    "pydantic.v1.main": "nobody here",
    "pydantic_settings": "a few lines of ours",
    "pypdf": "imports of PDF",
    "regex": "texts that have to be cut, and rules that look for a pattern or a language",
    "rich": "what is printed for people",
    "sqlalchemy": "migrations",
    "xml.etree": "imports of Word documents and tables",
    "yaml": "rules, snippets and policies as files",
}
# What a vendor's connections need comes with the first of them, and what its set-up needs with the page.
OF_CONNECTIONS = re.compile(r"zhiban\.integrations\..*(tracker|vendor|channel|client|app_creation)")
LATER = {"fastapi", "jinja2"}  # what stays elsewhere only until the pages are loaded

PROGRAM = """
import sys
import zhiban.cli.web_server
print(*sys.modules)
import zhiban.main
zhiban.main.import_pages()
zhiban.cli.web_server.load_the_rest()
print(*sys.modules)
from fastapi.openapi.models import OpenAPI
print(OpenAPI.__pydantic_complete__, zhiban.api.conversation_models.ConversationOut.__pydantic_complete__)
"""


def test_a_server_loads_no_library_that_it_does_not_need() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    *loaded, built = done.stdout.splitlines()
    at_start, at_rest = (set(line.split()) for line in loaded)
    assert {name: why for name, why in ELSEWHERE.items() if name in at_start} == {}
    assert {name: why for name, why in ELSEWHERE.items() if name in at_rest - LATER} == {}
    assert built == "False True", "what FastAPI says in OpenAPI is built later, what we answer with is not"
    assert [name for name in at_rest if OF_CONNECTIONS.fullmatch(name)] == []


def test_the_newest_revision_is_the_one_that_alembic_finds() -> None:
    config = Config()
    config.set_main_option("script_location", str(VERSIONS.parent))
    assert newest_revision() == ScriptDirectory.from_config(config).get_current_head()
