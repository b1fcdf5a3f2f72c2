"""The cache of backbone streams: made once, found again, resumed, and never trusted when torn."""

import copy
import errno
import os

import numpy as np
import pytest
import torch
from conftest import MULTILINGUAL_TEXTS

import modeling_lira.data.stream_cache as stream_cache
from modeling_lira import LiraError, LiraModel, LiraProcessor
from modeling_lira.data.stream_cache import StreamCache

TEXTS = list(MULTILINGUAL_TEXTS[:10])


class Counter:
    """Counts the texts that the backbones see, and fails at one of them if told to."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.fail_at: str | None = None


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Counter:
    counter, original = Counter(), LiraModel.encode_streams

    def counting(model: LiraModel, texts: list[str], *arguments: str) -> torch.Tensor:
        if counter.fail_at in texts:
            raise KeyboardInterrupt
        counter.seen += texts
        return original(model, texts, *arguments)

    monkeypatch.setattr(LiraModel, "encode_streams", counting)
    monkeypatch.setattr(stream_cache, "_CHUNK", 3)
    return counter


@pytest.fixture
def cache(tmp_path) -> StreamCache:
    return StreamCache(tmp_path / "streams")


def expected(model: LiraModel, texts: list[str], path: str = "multilingual", kind: str = "query") -> np.ndarray:
    return model.encode_streams(texts, path, kind).half().numpy()


@pytest.mark.parametrize(("path", "width"), [("multilingual", 48), ("english", 32)])
def test_streams_are_the_models_own_in_float16(tiny_model, cache, path, width):
    streams = cache.get(tiny_model, TEXTS, path)
    assert isinstance(streams, np.memmap) and streams.dtype == np.float16
    assert streams.shape == (10, 8, width)
    np.testing.assert_array_equal(streams, expected(tiny_model, TEXTS, path))
    with pytest.raises(ValueError, match="read-only"):
        streams[0] = 0


def test_nothing_is_computed_twice(tiny_model, cache, counter):
    first = cache.get(tiny_model, TEXTS, "multilingual")
    assert counter.seen == TEXTS
    again = StreamCache(cache.folder).get(tiny_model, TEXTS, "multilingual")
    assert counter.seen == TEXTS
    np.testing.assert_array_equal(again, first)


def test_an_interrupted_run_goes_on_where_it_was(tiny_model, cache, counter):
    counter.fail_at = TEXTS[7]  # in the third part of three
    with pytest.raises(KeyboardInterrupt):
        cache.get(tiny_model, TEXTS, "multilingual")
    assert counter.seen == TEXTS[:6]
    counter.fail_at = None
    streams = cache.get(tiny_model, TEXTS, "multilingual")
    assert counter.seen == TEXTS
    np.testing.assert_allclose(streams, expected(tiny_model, TEXTS), atol=2e-3)


def test_whatever_changes_a_stream_has_a_place_of_its_own(tiny_model, cache):
    model = copy.deepcopy(tiny_model)
    old = model.processor
    cache.get(model, TEXTS, "multilingual", "query")

    def folders_after(texts: list[str] = TEXTS, path: str = "multilingual", kind: str = "query") -> int:
        np.testing.assert_allclose(cache.get(model, texts, path, kind), expected(model, texts, path, kind), atol=2e-3)
        return len(list(cache.folder.iterdir()))

    assert folders_after() == 1
    assert folders_after(TEXTS[::-1]) == 2
    assert folders_after([TEXTS[0] + TEXTS[1], *TEXTS[2:]]) == 3
    assert folders_after(path="english") == 4
    model.processor = LiraProcessor(old.tokenizer, old.english_tokenizer, query_prefix="harga ")
    assert folders_after() == 5
    model.processor = LiraProcessor(old.tokenizer, old.english_tokenizer, max_length=5)
    assert folders_after() == 6
    model.processor = old
    model.config.num_feature_bins = 3
    assert folders_after() == 7
    model.config.num_feature_bins = 8
    model.config.multilingual_revision = "other"
    assert folders_after() == 8
    model.config.multilingual_revision = None
    assert folders_after() == 8


def test_another_backbone_of_the_same_name_is_not_mistaken_for_the_first(tiny_model, cache):
    before = np.array(cache.get(tiny_model, TEXTS, "multilingual"))
    model = copy.deepcopy(tiny_model)
    with torch.no_grad():
        model.multilingual_encoder.encoder.layer[1].output.dense.weight *= -3
    after = cache.get(model, TEXTS, "multilingual")
    np.testing.assert_array_equal(after, expected(model, TEXTS))
    assert np.abs(after - before).max() > 0.01


def test_no_texts(tiny_model, cache):
    assert cache.get(tiny_model, [], "english").shape == (0, 8, 32)
    assert not cache.folder.exists()


@pytest.mark.parametrize("damage", ["cut off", "no header", "gone", "no progress", "of another shape"])
def test_a_damaged_cache_is_made_anew(tiny_model, cache, counter, damage):
    cache.get(tiny_model, TEXTS, "multilingual")
    (folder,) = cache.folder.iterdir()
    states = folder / "states.npy"
    if damage == "cut off":
        os.truncate(states, states.stat().st_size // 2)
    elif damage == "no header":
        states.write_bytes(b"\0" * 100)
    elif damage == "gone":
        states.unlink()
    elif damage == "no progress":
        (folder / "progress.json").unlink()
    else:
        np.save(states, np.ones((2, 8, 48), np.float16))
    counter.seen.clear()
    streams = cache.get(tiny_model, TEXTS, "multilingual")
    assert counter.seen == TEXTS
    np.testing.assert_allclose(streams, expected(tiny_model, TEXTS), atol=2e-3)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve room on a disk")
def test_a_full_disk_is_an_error_before_anything_is_computed(tiny_model, cache, counter, monkeypatch):
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        for _ in range(2):  # the second time, nothing of the first may look like a cache
            with pytest.raises(OSError, match="No space left"):
                cache.get(tiny_model, TEXTS, "multilingual")
    assert counter.seen == []
    np.testing.assert_allclose(cache.get(tiny_model, TEXTS, "multilingual"), expected(tiny_model, TEXTS), atol=2e-3)


def test_streams_too_large_for_float16_are_refused(tiny_model, cache, monkeypatch):
    huge = torch.full((len(TEXTS), 8, 48), 1e5)
    monkeypatch.setattr(LiraModel, "encode_streams", lambda *_: huge)
    with pytest.raises(LiraError, match="100000"):
        cache.get(tiny_model, TEXTS, "multilingual")
