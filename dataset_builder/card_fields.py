"""What the columns of a corpus hold, for the dataset card."""

FIELDS = {
    "corpus": {
        "_id": "The product's id; unique in its language.",
        "title": "The title in the language, as a seller writes it.",
        "text": "A short description; empty in corpora from logs.",
        "title_en": "The title in English.",
        "department": "One of the shop's departments; empty where no catalogue says.",
        "category": "A group of product types within the department; empty likewise.",
        "type": "The product type; empty likewise.",
        "attributes": "`group=value`: what both titles state, then what a name in them or the type implies.",
        "price": "In US dollars; null in corpora from logs.",
        "price_band": "The third of its type's range that the price lies in: low, mid or high.",
        "language": "ISO 639 code.",
        "unseen_type": "Whether the type is held out of training.",
    },
    "queries": {
        "_id": "The query's id.",
        "text": "What the shopper typed.",
        "language": "ISO 639 code of the shop; the text may mix in English.",
        "kind": "How it is written, see below; `log` in corpora from logs.",
        "band": "How popular what it asks for is: head, mid or tail.",
        "type": "The product type asked for; empty if it names none.",
        "constraints": "What it asks for beside the type, as `group=value`, see below; empty in corpora from logs.",
        "unseen_type": "Whether that type is held out of training.",
        "hard_negatives": "Ids of irrelevant products that look relevant, likeliest first; training alone.",
        "candidates": "English by machines: text, agent, scores in [1, 10] or null.",
        "gloss": "English by a dictionary, word by word: a poor translation; empty in corpora from logs.",
        "reference": "What it asks for in plain English: a perfect translation; empty in corpora from logs.",
    },
    "qrels": {
        "query-id": "A query of the same split.",
        "corpus-id": "A product of the same split.",
        "score": "The grade, 0 to 3; a pair that is not listed has grade 0.",
        "relation": "Why: exact (3), partial (2), substitute (1), complement (0); empty in corpora from logs.",
    },
    "ranking": {
        "query": "A query's text.",
        "title": "A product's title.",
        "similarity": "A target in [0, 1], finer than the grades.",
        "language": "ISO 639 code.",
    },
}
