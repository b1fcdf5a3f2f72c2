"""Package faces, `--help`: light to import, complete when used; texts of strangers on a terminal."""

import importlib
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from fresh import Forks
from rich.console import Console
from rich.table import Table

from modeling_lira import LiraConfig, LiraError, LiraModel
from modeling_lira.faces.extras import EXTRAS, MissingPackageError, extras_of, how_to_install, needs
from modeling_lira.faces.terminal import PlainConsole, PlainFormatter, one_line, shown

FACES = [
    "modeling_lira",
    "modeling_lira.agents",
    "modeling_lira.backbones",
    "modeling_lira.cli",
    "modeling_lira.evaluation",
    "modeling_lira.search",
    "modeling_lira.training",
    "dataset_builder.generator",
]
HEAVY = ["torch", "transformers", "huggingface_hub", "numpy", "pyarrow", "datasets", "usearch", "httpx", "matplotlib"]
COMMANDS = {
    "modeling_lira.cli": """translate critique train train-reasoning evaluate push space encode search backbones
        demo""",
    "dataset_builder": """build queries reasoning pack agreement showcase report publish""",
    "eval": """throughput ablations index readme generalisation retrieval mteb report all noise cost bound few-shot
        backbones sensitivity mgsm mcqa""",
}
MOST_SECONDS = 0.5


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("name", FACES)
def test_a_face_shows_every_name_it_promises(name: str) -> None:
    face = importlib.import_module(name)
    assert set(face.__all__) <= set(dir(face))
    for public in face.__all__:
        assert getattr(face, public) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = face.no_such_name


def test_what_a_user_guesses_is_there() -> None:
    from modeling_lira.agents import critique, translate
    from modeling_lira.evaluation import evaluate
    from modeling_lira.search import SearchIndex
    from modeling_lira.training import ArcaOptions, LasrOptions, TrainingOptions, train
    from modeling_lira.training.train import train as the_same

    assert train is the_same
    assert all(map(callable, (critique, translate, evaluate, SearchIndex, ArcaOptions, LasrOptions, TrainingOptions)))


def test_a_name_is_not_hidden_by_the_submodule_that_is_called_the_same(forks: Forks, tmp_path: Path) -> None:
    code = "import modeling_lira.training.train as t, modeling_lira.training as f; print(type(f.train).__name__)"
    assert forks.run(code, cwd=tmp_path).stdout == "function\n"


@pytest.mark.parametrize(
    "code",
    [
        "import modeling_lira; from transformers import AutoModel",
        "from transformers import AutoModel; import modeling_lira",
        "from modeling_lira.modeling_lira import LiraModel; from transformers import AutoModel",
        "from modeling_lira.configuration_lira import LiraConfig; from transformers import AutoModel",
        "import modeling_lira.agents.critic; from transformers import AutoModel",
        "from modeling_lira import LiraError; from transformers import AutoConfig, AutoModel",
    ],
)
def test_auto_classes_know_lira_however_it_was_imported(
    code: str, tiny_model: LiraModel, forks: Forks, tmp_path: Path
) -> None:
    tiny_model.save_pretrained(tmp_path)
    for file in tmp_path.glob("*.py"):
        file.unlink()  # so that nothing but the installed package can be used
    load = "import sys; model = AutoModel.from_pretrained(sys.argv[1]); print(type(model).__module__)"
    done = forks.run(f"{code}; {load}", str(tmp_path), cwd=tmp_path)
    assert done.stdout.split() == ["modeling_lira.modeling_lira"], done.stderr


def test_importing_the_package_loads_no_model_library() -> None:
    code = f"import sys, modeling_lira, modeling_lira.cli; print(*sorted(set({HEAVY}) & set(sys.modules)))"
    assert python(code).stdout == "\n"


def test_a_watched_module_still_has_its_source_and_its_loader() -> None:
    import inspect

    import modeling_lira.lasr

    assert "class LaSR" in inspect.getsource(modeling_lira.lasr)
    assert type(modeling_lira.lasr.__spec__.loader).__name__ == "SourceFileLoader"


MEASURED = """if True:
    import resource, runpy, sys
    sys.argv = [sys.argv[1], *sys.argv[2:]]
    try:
        runpy.run_module(sys.argv[0], run_name="__main__")
    except SystemExit as stop:
        assert not stop.code
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(*sorted(set({heavy}) & set(sys.modules)), file=sys.stderr)
    print(used.ru_utime + used.ru_stime, file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("package", "command"), [(package, command) for package in COMMANDS for command in ("", *COMMANDS[package].split())]
)
def test_help_is_quick_and_loads_no_model_library(package: str, command: str) -> None:
    arguments = [package, *([command] if command else []), "--help"]
    seconds = []
    for _ in range(3):  # on a busy machine caches are cold, and a second try may be needed
        done = python(MEASURED.format(heavy=[name for name in HEAVY if name != "huggingface_hub"]), *arguments)
        loaded, used = done.stderr.rstrip("\n").rsplit("\n", 1) if "\n" in done.stderr.strip() else ("", done.stderr)
        assert "Usage" in done.stdout and not loaded.strip()
        seconds.append(float(used))
        if seconds[-1] <= MOST_SECONDS:
            return
    raise AssertionError(f"{package} {command} --help takes {min(seconds):.2f} s of CPU")


# --- extras


def test_extras_are_those_of_setup_cfg() -> None:
    from configparser import ConfigParser

    from packaging.requirements import Requirement

    config = ConfigParser()
    config.read(Path(__file__).parents[1] / "setup.cfg")
    for extra, modules in EXTRAS.items():
        brought = {Requirement(line).name for line in config["options.extras_require"][extra].split("\n") if line}
        names = {name.replace("-", "_").removesuffix("_py").removesuffix("_terrier") for name in brought}
        assert set(modules) <= names, extra


def test_an_extra_is_named_by_who_asks() -> None:
    assert extras_of(["pyarrow"], "modeling_lira.agents.tables") == ["llm"]
    assert extras_of(["pyarrow", "usearch"], "modeling_lira.search.index") == ["search"]
    assert extras_of(["pyarrow"], "dataset_builder.layout") == ["data"]
    assert extras_of(["accelerate", "datasets", "peft"]) == ["train"]
    hint = how_to_install(["search", "train"])
    assert "pip install '.[search,train]' in a checkout" in hint and "modeling-lira[" not in hint


def test_needs_names_all_that_is_missing_before_anything_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    done = []

    @needs("accelerate", "datasets", "peft", "json")
    def train_something(name: str) -> None:
        """Docstring."""
        done.append(name)

    train_something("a")
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(LiraError, match=r"^train-something needs datasets, peft: run pip install '\.\[train\]'"):
        train_something("b")
    assert done == ["a"] and train_something.__doc__ == "Docstring."


def test_a_missing_package_is_an_import_error_and_a_lira_error() -> None:
    error = MissingPackageError("search", ["usearch"])
    assert isinstance(error, ImportError) and isinstance(error, LiraError) and error.name == "usearch"


def test_a_module_whose_extra_is_missing_says_so(forks: Forks, tmp_path: Path) -> None:
    code = """if True:
        import sys
        sys.modules["usearch"] = None
        try:
            import modeling_lira.search.index
        except ImportError as error:
            print(error)
    """
    done = forks.run(code, cwd=tmp_path)
    assert done.stdout.startswith("modeling_lira.search.vectors needs usearch: run pip install '.[search]'")


# --- texts of strangers

HOSTILE = "[red]x[/red] [link=http://e] \x1b[31mred\x1b]0;title\x07 \u202eabc\r\n\x9b2J [/]"


def printed(item: object) -> str:
    console = Console(width=120, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(item)
    return capture.get()


def test_no_text_is_markup_or_an_escape_sequence() -> None:
    table = Table(title=shown(HOSTILE))
    table.add_column(shown(HOSTILE))
    table.add_row(shown(HOSTILE))
    for output in (printed(shown(HOSTILE)), printed(table)):
        assert "[red]x[/red]" in output
        assert not {"\x07", "\x9b", "\u202e", "\r"} & set(output)
        assert "\x1b[31m" not in output and "\x1b]0;" not in output


def test_a_plain_console_shows_cells_and_titles_as_they_are() -> None:
    console = PlainConsole(width=120, force_terminal=True, color_system=None)
    table = Table(HOSTILE, title=HOSTILE, caption=HOSTILE)
    table.add_row(HOSTILE + ":smile:")
    with console.capture() as capture:
        console.print(HOSTILE)
        console.print(table)
    output = capture.get()
    assert output.count("[red]x[/red]") == 5 and ":smile:" in output
    assert not {"\x07", "\x9b", "\u202e", "\r"} & set(output)
    assert "\x1b[31m" not in output and "\x1b]0;" not in output


def test_one_line_keeps_what_scripts_need() -> None:
    assert one_line("র\u200d্যাম \u200cx") == "র\u200d্যাম \u200cx"
    assert one_line(" a\tb\x00\u2028c\ud800 ") == "a b c"


def test_logs_hold_no_control_characters_but_line_ends() -> None:
    record = logging.LogRecord("x", logging.INFO, "f", 1, "%s\nsecond", (HOSTILE,), None)
    lines = PlainFormatter("%(message)s").format(record).split("\n")
    assert len(lines) == 3 and lines[-1] == "second"
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r"} & set("".join(lines))


def test_errors_of_commands_hold_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    from helpers import lira

    assert lira("evaluate", "\x1b[31mrun", "--corpus", "c") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "\x1b" not in error


def test_configs_are_the_packages_own(tmp_path: Path) -> None:
    from transformers import AutoConfig

    assert AutoConfig.for_model("lira").__class__ is LiraConfig
