"""Marks that a writer meant, and letters that only look like some."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiban.kit.rich_text import escaped, plain
from zhiban.web.rich import rich


@pytest.mark.parametrize(
    ("source", "words", "page"),
    [
        ("**急**请看", "急请看", "<p><strong>急</strong>请看</p>"),
        ("请**马上。**再看", "请马上。再看", "<p>请<strong>马上。</strong>再看</p>"),
        ("**“急”**，*很*急", "“急”，很急", "<p><strong>“急”</strong>，<em>很</em>急</p>"),
        ("*a **b** c*", "a b c", "<p><em>a <strong>b</strong> c</em></p>"),
        ("打 `**x**` 就行", "打 **x** 就行", "<p>打 <code>**x**</code> 就行</p>"),
        ("2*3*4=24，5 * 6", "2*3*4=24，5 * 6", "<p>2*3*4=24，5 * 6</p>"),
        ("2**3**4", "2**3**4", "<p>2**3**4</p>"),
        ("snake_case_name __x__", "snake_case_name __x__", "<p>snake_case_name __x__</p>"),
        ("评分 *****，只有**一半", "评分 *****，只有**一半", "<p>评分 *****，只有**一半</p>"),
        (r"\*\*不是\*\*", "**不是**", "<p>**不是**</p>"),
        ("见[退款](https://a.example/b_(c))", "见退款（https://a.example/b_(c)）",
         '<p>见<a class="link" href="https://a.example/b_(c)" target="_blank" rel="noopener noreferrer nofollow">'
         "退款</a></p>"),
        ("[x](javascript:alert(1))", "[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>"),
        ("![x](https://a.example/x.png)", "!x（https://a.example/x.png）",
         '<p>!<a class="link" href="https://a.example/x.png" target="_blank" rel="noopener noreferrer nofollow">'
         "x</a></p>"),
        ("一\n二\n\n三", "一\n二\n\n三", "<p>一<br>二</p><p>三</p>"),
        ("先做：\n- **甲**\n* 乙\n3. 丙", "先做：\n\n- 甲\n- 乙\n\n3. 丙",
         '<p>先做：</p><ul><li><strong>甲</strong></li><li>乙</li></ul><ol><li value="3">丙</li></ol>'),
        ("```sh\na **b**\n\n<i>\n```\n好", "a **b**\n\n<i>\n\n好",
         "<pre><code>a **b**\n\n&lt;i&gt;</code></pre><p>好</p>"),
        ("```\n没有完", "```\n没有完", "<p>```<br>没有完</p>"),
        ("<b>&amp;</b>", "<b>&amp;</b>", "<p>&lt;b&gt;&amp;amp;&lt;/b&gt;</p>"),
        ("", "", ""),
    ],
)  # fmt: skip
def test_it_is_read_as_it_was_meant(source: str, words: str, page: str) -> None:
    assert plain(source) == words
    assert str(rich(source)) == page


@given(st.text(alphabet="ab1 *+-、)`[]()\\。急https:/.x"))
def test_what_is_escaped_says_itself(text: str) -> None:
    line = text.strip()
    assert plain(escaped(line)) == line


@given(st.text(alphabet="a1 *`[]()\\\n-.。急<&\"'", max_size=60))
def test_no_text_becomes_markup_of_its_own(text: str) -> None:
    page = str(rich(text))
    for allowed in ("p", "strong", "em", "code", "pre", "ul", "ol", "li", "br"):
        page = page.replace(f"<{allowed}>", "").replace(f"</{allowed}>", "")
    assert "<" not in page.replace('<li value="', "")
