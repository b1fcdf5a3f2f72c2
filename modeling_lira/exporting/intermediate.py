"""OpenVINO's intermediate representation: graphs in XML that share one file of weights."""

import hashlib
from pathlib import Path
from xml.etree import ElementTree

import openvino

from ..exported_lira import GRAPHS, LIGHT, SUFFIXES


def convert(source: Path, folder: Path) -> None:
    """Write the ONNX graphs of a folder as OpenVINO's, each weight once."""
    graph_suffix, data_suffix = SUFFIXES["openvino"]
    offsets: dict[bytes, int] = {}
    with (folder / f"{LIGHT}{data_suffix}").open("wb") as shared:
        for name in GRAPHS:
            converted = source / f"{name}{graph_suffix}"
            openvino.save_model(openvino.convert_model(source / f"{name}.onnx"), converted, compress_to_fp16=False)
            tree = ElementTree.parse(converted)
            weights = converted.with_suffix(data_suffix)
            with weights.open("rb") as opened:
                for layer in tree.iter("layer"):
                    constant = layer.find("data")
                    if layer.get("type") == "Const" and constant is not None:
                        opened.seek(int(constant.attrib["offset"]))
                        content = opened.read(int(constant.attrib["size"]))
                        digest = hashlib.sha256(content).digest()
                        if digest not in offsets:
                            shared.seek(-(-shared.tell() // 64) * 64)
                            offsets[digest] = shared.tell()
                            shared.write(content)
                        constant.set("offset", str(offsets[digest]))
            tree.write(folder / f"{name}{graph_suffix}", encoding="utf-8", xml_declaration=True)
            weights.unlink()
