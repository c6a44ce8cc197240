"""Our catalogues are read as babel reads them, and a line that makes no sense is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from babel.messages.pofile import read_po
from hypothesis import given
from hypothesis import strategies as st

from zhiban.kit import i18n
from zhiban.kit.po_file import MalformedCatalogue, Message, messages


@pytest.mark.parametrize("locale", i18n.LOCALES)
def test_our_catalogues_are_read_as_babel_reads_them(locale: str) -> None:
    path = i18n.FOLDER / f"{locale}.po"
    with path.open("rb") as file:
        theirs = [message for message in read_po(file, locale=locale) if message.id]
    ours = list(messages(path))
    assert [one.id for one in ours] == [one.id if isinstance(one.id, str) else one.id[0] for one in theirs]
    assert [tuple(one.strings) for one in ours] == [
        (one.string,) if isinstance(one.string, str) else tuple(one.string) for one in theirs
    ]
    assert [one.fuzzy for one in ours] == [one.fuzzy for one in theirs]
    assert len(ours) > 100


def test_texts_over_several_lines_escapes_and_marks_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "some.po"
    path.write_text(
        'msgid ""\nmsgstr "Language: en\\n"\n\n#, fuzzy\nmsgid "一"\nmsgstr "one"\n'
        '# said twice\nmsgid ""\n"第一行\\n"\n"\\"第二行\\"\\\\"\nmsgstr "two\\tlines"\n'
        'msgid "{n}条"\nmsgid_plural "{n}条"\nmsgstr[0] "{n} row"\nmsgstr[1] "{n} "\n"rows"\n',
        "utf-8",
    )
    assert list(messages(path)) == [
        Message("一", None, ["one"], fuzzy=True),
        Message('第一行\n"第二行"\\', None, ["two\tlines"]),
        Message("{n}条", "{n}条", ["{n} row", "{n} rows"]),
    ]


@pytest.mark.parametrize("line", ["msgid 一", 'msgctxt "menu"', '"lost"', 'msgid "open'])
def test_a_line_that_is_none_of_ours_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "some.po"
    path.write_text(f"{line}\n", "utf-8")
    with pytest.raises(MalformedCatalogue, match=r"some\.po, line 1"):
        list(messages(path))


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1))
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("po") / "some.po"
    written = text.replace("\\", "\\\\").replace('"', '\\"')
    path.write_text(f'msgid "{written}"\nmsgstr "{written}"\n', "utf-8")
    assert list(messages(path)) == [Message(text, None, [text])]
