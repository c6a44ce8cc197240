"""What somebody may say to a draft: 1, 2, 改标题 …, 去掉第3条, 加到 #12, and 撤销 afterwards."""

from __future__ import annotations

import re
from dataclasses import replace

from zhiban.assistant.normalising import visible
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.patterns import lazy_pattern
from zhiban.tickets.counts import COUNT, count_of
from zhiban.tickets.naming import NUMBER

LONGEST = 300


@frozen_dataclass
class Confirm:
    """`plainly`: with a word that means nothing else, which a mere 1 or ok may."""

    plainly: bool


@frozen_dataclass
class Cancel:
    plainly: bool


@frozen_dataclass
class Retitle:
    title: str


@frozen_dataclass
class LeaveOut:
    """The messages at these places, counted from 1; 0 is the last one."""

    places: tuple[int, ...]


@frozen_dataclass
class ChooseFiles:
    """Which of its pictures and files everybody is to see with the issue: `add` is false for those that are not."""

    pictures: bool
    files: bool
    add: bool = False


@frozen_dataclass
class JoinTo:
    """`called`: as trackers write it, `#12`, `!12` or `#I2YRAH`. `ticket`: it is said to be a ticket; otherwise it may
    be an issue, which people write as #12 too."""

    called: str
    ticket: bool

    @property
    def number(self) -> int | None:
        """Of the ticket that it may be, None where none is called like this."""
        number = self.called.removeprefix("#")
        return int(number) if number.isdecimal() else None


@frozen_dataclass
class Undo:
    """Take back a ticket: the one of this number, or the last one."""

    number: int | None = None


DraftWord = Confirm | Cancel | Retitle | LeaveOut | ChooseFiles | JoinTo | Undo

_MENTION = lazy_pattern(r"\A(?:@[^ @]{1,40} )++| @[^ @]{1,40}\Z")
# Little pictures that thank or agree, and what WeChat writes for its own; one that wonders or asks is none.
PICTURE = (
    r"[🙏👍👌✅🎉😊😄👏🤝💪🌹❤][\ufe0f\U0001f3fb-\U0001f3ff]*"
    r"|\[(?:抱拳|强|OK|玫瑰|合十|握手|鼓掌|爱心|庆祝|ThumbsUp|Salute|Rose)\]"
)
_END = rf"(?:[。.!！~ ]|{PICTURE})*"
_CONFIRM = lazy_pattern(rf"(?P<one>[1１]|(?:ok|yes){_END})|(?:确认|確認|确定|確定|提交|confirm){_END}", re.IGNORECASE)
_CANCEL = lazy_pattern(rf"(?P<two>[2２])|(?:取消|不开了|不開了|cancel){_END}", re.IGNORECASE)
_RETITLE = lazy_pattern(
    r"(?:改标题|改標題|标题改成|标题改为|標題改成|標題改為|(?:标题|標題)(?=[:： ])|title(?=[:： ]))"
    r"(?:为|成|為)?[:：\s]*(?P<title>.+)",
    re.IGNORECASE | re.DOTALL,
)
_PLACES = rf"第?(?:最后一?|最後一?|{COUNT})(?:[、,，和 ]+第?{COUNT})*[条條]"
# What is not to be in it, also as a clause of the command itself.
LEAVE_OUT = (
    rf"(?:(?:去掉|删掉|刪掉|删除|刪除|去除|除去|除了|跳过|跳過|不要|不含)(?P<places>{_PLACES})"
    rf"|(?P<before>{_PLACES})(?:不要|不算|除外|去掉|删掉|刪掉)"
    r"|(?:remove|drop|without) (?P<english>[0-9]{1,3}(?:[ ,]+[0-9]{1,3})*))"
)
_FILES = r"(?:图片|圖片|截图|截圖|照片|文件|附件|檔案|pictures?|images?|files?|attachments?)"
# Which files everybody is not to see, also as a clause of the command itself.
FILES_LEFT_OUT = (
    r"(?:(?:不要|不带|不帶|不用|别带|別帶|去掉|不公开|不公開|别公开|別公開|不发|不發)"
    rf"(?:公开|公開|发|發)?|without |no ) ?(?P<left>{_FILES}(?:(?:和|、|与|與|及| and ){_FILES})*)"
)
_FILES_LEFT_OUT = lazy_pattern(rf"{FILES_LEFT_OUT}{_END}", re.IGNORECASE)
_FILES_ADDED = lazy_pattern(
    rf"(?:带上?|帶上?|公开|公開|with )(?P<left>{_FILES}(?:(?:和|、|与|與|及| and ){_FILES})*){_END}",
    re.IGNORECASE,
)
_OTHER_FILES = lazy_pattern(r"文件|附件|檔案|files?|attachments?", re.IGNORECASE)
_PICTURES = lazy_pattern(r"图片|圖片|截图|截圖|照片|附件|pictures?|images?|attachments?", re.IGNORECASE)
_LEAVE_OUT = lazy_pattern(rf"{LEAVE_OUT}{_END}", re.IGNORECASE)
_JOIN = lazy_pattern(
    r"(?:(?:加到|并到|併到|合并到|合併到|追加到)\s*|add (?:it )?to )"
    rf"(?P<ticket>工单|工單|ticket)?\s*(?:#?\s*(?P<number>[0-9]{{1,9}})|(?P<called>[#!]\s?{NUMBER})){_END}",
    re.IGNORECASE,
)
_UNDO = lazy_pattern(
    rf"(?:撤销|撤銷|撤回工单|撤回工單|undo)\s*(?:工单|工單|ticket)?\s*#?\s*(?P<number>[0-9]{{1,9}})?{_END}",
    re.IGNORECASE,
)


def without_mentions(text: str) -> str:
    """What is said besides the names at its beginning and end, on one line, without what nobody sees."""
    # Runs of blanks would cost their length to the fourth.
    return _MENTION.sub("", " ".join(visible(text).split())).strip()


def parse_word(text: str) -> DraftWord | None:
    """What this says to a draft or about a ticket, None where it is said about something else."""
    if len(text) > LONGEST:
        return None
    said = without_mentions(text)
    if found := _CONFIRM.fullmatch(said):
        return Confirm(plainly=not found["one"])
    if found := _CANCEL.fullmatch(said):
        return Cancel(plainly=not found["two"])
    if found := _RETITLE.fullmatch(said):
        title = " ".join(found["title"].split())
        return Retitle(title) if title else None
    if found := _LEAVE_OUT.fullmatch(said):
        return left_out(found)
    if found := _FILES_LEFT_OUT.fullmatch(said):
        return files_left_out(found)
    if found := _FILES_ADDED.fullmatch(said):
        return replace(files_left_out(found), add=True)
    if found := _JOIN.fullmatch(said):
        called = f"#{int(found['number'])}" if found["number"] else "".join(found["called"].split()).upper()
        return JoinTo(called, ticket=bool(found["ticket"]))
    if found := _UNDO.fullmatch(said):
        return Undo(int(found["number"]) if found["number"] else None)
    return None


def files_left_out(found: re.Match[str]) -> ChooseFiles:
    """What a match of FILES_LEFT_OUT means."""
    return ChooseFiles(bool(_PICTURES.search(found["left"])), bool(_OTHER_FILES.search(found["left"])))


def left_out(found: re.Match[str]) -> LeaveOut | None:
    """What a match of LEAVE_OUT means, None where it is no place."""
    places = []
    written = found["places"] or found["before"] or found["english"]
    for part in re.split(r"[、,，和 第]+", written.rstrip("条條")):
        if not part:
            continue
        count = 0 if part[0] == "最" else count_of(part)
        if count is None or (count == 0 and part[0] != "最"):
            return None
        places.append(count)
    return LeaveOut(tuple(dict.fromkeys(places))) if places else None
