"""Ours behave like frozen dataclasses with slots, whatever they share with each other."""

from __future__ import annotations

import dataclasses
import gc
import pickle
import weakref
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from zhiban.kit.frozen_dataclass import frozen_dataclass


@frozen_dataclass
class Empty:
    pass


@frozen_dataclass
class One:
    """Has its own words."""

    name: str


@frozen_dataclass
class Many:
    name: str
    count: int = 0
    tags: tuple[str, ...] = ()
    cache: dict[str, int] = field(default_factory=dict, compare=False, repr=False)

    @property
    def loud(self) -> str:
        return self.name.upper()


@frozen_dataclass
class More:
    name: str

    def __repr__(self) -> str:
        return "more"


@dataclass(frozen=True, slots=True)
class Usual:
    name: str
    count: int = 0
    tags: tuple[str, ...] = ()
    cache: dict[str, int] = field(default_factory=dict, compare=False, repr=False)


@pytest.mark.parametrize("kind", [Many, Usual])
def test_it_is_like_the_usual_one(kind: Any) -> None:
    one, same, other = kind("a", 1, cache={"x": 1}), kind("a", 1), kind("a", tags=("b",))
    assert one == same
    assert one != other
    assert one != ("a", 1, ())
    assert hash(one) == hash(same)
    assert len({one, same, other}) == 2
    assert repr(one) == f"{kind.__name__}(name='a', count=1, tags=())"
    assert replace(one, count=2) == kind("a", 2)
    assert dataclasses.astuple(one) == ("a", 1, (), {"x": 1})
    assert pickle.loads(pickle.dumps(one)) == one
    assert not hasattr(one, "__dict__")
    for change in (lambda: setattr(one, "count", 3), lambda: delattr(one, "count")):
        with pytest.raises(AttributeError):
            change()
    with pytest.raises(TypeError):
        kind()
    with pytest.raises(TypeError):
        hash(kind("a", tags=["b"]))
    match one:
        case kind(name=name, count=count):
            assert (name, count) == ("a", 1)


def test_those_of_other_classes_are_never_equal() -> None:
    assert Many("a") != More("a")
    assert Many("a") != Usual("a")
    assert Empty() == Empty()
    assert Empty() != One("a")
    assert One("a") == One("a")
    assert hash(One("a")) == hash(One("a"))
    assert hash(Empty()) == hash(Empty())


def test_a_class_with_bases_is_refused() -> None:
    class Above:
        pass

    class Below(Above):
        name: str

    with pytest.raises(TypeError, match="Below has bases"):
        frozen_dataclass(Below)


def test_what_a_class_writes_itself_stays() -> None:
    assert repr(More("a")) == "more"
    assert repr(Empty()) == "Empty()"
    assert One.__doc__ == "Has its own words."


def test_the_class_as_it_was_written_is_not_kept() -> None:
    class Written:
        name: str
        tags: list[str] = field(default_factory=list)

    before = weakref.ref(Written)
    made: Any = frozen_dataclass(Written)
    del Written
    gc.collect()
    assert before() is None
    assert [one.name for one in dataclasses.fields(made)] == ["name", "tags"]
    assert replace(made("a"), name="b") == made("b", [])
