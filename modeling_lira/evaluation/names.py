"""Names of the systems that tables compare."""

LIRA = "LiRA"
LIRA_FREE = "LiRA without translations"
ENCODER = "multilingual encoder alone"
TRANSLATE = "translate, then encode"
UNTRAINED = "untrained fusion"
BM25_ROW = "BM25"
TRANSLATE_BM25 = "translate, then BM25"
