"""Batches of equal lengths, and digests."""

import hashlib

from modeling_lira.agents.batching import digest, equal_batches


def test_batches_hold_equal_lengths_of_one_group_once_each() -> None:
    groups = [("vi", 3), ("th", 3), ("vi", 5), ("vi", 3), ("vi", 3), ("th", 9)]
    batches = list(equal_batches(groups, 2))
    assert batches == [[2], [0, 3], [4], [5], [1]]


def test_digest_is_the_same_everywhere() -> None:
    wanted = hashlib.sha256('["áo",0,{"a":1,"b":null}]'.encode()).hexdigest()[:32]
    assert digest("áo", 0, {"b": None, "a": 1}) == wanted
