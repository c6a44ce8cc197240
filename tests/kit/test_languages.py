"""A reader is offered a translation of what they may not know, and of nothing else."""

from __future__ import annotations

import pytest

from zhiban.kit.i18n import Locale
from zhiban.kit.languages import is_foreign


@pytest.mark.parametrize(
    ("text", "reader", "foreign"),
    [
        ("How do I get a refund?", "zh", True),
        ("怎么申请退款？", "zh", False),
        ("我的 iPhone 15 Pro Max charger 不工作了", "zh", False),
        ("OK", "zh", False),
        ("SF1234567890 https://shop.example/a/b a@b.example", "zh", False),
        ("送料はいくらですか", "zh", True),
        ("배송비는 얼마인가요?", "zh", True),
        ("Когда будет доставка?", "zh", True),
        ("怎麼申請退款？", "zh", False),
        ("", "zh", False),
        ("👍🏻 12345", "zh", False),
        ("怎么申请退款？", "en", True),
        ("How do I get a refund?", "en", False),
        ("Refund", "en", False),
        ("Zhou Yuan", "en", False),
        ("Hola, quiero devolver mi pedido", "en", True),
        ("Please send 发票 to me, thank you", "en", False),
        ("Когда будет доставка?", "en", True),
        ("कब आएगा मेरा सामान", "en", True),
        ("متى يصل طلبي", "zh", True),
        ("Hola, no me llega nada a casa", "en", True),
        ("O meu pedido ainda não chegou", "en", True),
        ("Wo bleibt mein Paket? Es was am Montag da", "en", True),
        ("Je n'ai pas reçu mon colis", "en", True),
        ("Ho un problema con il mio ordine", "en", True),
        ("Package lost. Refund requested immediately", "en", False),
        ("Package lost. Refund requested immediately", "zh", True),
        ("Is there a café near Los Angeles, and is it open?", "en", False),
        ("Rio de Janeiro", "en", False),
        ("iPhone 15 Pro Max", "zh", False),
        ("Dell XPS", "zh", False),
        ("Thank you", "zh", True),
    ],
)
def test_what_is_foreign_to_whom(text: str, reader: Locale, foreign: bool) -> None:
    assert is_foreign(text, reader) is foreign
