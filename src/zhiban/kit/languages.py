"""Whether a text is in a language that its reader may not know: told by its script, and English by its small words."""

from __future__ import annotations

import re

from zhiban.kit.i18n import Locale

_NOT_WORDS = re.compile(r"(?:https?://|www\.)\S+|\S+@\S+|\S*\d\S*|[#/@]\S+")  # addresses, numbers, codes
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_KANA = re.compile(r"[\u3040-\u30ff]")
_LATIN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_OTHER = re.compile(r"[\u0370-\u1fff\u1100-\u11ff\uac00-\ud7af\ua980-\uabff\ufb1d-\ufdff\ufe70-\ufefc]")
_LEAST_WORDS = 2  # of another language: one alone is a name, a brand, OK
_MOSTLY = 0.3  # of Han among Han and words, from which a text is Chinese
_A_SENTENCE = 8  # words, among which any English sentence has a small one
# Small words by which a language is told; those that several languages share (a, no, me, on, was, die) tell nothing.
_ENGLISH = re.compile(
    r"about|after|and|any|are|because|been|but|can|could|did|does|don't|for|from|get|got|had|have|hello|help|how|i|i'm"
    r"|if|is|it|it's|just|like|my|need|not|now|of|order|our|out|please|she|should|some|than|thanks?|that|the|their|them"
    r"|then|there|they|this|to|up|what|when|where|which|who|why|with|would|yes|you|your",
    re.IGNORECASE,
)
_OTHER_WORDS = re.compile(
    r"el|los|las|una|unos|del|que|con|por|para|pero|como|cuando|donde|hola|gracias|muy|quiero|necesito|tengo|puedo|est[aá]"
    r"|mi|mis|su|lo|nada|nunca|llega|pedido"
    r"|o|os|um|uma|da|das|em|n[aã]o|com|meu|minha|eu|voc[eê]|quando|onde|obrigad[oa]|quero|preciso|chegou|ainda"
    r"|der|das|dem|den|ein|eine|einen|mein|meine|ich|wir|sie|nicht|ist|und|mit|f[uü]r|auf|zu|wo|wie|wann|wer|kann|habe"
    r"|bitte|danke|hallo|noch|mir|von|vom|bleibt"
    r"|le|les|des|du|une|est|et|je|vous|nous|pas|pour|avec|mon|mes|bonjour|merci|quand|sur|dans|ai|votre|c'est|j'ai"
    r"|gli|di|che|non|per|mio|mia|sono|ciao|grazie|dove|ho|il|della"
    r"|het|een|niet|ik|mijn|waar|wanneer|hebben|voor"
    r"|saya|tidak|yang|dan|ini|itu|bisa|belum|apa",
    re.IGNORECASE,
)


def is_foreign(text: str, reader: Locale) -> bool:
    """Whether the reader may need a translation: a guess, after which it is offered openly or by the message's menu.

    What is no language (addresses, numbers, codes) counts as none, names as no sentence.
    """
    plain = _NOT_WORDS.sub(" ", text)
    han, kana, other = len(_HAN.findall(plain)), len(_KANA.findall(plain)), len(_OTHER.findall(plain))
    words = [word for word in _LATIN.findall(plain) if word[0].isascii() or ord(word[0]) < 0x0370]
    if other >= _LEAST_WORDS and other > han + len(words):
        return True
    words = [word.replace("’", "'") for word in words]
    english = sum(_ENGLISH.fullmatch(word) is not None for word in words)
    others = sum(_OTHER_WORDS.fullmatch(word) is not None or _is_accented(word) for word in words)
    if reader == "zh":
        told = english or others or sum(len(word) > 1 and word.islower() for word in words) >= _LEAST_WORDS
        latin = len(words) >= _LEAST_WORDS and bool(told) and han / (han + len(words)) < _MOSTLY
        return kana >= _LEAST_WORDS or latin
    if han + kana >= _LEAST_WORDS and (han + kana) / (han + kana + len(words)) >= _MOSTLY:
        return True
    return (others >= _LEAST_WORDS and others > english) or (english == 0 and len(words) >= _A_SENTENCE)


def _is_accented(word: str) -> bool:
    """Whether it is no English word; one with a capital letter may be a name in any language."""
    return word.islower() and not word.isascii()
