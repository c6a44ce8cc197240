"""Files of every kind become questions, answers and text; broken and hostile ones become a sentence."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhiban.knowledge import chunking, converters, markdown
from zhiban.knowledge.converters import convert
from zhiban.knowledge.document import Block, Location, Unreadable, decode, is_question, split_similar
from zhiban.knowledge.html import read_html

GUIDE = """---
category: 售后
---
# 青禾帮助
开头 **说明** 见[官网](https://qinghe.example/a)。

## 1. 怎么退款？
相似问题：
- 如何退钱
- 我要退款

在订单页点退款。

1. 打开
   - 子项
2. 提交

## 配送范围
| 省 | 费 |
|---|---|
| 京 | 0 |

```
code
  indented
```

问：能开票吗？
答：能。

## 空的一节
"""


def test_markdown_questions_become_faqs_and_the_rest_stays_text() -> None:
    reading = convert(GUIDE.encode(), "帮助.md")
    assert reading.title == "青禾帮助"
    assert reading.category == "售后"
    refund, invoice = reading.faqs
    assert refund.question == "怎么退款？"
    assert refund.similar == ("如何退钱", "我要退款")
    assert refund.answer == "在订单页点退款。\n\n1. 打开\n  - 子项\n2. 提交"
    assert refund.place == Location("line", 7)
    assert (invoice.question, invoice.answer) == ("能开票吗？", "能。")
    assert [block.text for block in reading.blocks] == [
        "开头 说明 见官网 (https://qinghe.example/a)。",
        "| 省 | 费 |\n|---|---|\n| 京 | 0 |",
        "code\n  indented",
        "空的一节",
    ]
    assert reading.blocks[1].heading_path == ("青禾帮助", "配送范围")
    assert reading.blocks[1].place == Location("line", 19)


@pytest.mark.parametrize("heading", ["怎么退款", "Q1: 退款", "能开票吗", "有没有优惠", "How to pay", "退款？"])
def test_these_headings_ask(heading: str) -> None:
    assert is_question(heading)


@pytest.mark.parametrize("heading", ["配送范围", "退款与退货", "", "说明" * 50 + "？"])
def test_these_headings_do_not(heading: str) -> None:
    assert not is_question(heading)


def test_a_question_heading_with_sections_below_is_a_chapter() -> None:
    reading = markdown.read("# 怎么用？\n先看这里。\n## 安装\n装上。\n", "x")
    assert reading.faqs == []
    assert [block.text for block in reading.blocks] == ["先看这里。", "装上。"]


@pytest.mark.parametrize(
    ("encoding", "name"), [("utf-8", "a.txt"), ("gbk", "a.txt"), ("utf-8-sig", "a.txt"), ("utf-16", "a.txt")]
)
def test_text_is_read_in_its_encoding(encoding: str, name: str) -> None:
    text = "退款说明：请在订单页点击申请售后。\n\n运费由我们承担，谢谢您的理解。"
    reading = convert(text.encode(encoding), name)
    assert [block.text for block in reading.blocks] == text.split("\n\n")
    assert reading.blocks[1].place == Location("line", 3)


def test_control_characters_do_not_reach_the_database() -> None:
    assert decode(b"a\x00b\x1fc\r\nd") == "abc\nd"


def test_html_loses_its_frame_and_keeps_its_words() -> None:
    page = (
        "<html><head><title>站</title><script>bad()</script></head><body><nav>菜单</nav><main><h1>帮助</h1>"
        "<div>你好<b>啊</b><p>第一段</p>尾巴</div><ul><li>甲<ul><li>乙</li></ul></li></ul><!-- no -->"
        "<table><tr><th>列</th><td>1</td></tr></table><pre>a\n  b</pre>"
        "<details><summary>怎么退？</summary>这样退</details></main><footer>页脚</footer></body></html>"
    )
    reading = convert(page.encode(), "x.html")
    assert reading.title == "帮助"
    assert [block.text for block in reading.blocks] == [
        "你好啊",
        "第一段",
        "尾巴",
        "- 甲\n- 乙",
        "| 列 | 1 |",
        "a\n  b",
    ]
    assert [(faq.question, faq.answer) for faq in reading.faqs] == [("怎么退？", "这样退")]


def test_html_says_its_encoding() -> None:
    page = '<html><head><meta charset="gbk"></head><body><p>退款</p></body></html>'.encode("gbk")
    assert convert(page, "x.htm").blocks[0].text == "退款"


def test_deep_nesting_is_survived() -> None:
    read_html("<div>" * 50_000 + "底" + "</div>" * 50_000, "x")


@pytest.mark.parametrize(
    ("header", "delimiter"),
    [
        ("question,similar_questions,answer,category", ","),
        ("标准问,相似问,答案,类别", ","),
        ("问题\t相似问题\t回答\t分类", "\t"),
    ],
)
def test_faq_tables_are_understood(header: str, delimiter: str) -> None:
    row = delimiter.join(["怎么退", '"如何退\n退吗"', "这样退", "售后"])
    reading = convert(f"{header}\n\n{row}\n没有答案{delimiter}{delimiter}{delimiter}\n".encode(), "faq.csv")
    (faq,) = reading.faqs
    assert faq.question == "怎么退"
    assert faq.similar == ("如何退", "退吗")
    assert (faq.answer, faq.category, faq.place) == ("这样退", "售后", Location("row", 3))


def test_a_table_of_something_else_keeps_its_rows() -> None:
    reading = convert("门店,地址\n湖滨店,湖滨路18号\n".encode(), "门店.csv")
    assert reading.blocks[0].text == "门店: 湖滨店\n地址: 湖滨路18号"
    assert reading.blocks[0].place == Location("row", 2)


def _workbook() -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["问题", "相似问题", "答案", "分类"])
    sheet.append(["怎么退", "如何退\n退吗", "这样退", None])
    sheet.append(["几天", None, 3, "物流"])
    saved = io.BytesIO()
    book.save(saved)
    return saved.getvalue()


def test_a_workbook_is_a_table() -> None:
    reading = convert(_workbook(), "faq.xlsx")
    assert [(faq.question, faq.similar, faq.answer, faq.category) for faq in reading.faqs] == [
        ("怎么退", ("如何退", "退吗"), "这样退", None),
        ("几天", (), "3", "物流"),
    ]


def _document(body: str) -> bytes:
    kinds = (
        '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Override PartName="/word/document.xml" ContentType='
        '"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>'
    )
    links = (
        '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        '<Relationship Id="r" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/'
        'officeDocument" Target="word/document.xml"/></Relationships>'
    )
    text = (
        '<?xml version="1.0"?><w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
        f"<w:body>{body}</w:body></w:document>"
    )
    saved = io.BytesIO()
    with zipfile.ZipFile(saved, "w") as archive:
        archive.writestr("[Content_Types].xml", kinds)
        archive.writestr("_rels/.rels", links)
        archive.writestr("word/document.xml", text)
    return saved.getvalue()


def test_a_word_document_keeps_headings_and_paragraphs() -> None:
    body = (
        '<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>怎么保修？</w:t></w:r></w:p>'
        "<w:p><w:r><w:t>整机一年。</w:t></w:r></w:p>"
    )
    reading = convert(_document(body), "保修.docx")
    said = [faq.answer for faq in reading.faqs] + [block.text for block in reading.blocks]
    assert "整机一年。" in said


def _pdf(text: str) -> bytes:
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    parts = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    out, offsets = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return out + b"xref\n0 6\n0000000000 65535 f \n%strailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (
        table,
        len(out),
    )


def test_a_pdf_tells_its_pages() -> None:
    reading = convert(_pdf("Refunds take three days."), "refund.pdf")
    assert reading.blocks == [Block("Refunds take three days.", (), Location("page", 1))]


def test_a_scanned_pdf_is_named() -> None:
    with pytest.raises(Unreadable, match="scanned"):
        convert(_pdf(""), "scan.pdf")


@pytest.mark.parametrize("name", ["x.docx", "x.xlsx", "x.pdf"])
@pytest.mark.parametrize("content", [b"not what it says", b"PK\x03\x04 broken", b"%PDF-1.4\n%%EOF"])
def test_damaged_files_become_a_sentence(name: str, content: bytes) -> None:
    with pytest.raises(Unreadable):
        convert(content, name)


@pytest.mark.parametrize("make", [_workbook, lambda: _document("<w:p/>"), lambda: _pdf("text")])
def test_truncated_files_become_a_sentence(make: Callable[[], bytes]) -> None:
    content = make()
    suffix = "pdf" if content.startswith(b"%PDF") else "xlsx" if b"xl/" in content else "docx"
    for size in (10, len(content) // 3, len(content) // 2):
        try:
            convert(content[:size], f"x.{suffix}")
        except Unreadable:
            continue


def test_an_archive_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converters, "MOST_UNPACKED", 1_000_000)
    saved = io.BytesIO()
    with zipfile.ZipFile(saved, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"0" * 2_000_000)
    with pytest.raises(Unreadable, match="unpacks"):
        convert(saved.getvalue(), "bomb.docx")


@pytest.mark.parametrize(
    ("content", "name"), [(b"", "a.md"), (b" \n ", "a.txt"), (b"x", "a.exe"), (b"<p></p>", "a.html")]
)
def test_what_holds_nothing_is_said(content: bytes, name: str) -> None:
    with pytest.raises(Unreadable):
        convert(content, name)


def test_a_giant_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converters, "MOST_BYTES", 10)
    with pytest.raises(Unreadable, match="larger"):
        convert(b"x" * 11, "a.md")


def test_similar_questions_of_a_cell() -> None:
    assert split_similar("- 如何退\n退吗；退吗 | 能退不\n") == ["如何退", "退吗", "能退不"]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(sorted(converters.SUFFIXES)))
def test_no_bytes_break_a_converter(content: bytes, suffix: str) -> None:
    try:
        reading = convert(content, f"x{suffix}")
    except Unreadable:
        return
    chunking.chunks(reading.blocks)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet=st.sampled_from("#-*>|`:问答QA？。\n 退款1.[]()<>&$\\"), max_size=300))
def test_no_text_breaks_markdown_or_html(text: str) -> None:
    markdown.read(text, "x")
    read_html(text, "x")


_TEXT = st.text(alphabet="退款多久到账。！？\n；abc1- ", min_size=1, max_size=3000).filter(str.strip)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(_TEXT, st.sampled_from([("甲",), ("甲", "乙")]), st.booleans()), max_size=6))
def test_chunks_hold_every_word_and_stay_small(blocks: list[tuple[str, tuple[str, ...], bool]]) -> None:
    given_blocks = [Block(text, path, Location("line", at), whole) for at, (text, path, whole) in enumerate(blocks, 1)]
    pieces = chunking.chunks(given_blocks)
    assert "".join("".join(piece.text for piece in pieces).split()) == "".join(
        "".join(block.text for block in given_blocks).split()
    )
    assert all(len(piece.text) <= chunking.WHOLE for piece in pieces)


def test_a_long_table_repeats_its_head() -> None:
    table = "| 省 | 费 |\n|---|---|\n" + "".join(f"| 第{at}行的省份名字 | {at} |\n" for at in range(300))
    pieces = chunking.chunks([Block(table, ("运费",), Location("line", 1), whole=True)])
    assert len(pieces) > 1
    assert all(piece.text.startswith("| 省 | 费 |\n|---|---|") for piece in pieces)


def test_a_chunk_never_crosses_a_heading() -> None:
    pieces = chunking.chunks(
        [Block("短。", ("甲",), Location("line", 1)), Block("也短。", ("乙",), Location("line", 2))]
    )
    assert [(piece.text, piece.heading_path) for piece in pieces] == [("短。", ("甲",)), ("也短。", ("乙",))]
