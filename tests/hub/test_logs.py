"""A log in a dataset repository of a Hub becomes a corpus."""

from pathlib import Path

import pytest

from hub.conftest import Client
from hub.server import Hub

UPLOAD = """
import sys
from huggingface_hub import HfApi
HfApi().create_repo("me/logs", repo_type="dataset")
HfApi().upload_folder(repo_id="me/logs", repo_type="dataset", folder_path=sys.argv[1])
"""


@pytest.mark.slow
def test_a_log_on_a_hub_is_read_by_pattern(hub: Hub, client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    (folder / "2026").mkdir(parents=True)
    for day in range(3):
        rows = "".join(f"red mug {row % 2},a red mug,click,s{day}-{row}\n" for row in range(6))
        (folder / "2026" / f"{day}.csv").write_text(f"query,product,action,session\n{rows}", "utf-8")
    assert client("-c", UPLOAD, folder).returncode == 0
    build = ("-m", "dataset_builder", "build", "--source", "logs", "--languages", "en", "--output", tmp_path / "corpus")
    built = client(*build, "--input", "hf://datasets/me/logs/2026/[01].csv")
    assert built.returncode == 0, built.stderr
    assert "Of 12 rows:" in (tmp_path / "corpus" / "README.md").read_text("utf-8")
    missing = client(*build, "--input", "hf://datasets/me/none/*.csv")
    assert missing.returncode == 2
    assert "cannot read hf://datasets/me/none/*.csv: " in missing.stderr.splitlines()[-1], missing.stderr
