"""What is said in a chat about tickets and drafts, in the language in which the command was written."""

from __future__ import annotations

from collections.abc import Sequence

from zhiban.conversations.published_files import FileToPublish
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts, mark
from zhiban.tickets.drafts import LIFE, TicketDraft
from zhiban.tickets.frozen import FrozenLine
from zhiban.tickets.issue_search import FoundIssue
from zhiban.tickets.masking import Secret, kinds
from zhiban.tickets.models import Ticket
from zhiban.tickets.rendering import Signature, hidden, speaker_names
from zhiban.tickets.repositories import RepositoryRow
from zhiban.tickets.windows import MOST, ChosenMessages, Unclear, WindowQuestion

_SHOWN = 8  # lines of a preview before the rest is only counted
_LINE = 40  # characters of each
PRIORITIES = {1: mark("低"), 2: mark("普通"), 3: mark("高"), 4: mark("紧急")}
_PICTURES = mark("图片{n}张")
_OTHER_FILES = mark("文件{n}份")
_SECRETS = {
    Secret.MOBILE: mark("{n}个手机号"),
    Secret.ID_CARD: mark("{n}个证件号"),
    Secret.BANK_CARD: mark("{n}个卡号"),
    Secret.EMAIL: mark("{n}个邮箱"),
    Secret.TOKEN: mark("{n}个密钥"),
    Secret.PASSWORD: mark("{n}个密码"),
    Secret.ACCOUNT: mark("{n}个账号"),
}


@frozen_dataclass
class Preview:
    """What a draft is shown with: names instead of ids, and what there is to say about the window."""

    draft: TicketDraft
    repository: RepositoryRow | None = None
    signature: Signature = Signature.ALIAS
    labels: tuple[str, ...] = ()
    owner: str = ""
    likely: tuple[FoundIssue, ...] = ()
    remarks: tuple[str, ...] = ()
    files: Sequence[FileToPublish] = ()  # that may be published, also those that are not to be
    without_address: bool = False  # they would be, had we an address for everybody


def preview_words(preview: Preview, texts: Texts) -> str:
    """The draft, as its requester reads it before they say yes. Secrets are hidden as they will be."""
    wish = preview.draft.wish
    lines = [
        texts("工单草稿，{minutes}分钟内有效", minutes=int(LIFE.total_seconds() // 60)),
        texts("标题：{title}", title=hidden(wish.title, texts)),
    ]
    if wish.summary:
        lines.append(texts("摘要：{summary}", summary=hidden(wish.summary, texts)))
    if preview.repository is not None:
        where = texts("仓库：{name}", name=preview.repository.name)
        lines.append(where if preview.repository.private else where + texts("（公开）"))
    about = []
    if preview.labels:
        about.append(texts("标签：{names}", names=texts("、").join(preview.labels)))
    if wish.assignees:
        about.append(texts("指派：{names}", names=texts("、").join(wish.assignees)))
    if preview.owner:
        about.append(texts("负责：{name}", name=preview.owner))
    if wish.priority:
        about.append(texts("优先级：{name}", name=texts(PRIORITIES[int(wish.priority)])))
    if about:
        lines.append(" ".join(about))
    if wish.note:
        lines.append(texts("说明：{note}", note=_short(hidden(wish.note, texts))))
    lines += _content(wish.lines, preview.signature, texts)
    lines += _files(preview, texts)
    if preview.likely:
        lines.append(texts("可能重复："))
        lines += [_likely(issue, texts) for issue in preview.likely]
    lines += preview.remarks
    lines.append(texts("回复“确认”或“取消”，紧接着回1或2也行；也可以说：改标题 …、去掉第3条、加到 #12"))
    return "\n".join(lines)


def covered_words(said: Sequence[FrozenLine], texts: Texts) -> str:
    """What of these lines is hidden from who reads them; empty where nothing is."""
    found = sum((kinds(line.text) for line in said), start=kinds(""))
    return texts("、").join(texts(_SECRETS[kind], n=count) for kind, count in sorted(found.items()))


def _content(said: Sequence[FrozenLine], signature: Signature, texts: Texts) -> list[str]:
    names = speaker_names(said, signature, texts)
    covered = covered_words(said, texts)
    head = (
        texts("内容{n}条，隐去了{what}：", n=len(said), what=covered) if covered else texts("内容{n}条：", n=len(said))
    )
    shown = [
        f"{place} {names[line.speaker]}{texts('：')}{_short(hidden(line.text, texts))}"
        for place, line in enumerate(said[:_SHOWN], start=1)
    ]
    more = len(said) - len(shown)
    return [head, *shown, *([texts("……还有{n}条", n=more)] if more else [])]


def published_words(chosen: Sequence[FileToPublish], repository: RepositoryRow | None, texts: Texts) -> str:
    """Who will see which files, where they are published with an issue."""
    pictures = sum(one.kind == "picture" for one in chosen)
    parts = [
        texts(words, n=count)
        for words, count in ((_PICTURES, pictures), (_OTHER_FILES, len(chosen) - pictures))
        if count
    ]
    what = texts("、").join(parts)
    if repository is None or repository.private:
        return texts("会放到网上的：{what}。仓库是私有的，但谁拿到链接都能打开，不用登录。", what=what)
    return texts("会公开的：{what}。仓库是公开的，谁都看得到。", what=what)


def _files(preview: Preview, texts: Texts) -> list[str]:
    """What becomes of pictures and files, and how to say otherwise."""
    chosen = [one for one in preview.files if one.attachment_id in preview.draft.wish.publish]
    if not chosen:
        if preview.without_address:
            return [texts("图片和文件只写名称：这里还没有设公网地址（ZHIBAN_URL），没法公开。")]
        return [texts("图片和文件只写名称，不公开；要公开就说“带上图片”。")] if preview.files else []
    what = published_words(chosen, preview.repository, texts)
    return [what + texts("里面的字遮不住。不想公开就说“不要图片”或“不要附件”。")]


def _likely(issue: FoundIssue, texts: Texts) -> str:
    state = texts("打开") if issue.state == "open" else texts("已关闭")
    return f"{issue.called} {_short(issue.title)} ({state})"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LINE else text[: _LINE - 1] + "…"


def remarks(chosen: ChosenMessages, texts: Texts) -> list[str]:
    """What is to be said about which messages were taken."""
    said = []
    if chosen.wanted is not None:
        said.append(texts("只有{n}条可以用", n=len(chosen.ids)))
    if chosen.cut:
        said.append(texts("一张工单最多{n}条，取了最近的", n=MOST))
    return said


def question_words(question: WindowQuestion, texts: Texts) -> str:
    """Why nothing was taken, asked back."""
    about = question.about[:40]
    match question.why:
        case Unclear.NOTHING:
            return texts("前面没有可以用的消息。")
        case Unclear.COUNT:
            return texts("请说1到{n}之间的条数，比如“以上5条开工单”。", n=MOST)
        case Unclear.TOO_MANY:
            return texts("那之后有{n}条，一张工单最多{most}条，请说得再近一些。", n=about, most=MOST)
        case Unclear.SPEAKER:
            return texts("最近没有找到“{name}”说的话。", name=about)
        case Unclear.WORDS:
            return texts("最近没有找到“{words}”。", words=about)
        case Unclear.QUOTE:
            return texts("请引用要用的那一条，再说“这条开工单”。")


def joined_words(ticket: Ticket, texts: Texts) -> str:
    """What was asked for is put to this ticket."""
    return texts("已加到工单{number}：{title}", number=ticket.number, title=hidden(ticket.title, texts))


def filed_words(ticket: Ticket, repository: RepositoryRow | None, texts: Texts) -> str:
    """A ticket was made of a draft."""
    said = texts("已开工单{number}：{title}", number=ticket.number, title=hidden(ticket.title, texts))
    if repository is not None:
        said += "\n" + texts("正在建到{name}，建好了在这里说。", name=repository.name)
    return said + "\n" + texts("开错了请在10分钟内回复“撤销”。")
