"""XML from strangers, and XML around other people's text."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zhiban.integrations.wecom import xml

BOMB = '<!DOCTYPE xml [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><xml><E>&b;</E></xml>'


@pytest.mark.parametrize(
    "document",
    [
        BOMB,
        '<?xml version="1.0"?>' + BOMB,
        "<!-- x -->" + BOMB,
        '<!DOCTYPE xml SYSTEM "file:///etc/passwd"><xml/>',
        '<!DOCTYPE xml [<!ENTITY x SYSTEM "file:///etc/passwd">]><xml>&x;</xml>',
        '<!DOCTYPE xml [<!ENTITY % p SYSTEM "http://127.0.0.1/x.dtd"> %p;]><xml/>',
        "<xml><!DOCTYPE x></xml>",
        "<xml>&undefined;</xml>",
        "<xml/><!DOCTYPE x>",
    ],
)
@pytest.mark.parametrize("kind", [str, bytes])
def test_hostile_34_no_document_type_and_no_entity(document: str, kind: type) -> None:
    with pytest.raises(xml.UnreadableXml):
        xml.parse(document if kind is str else document.encode())


def test_hostile_34_xinclude_is_only_an_element() -> None:
    root = xml.parse('<xml xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="file:///etc/passwd"/></xml>')
    assert root.get("xi:include") == ""


@pytest.mark.parametrize(
    "document",
    [
        "<x>" * 10_000 + "</x>" * 10_000,
        "<xml>" + "<a/>" * 100_000 + "</xml>",
        f'<xml a="{"x" * (1 << 20)}"/>',
    ],
    ids=["deep", "wide", "attribute"],
)
def test_hostile_35_depth_width_and_size_are_capped(document: str) -> None:
    with pytest.raises(xml.UnreadableXml):
        xml.parse(document)


@pytest.mark.parametrize(
    ("inside", "value"),
    [
        ("<![CDATA[a]]]]><![CDATA[>b]]>", "a]]>b"),
        ("<![CDATA[<![CDATA[x]]]]><![CDATA[>]]>", "<![CDATA[x]]>"),
        ("x<![CDATA[y]]>z", "xyz"),
        ("a<!-- note -->b<?pi x?>c", "abc"),
        ("<![CDATA[<!DOCTYPE html>]]>", "<!DOCTYPE html>"),
        ("  <![CDATA[ a ]]>\n", "   a \n"),
    ],
)
def test_hostile_36_values_are_put_together(inside: str, value: str) -> None:
    assert xml.parse(f"<xml><V>{inside}</V></xml>").raw("V") == value


@pytest.mark.parametrize("inside", ["&#0;", "\x0b", "\x00", "&#11;", "\ud83d"])
def test_hostile_37_characters_that_xml_forbids(inside: str) -> None:
    with pytest.raises(xml.UnreadableXml):
        xml.parse(f"<xml><V>{inside}</V></xml>")
    assert xml.parse("<xml><V>&#x1F600;</V></xml>").get("V") == "😀"


@pytest.mark.parametrize(
    "document",
    [
        "<xml><a>é</a></xml>".encode("utf-16"),
        "<xml><a>é</a></xml>".encode("utf-16-le"),
        b'<?xml version="1.0" encoding="GBK"?><xml/>',
        '<?xml version="1.0" encoding="GBK"?><xml>退货</xml>'.encode("gbk"),
        b"\xff\xfe",
        b"",
        b"   ",
        b"{}",
        b"<",
        b"<xml>",
        b"<xml></xm>",
        b"<1/>",
    ],
)
def test_hostile_13_other_encodings_and_no_xml(document: bytes) -> None:
    with pytest.raises(xml.UnreadableXml):
        xml.parse(document)


@pytest.mark.parametrize("before", ["\ufeff", "  \r\n\t", "\ufeff  ", '<?xml version="1.0" encoding="utf-8"?>\n'])
def test_hostile_12_a_byte_order_mark_or_blanks_first(before: str) -> None:
    assert xml.parse((before + "<xml><a>1</a></xml>").encode()).get("a") == "1"


def test_hostile_43_repeated_nodes_are_lists() -> None:
    many = "".join(f"<Item>wm{count}</Item>" for count in range(500))
    root = xml.parse(f"<xml><A>1</A><A>2</A><L>{many}</L><S><Item>one</Item></S></xml>")
    assert root.all("A") == ["1", "2"]
    listed, single = root.child("L"), root.child("S")
    assert listed is not None
    assert single is not None
    assert len(listed.all("Item")) == 500
    assert single.all("Item") == ["one"]
    assert root.as_dict()["A"] == ["1", "2"]


def test_names_match_without_regard_to_case() -> None:
    root = xml.parse("<xml><AgentId> 7 </AgentId></xml>")
    assert (root.get("AgentID"), root.raw("AGENTID"), root.get("none")) == ("7", " 7 ", "")
    assert root.path("AgentId", "deeper") is None


@given(st.text(max_size=300))
@example("]]>")
@example("</xml>]]]]>>")
@example("\x00\x0b\ufffe\ud83d")
def test_hostile_51_any_text_survives_being_written(text: str) -> None:
    document = xml.write({"Content": text, "CreateTime": 7})
    legal = xml._ILLEGAL.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    root = xml.parse(document)
    assert root.raw("Content") == legal
    assert root.get("CreateTime") == "7"


pieces = st.sampled_from(
    [
        "<xml>",
        "</xml>",
        "<a>",
        "</a>",
        "<![CDATA[",
        "]]>",
        "&amp;",
        "&#0;",
        "<!--",
        "-->",
        "<?",
        "?>",
        "<!DOCTYPE x",
        "x",
    ]
)


@given(st.lists(pieces, max_size=30).map("".join) | st.text(max_size=100) | st.binary(max_size=100))
def test_nothing_but_its_own_error_is_ever_raised(document: str | bytes) -> None:
    try:
        root = xml.parse(document)
    except xml.UnreadableXml:
        return
    assert isinstance(root.as_dict(), dict)
