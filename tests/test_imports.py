"""A server carries what it needs to answer, and nothing that one command or one kind of file needs."""

from __future__ import annotations

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
    "openpyxl": "imports of tables",
    "pypdf": "imports of PDF",
    "sqlalchemy": "migrations",
}


def test_starting_a_server_loads_no_library_that_it_does_not_need() -> None:
    program = "import sys, zhiban.main, zhiban.container; print(' '.join(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {name: why for name, why in ELSEWHERE.items() if name in done.stdout.split()} == {}


def test_the_newest_revision_is_the_one_that_alembic_finds() -> None:
    config = Config()
    config.set_main_option("script_location", str(VERSIONS.parent))
    assert newest_revision() == ScriptDirectory.from_config(config).get_current_head()
