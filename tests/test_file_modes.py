"""Files: all of them or nothing, with the mode that the umask gives any new file."""

import os
import stat
from collections.abc import Iterator

import pytest
from safetensors.torch import save_file

from modeling_lira import LiraError
from modeling_lira.backbones.cache import Manifest, build_folder
from modeling_lira.files import atomic_path, atomic_write_text, home_expanded
from modeling_lira.leftovers import held

UMASKS = [0o022, 0o027, 0o002, 0o077]


@pytest.fixture(params=UMASKS, ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_has_the_mode_of_any_new_file(tmp_path, umask):
    import torch

    atomic_write_text(tmp_path / "text", "x")
    with atomic_path(tmp_path / "weights.safetensors") as temporary:  # whose writer makes the file anew
        save_file({"a": torch.zeros(2)}, temporary)
    (tmp_path / "plain").touch()
    assert (
        mode(tmp_path / "text") == mode(tmp_path / "weights.safetensors") == mode(tmp_path / "plain") == 0o666 & ~umask
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain", "text", "weights.safetensors"]


@pytest.mark.parametrize("save_backbones", [True, False])
def test_a_saved_model_has_the_modes_of_any_new_files(tiny_model, tmp_path, umask, save_backbones):
    tiny_model.save_pretrained(tmp_path / "model", save_backbones=save_backbones)
    for path in (tmp_path / "model").rglob("*"):
        assert mode(path) == (0o777 if path.is_dir() else 0o666) & ~umask, path


def test_a_converted_backbone_has_the_modes_of_any_new_files(tmp_path, umask):
    manifest = Manifest("x", "mit", "a/b", ("p==1",), files={})
    build_folder(tmp_path / "x", manifest, lambda folder: (folder / "a.json").write_text("{}") and None)
    assert mode(tmp_path / "x") == 0o777 & ~umask
    assert {mode(path) for path in (tmp_path / "x").iterdir()} == {0o666 & ~umask}


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    atomic_write_text(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
        raise RuntimeError
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "old")]


def test_the_home_of_nobody_is_named():
    with pytest.raises(LiraError, match=r"~nosuchuser.*write it out in full"):
        home_expanded("~nosuchuser/x")


def test_a_save_removes_what_a_killed_one_left_and_nothing_that_is_in_use(tiny_model, tmp_path):
    left, used, foreign = (tmp_path / name for name in (".saving.abcdefgh", ".saving.01234567", ".saving"))
    for folder in (left, used, foreign):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
    with held(used):
        tiny_model.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.glob(".*")} == {used.name, foreign.name}
    tiny_model.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.glob(".*")} == {foreign.name}
