"""Mutations of the code's meaning, and the tests that must notice them.

    python tests/mutations.py                          try all: tried, noticed, and what was not
    python tests/mutations.py --only losses            those of files whose path has this in it
    python tests/mutations.py --list

Each mutation is made in a copy of the repository, and the tests named beside it run there, in a fork of a process that
has the libraries loaded already. A mutation that changes nothing observable says why in `equivalent`.
"""

# ruff: noqa: E501  # the code as it stands there

import argparse
import contextlib
import functools
import importlib
import logging
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = (
    "modeling_lira",
    "dataset_builder",
    "eval",
    "tests",
    "model_cards",
    "README.md",
    "setup.cfg",
    "pyproject.toml",
)
PATIENCE = 900
"""Seconds after which a mutation counts as noticed: the tests hang."""
logger = logging.getLogger("mutations")


@dataclass(frozen=True)
class Mutation:
    """`old` stands once in `file`; `tests` are pytest's arguments, apart by spaces."""

    file: str
    old: str
    new: str
    tests: str
    equivalent: str = ""

    def apply(self, root: Path) -> None:
        path = root / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file}: {self.old!r} stands there {text.count(self.old)} times, not once")
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")


def _of(file: str, tests: str, *changes: tuple[str, str] | tuple[str, str, str]) -> list[Mutation]:
    """Return the mutations of one file; a third text of a change is why it is equivalent."""
    paths = " ".join(word if word.startswith("-") else f"tests/{word}" for word in tests.split())
    return [Mutation(file, change[0], change[1], paths, *change[2:]) for change in changes]


MUTATIONS: list[Mutation] = [
    # ------------------------------------------------------------------ losses and what feeds them
    *_of(
        "modeling_lira/training/losses.py",
        "test_losses.py test_train_reasoning.py::test_consistency_by_hand",
        ("return (1 - (multilingual * english).sum(-1)).mean()", "return (1 + (multilingual * english).sum(-1)).mean()"),
        ("nan=5.5) @ weights", "nan=1.0) @ weights"),
        ("+ delta * similarities.detach()", "- delta * similarities.detach()"),
        ("delta * similarities.detach()", "delta * similarities"),
        ("new_tensor([alpha, beta, gamma])", "new_tensor([gamma, beta, alpha])"),
        ("(reached <= uniform[:, None] * reached[:, -1:])", "(reached < (1 - uniform[:, None]) * reached[:, -1:])"),
        ("baseline = (log_policy.exp() * rewards).sum(-1).detach()", "baseline = (log_policy.exp() * rewards).sum(-1)"),
        ("rewards.masked_fill(~candidate_mask, 0.0).detach()", "rewards.detach()"),
        ("rewards.masked_fill(~candidate_mask, 0.0).detach()", "rewards.masked_fill(~candidate_mask, 0.0)"),
        ("squeeze(1) - baseline", "squeeze(1)"),
        ("return -(policy * log_policy", "return (policy * log_policy"),
        ("(embeddings @ embeddings.T - reference @ reference.T).square().mean()",
         "(embeddings @ embeddings.T + reference @ reference.T).square().mean()"),
        ("(gaps > 0) + 0.5 * (gaps == 0)", "(gaps >= 0) + 0.0 * (gaps == 0)"),
        ("return 0.5 + above.sum(-1)", "return above.sum(-1)"),
        ("torch.sigmoid((k + 0.5 - ranks)", "torch.sigmoid((k - 0.5 - ranks)"),
        ("cut = min(k, relevant)", "cut = relevant"),
        ("judged = (ideal > 0).to(scores.dtype)", "judged = torch.ones_like(ideal, dtype=scores.dtype)"),
        ("excluded = gains > 0 if mask is None else (gains > 0) | ~mask", "excluded = gains > 0"),
        ("scores.masked_fill(~mask, OUT_OF_SIGHT)\n    relevant", "scores\n    relevant"),
        ("per_query = (lost * gains).sum(1) / total.clamp_min(1e-9)", "per_query = (lost * gains).sum(1)"),
        ("hardest = scores.masked_fill(excluded, float(\"-inf\")).amax(1", "hardest = scores.masked_fill(excluded, float(\"inf\")).amin(1"),
        ("wanted = margin * gains / gains.amax().clamp_min(1e-9)", "wanted = margin * (gains > 0)"),
        ("((first.exp() - second.exp()) * (first - second)).sum(-1) / 2", "((first.exp() - second.exp()) * (first - second)).sum(-1)"),
        ("return pearson_share * linear + (1 - pearson_share) * ranked", "return (1 - pearson_share) * linear + pearson_share * ranked"),
        ("spread - width**-0.5", "spread - 1.0"),
        ("embeddings.mean(0).square().sum() + ", ""),
        ("kept[::2, 1:]", "kept[::2, :-1]"),
        ("(2 * counted.sum().clamp_min(1))", "counted.sum().clamp_min(1)"),
    ),
    *_of(
        "modeling_lira/training/queues.py",
        "test_queues.py",
        ("both[max(0, len(both) - self.capacity) :].clone()", "both[: self.capacity].clone()"),
        ("new = values.detach()", "new = values"),
        ("self.keep(~again)", "pass"),
        ("(self.rows[\"groups\"] == group) & ~torch.isin(self.rows[\"ids\"], ids)", "~torch.isin(self.rows[\"ids\"], ids)"),
        ("(self.rows[\"groups\"] == group) & ~torch.isin(self.rows[\"ids\"], ids)", "self.rows[\"groups\"] == group"),
        ("return groups * 2**40 + ids", "return ids"),
        ("torch.cat([predictions, self.rows[\"predictions\"]])", "torch.cat([self.rows[\"predictions\"], predictions])"),
    ),
    *_of(
        "modeling_lira/training/negatives.py",
        "test_negatives.py",
        ("return relevant | ~near_relevant", "return relevant | near_relevant"),
        ("return relevant | ~near_relevant", "return ~near_relevant"),
        ("& (relevant >= 0)", "", "ids are never negative, so the filler -1 equals none of them"),
        ("(frozen @ frozen.T > threshold)", "(frozen @ frozen.T > 1 - threshold)"),
    ),
    *_of(
        "modeling_lira/training/gathering.py",
        "test_processes.py",
        ("rows[dist.get_rank()] = values", "pass"),
    ),
    *_of(
        "modeling_lira/training/gathering.py",
        "test_stages.py",
        ("return loss + (processes() - 1) * (loss - loss.detach())", "return loss"),
    ),
    *_of(
        "modeling_lira/training/batches.py",
        "test_batches.py",
        ("np.random.default_rng([self.seed, self.epoch, *row])", "np.random.default_rng([0, self.epoch, *row])"),
        ("np.random.default_rng([self.seed, self.epoch, *row])", "np.random.default_rng([self.seed, 0, *row])"),
        ("offset = total if random.random() < share else 0", "offset = total if random.random() > share else 0"),
        ("if gains[row] == max(gains.values())", "if gains[row] == min(gains.values())"),
        ("filler = float(\"nan\") if name == \"critic_scores\" else 0", "filler = 0"),
        ("if dropped < self.options.english_path_dropout", "if dropped > self.options.english_path_dropout"),
        ("candidates, scores = others, unscored", "candidates, scores = others, table.scores[row]"),
        ("draw.random() < self.options.language_dropout", "draw.random() > self.options.language_dropout"),
        ("torch.tensor([2 * number + english_titles])", "torch.tensor([number])"),
        ("base = number * LANGUAGE_STRIDE", "base = 0"),
        ("[: self.options.negatives]", "[:1]"),
        ("[first, *rest[: self.options.positives - 1]]", "[first, *rest[: self.options.positives]]"),
        ("np.where(dropped[:, None], -1, table.rows[rows])", "table.rows[rows]"),
        ("[: self.options.pairs]", ""),
    ),
    *_of(
        "modeling_lira/training/stages.py",
        "test_stages.py",
        ("- weights.entropy * terms[\"entropy\"]", "+ weights.entropy * terms[\"entropy\"]"),
        (" + geometry_loss(multilingual, frozen)", ""),
        ("geometry_loss(english, frozen_english) + ", ""),
        ("if self.training and self.doc_queue.capacity", "if self.doc_queue.capacity"),
        ("+ weights.eta * terms[\"anchor\"]", ""),
        ("states.mean(1) - centre, dim=-1", "states.mean(1), dim=-1"),
        ("min(options.doc_queue, num_documents // 2)", "options.doc_queue"),
        ("mean_variance_loss(queries) + mean_variance_loss(fresh)", "mean_variance_loss(queries) + mean_variance_loss(embeddings)"),
        ("F.normalize(embeddings[:, :width], dim=-1)", "embeddings[:, :width]"),
        ("share = 1 / len(self.widths)", "share = 1"),
        ("\"candidate_mask\": other_candidate", "\"candidate_mask\": queries[\"candidate_mask\"]"),
        ("self.corr_queue.push(predictions=predictions, targets=wanted)", "pass"),
        ("if self.training:\n", "if True:\n"),
        ("if name not in ENGLISH_INPUTS}", "}"),
        ("soft_ndcg_loss(scores, gains, weights.k, weights.temperature, mask)", "soft_ndcg_loss(scores, gains, weights.k, weights.temperature)"),
    ),
    *_of(
        "modeling_lira/training/stage.py",
        "test_training.py test_train_reasoning.py",
        ("learning_rates[max(fitting, key=len)]", "learning_rates[min(fitting, key=len)]"),
        ("name == part or ", ""),
        ("if \".lora_\" not in name", ""),
    ),
    *_of(
        "modeling_lira/training/validation.py",
        "test_stages.py",
        ("{NONE: \"_without_translations\", CANDIDATES: \"\"}", "{NONE: \"\", CANDIDATES: \"_without_translations\"}"),
        ("objectives[\"joint\"] = sum(objectives.values()) / 2", "objectives[\"joint\"] = sum(objectives.values())"),
    ),
    *_of(
        "modeling_lira/training/trainer.py",
        "test_training.py",
        ("value.lerp(start[name], share)", "start[name].lerp(value, share)"),
        ("trainer.state.best_metric >= before[BEST]", "trainer.state.best_metric <= before[BEST]"),
    ),
    *_of(
        "modeling_lira/training/checkpoints.py",
        "test_resumable.py",
        ("return sealed[\"facts\"] if whole else None", "return sealed[\"facts\"]"),
        ("reverse=True)", "reverse=False)"),
    ),
    *_of(
        "modeling_lira/training/tuning.py",
        "test_tuning.py",
        ("if document not in gains]", "]"),
        ("share * value for key", "value for key"),
        ("max(scores, key=", "min(scores, key="),
        ("key=lambda row: not split.unseen_type[row]", "key=lambda row: split.unseen_type[row]"),
    ),
    *_of(
        "modeling_lira/training/digests.py",
        "test_resumable.py",
        ("yield from _items_parts(type(value).__name__, value.contents())", "yield b\"\""),
        ("[_source(hook) for hook in _hooks(module)]", "[]"),
        ("[name, _source(type(module)), ", "[name, \"\", "),
        ("if not _is_text(line)]", "]"),
    ),
    *_of(
        "modeling_lira/training/resumable.py",
        "test_resumable.py",
        ("\"seed\": str(seed),", ""),
        ("\"modules\": digest_of(modules_of(model)),", ""),
        ("\"weights\": digest_of(weights_of(model)),", ""),
        ("\"validation data\": digest_of(list(validation)),", ""),
    ),
    # ------------------------------------------------------------------ the model
    *_of(
        "modeling_lira/arca.py",
        "test_arca.py",
        ("length / num_bins)\n        upper", "length)\n        upper"),
        ("hidden_states.masked_fill(~real[..., None], 0.0)", "hidden_states"),
        ("F.linear(states.to(self.weight.dtype) - self.centre, self.weight)", "F.linear(states.to(self.weight.dtype), self.weight)"),
        ("return states + self.up(", "return self.up("),
        ("(encoded * present).sum(1, keepdim=True)", "encoded.sum(1, keepdim=True)"),
        ("torch.finfo(logits.dtype).min)", "0.0)"),
        ("torch.tensor([1.0, 0.0, 0.0, 10.0, 0.0])", "torch.tensor([10.0, 0.0, 0.0, 1.0, 0.0])"),
        ("(critic_scores - NEUTRAL_SCORE) / SCORE_HALF_RANGE, nan=0.0", "critic_scores / SCORE_HALF_RANGE, nan=0.0"),
        ("similarities.detach()[..., None]", "similarities[..., None]"),
        ("torch.where(present[..., None], pick(english_streams, best), 0.0)", "pick(english_streams, best)"),
        ("torch.where(has_english, best, -1)", "best"),
        ("torch.where(present, english, embedding)", "english"),
    ),
    *_of(
        "modeling_lira/lasr.py",
        "test_lasr.py",
        ("self.path_embedding.weight[path]", "self.path_embedding.weight[0]"),
        ("self.residual(pooled) / pooled.shape[-1]", "self.residual(pooled)"),
        ("states / states.shape[-1]", "states"),
        ("math.log(start / (1 - start))", "math.log((1 - start) / start)"),
        ("[angle.cos(), angle.sin()]", "[angle.sin(), angle.cos()]"),
        ("(states * present).sum(1) / present.sum(1)", "states.mean(1)"),
        ("query.shape[-1] ** 0.5", "query.shape[-1]"),
        ("scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)", "pass"),
        ("fused * mask[..., None], mask", "fused, mask"),
        ("torch.stack([attends, has_english], 1)", "torch.stack([attends, attends], 1)"),
    ),
    *_of(
        "modeling_lira/modeling_lira.py",
        "test_modeling.py",
        ("(attended | (first & ~attended.any(-1, keepdim=True)))", "attended"),
        ("temporal_pool(states, attention_mask, self.config", "temporal_pool(states, attended, self.config"),
    ),
    *_of(
        "modeling_lira/backbones/building.py",
        "test_modeling.py",
        ("weight = _leading_directions(multilingual - centres[0], model.config.width)", "weight = _leading_directions(multilingual, model.config.width)"),
    ),
    *_of(
        "modeling_lira/backbones/building.py",
        "test_arca.py",
        ("scale = target.norm() / source.norm()", "scale = source.norm() / target.norm()"),
    ),
    *_of(
        "modeling_lira/errors.py",
        "test_processing.py",
        ("_INVISIBLE = frozenset((\"Cc\", \"Cf\", \"Mn\",", "_INVISIBLE = frozenset((\"Cc\", \"Mn\","),
        ("value != value)", "False)"),
    ),
    *_of(
        "modeling_lira/pretrained_lira.py",
        "test_modeling.py",
        ("if not any(parameter.requires_grad for parameter in part.parameters()):\n                part.eval()", "pass"),
    ),
    *_of(
        "modeling_lira/processing_lira.py",
        "test_processing.py",
        ("self.languages.index(code) + 1", "self.languages.index(code)"),
        ("prefix + _readable(", "_readable("),
        ("row or ([text] if code == ENGLISH and text else [])", "row"),
        ("code == ENGLISH and text else", "code == ENGLISH else"),
        ("return normalise(text)\n", "return text\n"),
        ("unicodedata.normalize(\"NFKC\", text)", "unicodedata.normalize(\"NFC\", text)"),
        (".replace(\"\\u200b\", \" \")", ""),
        ("for pattern, replacement in _REORDERED:", "for pattern, replacement in _REORDERED[1:]:"),
        ("for pattern, replacement in _REORDERED:", "for pattern, replacement in _REORDERED[:-1]:"),
        ("length <= special:", "length < special:"),
        ("values = values[:count]", "pass"),
        ("(values < 1) | (values > 10)", "(values < 0) | (values > 10)"),
        ("[column < len(row) for column in range(width)]", "[column <= len(row) for column in range(width)]"),
    ),
    *_of(
        "modeling_lira/st_lira.py",
        "test_sentence_transformers.py",
        ("return \"document\" if prompt is not None and prompt.strip() == document != query else \"query\"", "return \"query\""),
        ("allow_blank=True,", ""),
        ("\"attention_mask\": output.fused_mask.long()", "\"attention_mask\": features[\"attention_mask\"]"),
        ("names=[f\"text {shortened(row['text'])}\" for row in rows],", ""),
    ),
    *_of(
        "modeling_lira/generation_lira.py",
        "test_reasoning.py",
        ("settings.max_length - prompt, None", "settings.max_length, None"),
        ("max(0, settings.min_length - prompt), None", "settings.min_length, None"),
        ("self.criterion(torch.cat([prompts, input_ids], 1), scores", "self.criterion(input_ids, scores"),
        ("merged.embeds.shape[1] - soft[0].shape[1])", "merged.embeds.shape[1])"),
    ),
    *_of(
        "modeling_lira/soft_prompt.py",
        "test_reasoning.py",
        ("products - count * torch.outer(centre, sums / count)", "products"),
        ("present & (self.gate != 0)", "present"),
        ("self.boundary.copy_(mean)", "pass"),
    ),
    # ------------------------------------------------------------------ evaluation
    *_of(
        "modeling_lira/evaluation/metrics.py",
        "test_metrics.py test_significance.py",
        ("dtype=torch.float64) + 2.0)", "dtype=torch.float64) + 1.0)"),
        ("descending=True, stable=True", "descending=True, stable=False"),
        ("ideal.masked_fill(ideal == 0, float(\"nan\"))", "ideal.masked_fill(ideal == 0, 1.0)"),
        ("manual_seed(seed + stratum.languages[0])", "manual_seed(stratum.languages[0])"),
        ("weights.sum(1)", "len(rows)"),
        ("if group[1].isdisjoint(joined[1])", "if True"),
        ("last - (counts - 1) / 2", "last"),
        ("tail = (1 - level) / 2", "tail = 1 - level"),
        ("gains.double().topk(cut, dim=1).values", "gains.double().gather(1, order)"),
    ),
    *_of(
        "eval/significance.py",
        "test_significance.py",
        ("bootstrap_means_of_languages(values, ids, samples, seed)", "bootstrap_means_of_languages(values, ids, samples, 0)"),
        ("default_rng(seed + stratum.languages[0])", "default_rng(stratum.languages[0])"),
        ("(2 * coins[:, rows] - 1)", "(coins[:, rows] - 0.5)"),
        ("p = (1 + reached) / (1 + len(swapped))", "p = reached / len(swapped)"),
        ("(len(values) - rank) * values[row]", "len(values) * values[row]"),
        ("largest = max(largest, min(1.0,", "largest = max(0.0, min(1.0,"),
        ("swapped.abs() >= abs(mean) - 1e-12", "swapped >= mean - 1e-12"),
        ("drawn.mean(0), swapped.mean(0)", "drawn.mean(0), swapped[0]"),
        ("runs.std()", "runs.std(unbiased=False)"),
        ("better=float((values > 0)", "better=float((values >= 0)"),
    ),
    *_of(
        "modeling_lira/records/provenance.py",
        "test_record.py",
        ("            digest.update(path.relative_to(folder).as_posix().encode())\n", ""),
    ),
    # ------------------------------------------------------------------ search
    *_of(
        "modeling_lira/search/embeddings.py",
        "test_encode.py",
        ("np.abs(embeddings).max(axis=1)", "np.abs(embeddings).max(axis=0)"),
        ("np.rint(embeddings / scale[:, None])", "np.floor(embeddings / scale[:, None])"),
        ("stored.astype(np.float32) * scale[:, None]", "stored.astype(np.float32)"),
        ("return -(-self.settings.rows // self.settings.shard_size)", "return self.settings.rows // self.settings.shard_size + 1"),
    ),
    *_of(
        "modeling_lira/search/index.py",
        "test_search.py",
        ("return rows / np.linalg.norm(rows, axis=1, keepdims=True)", "return rows", "only directions count: usearch divides by lengths, and each row is divided by its peak before"),
        ("skip = max(0, done - position)", "skip = 0"),
        ("if on_disk != self.manifest.count:", "if False:"),
        ("new = row - self.manifest.count", "new = row - self.manifest.count - 1"),
    ),
    *_of(
        "modeling_lira/search/vectors.py",
        "test_search.py",
        ("order = np.lexsort((rows, -cosines))[:top]", "order = np.lexsort((rows, cosines))[:top]"),
        ("[positions + start for positions, start", "[positions for positions, start"),
        ("if self._old or len(compared) > COMPARED", "if len(compared) > COMPARED"),
        ("if is_last:\n            self._try()", "if is_last:\n            pass"),
        ("missed.append(part[again]", "missed.append(part[:0]"),
        ("[part[:top] for part in self._groups.rows_of(keys)]", "[part[:1] for part in self._groups.rows_of(keys)]"),
    ),
    *_of(
        "modeling_lira/search/encode.py",
        "test_encode.py",
        ("model.encode_query if kind is Kind.query", "model.encode_document if kind is Kind.query"),
        ("rows.candidates, rows.scores, batch_size)", "rows.candidates, None, batch_size)"),
    ),
    # ------------------------------------------------------------------ agents
    *_of(
        "modeling_lira/agents/likelihood.py",
        "agents/test_likelihood.py",
        ("[: self.max_tokens]", ""),
        ("hidden = torch.cat([last[condition]", "hidden = torch.cat([0 * last[condition]"),
        ("\"en\" if to_english else language", "language"),
    ),
    *_of(
        "modeling_lira/agents/critic.py",
        "agents/test_critic.py",
        ("(back[0] + forward[0] - alone[0])", "(back[0] + forward[0] + alone[0])"),
        ("(back[0] + forward[0] - alone[0]) / max(back[1], 1)", "(back[0] + forward[0] - alone[0])"),
        ("forward[0] / max(forward[1], 1)", "forward[0] / max(back[1], 1)"),
        ("Row(language, candidate, text, to_english=False)", "Row(language, text, candidate, to_english=False)"),
    ),
    *_of(
        "modeling_lira/agents/rating.py",
        "agents/test_rating.py",
        ("(1.0 + (logits.softmax(-1) * values).sum(-1))", "(logits.softmax(-1) * values).sum(-1)"),
        ("torch.tensor([len(row) - 1 for row in rows]", "torch.tensor([length - 1 for row in rows]"),
        ("return clean if len(ids) <= self.max_tokens else", "return clean if True else"),
        ("(self._aspect(pairs, aspect) for aspect", "(self._aspect(pairs, 0) for aspect"),
    ),
    *_of(
        "modeling_lira/agents/calibration.py",
        "agents/test_calibration.py",
        ("float(LOWEST + (HIGHEST - LOWEST) * (low + high) / 2)", "float(LOWEST + (HIGHEST - LOWEST) * low)"),
        ("LOWEST + (HIGHEST - LOWEST)", "HIGHEST - (HIGHEST - LOWEST)"),
        ("        return NEUTRAL\n", "        return LOWEST\n"),
        ("values.setdefault(language, [])", "values.setdefault(languages[0], [])"),
    ),
    *_of(
        "modeling_lira/agents/store.py",
        "test_store.py",
        ("file.truncate(whole)", "file.truncate(0)"),
        ("                whole += len(line)", "                whole = len(line)"),
        ("return digest(text, lang, agent, settings, candidate)", "return digest(text, agent, settings, candidate)"),
        ("return digest(text, lang, agent, settings, candidate)", "return digest(text, lang, agent, settings)"),
        ("        os.fsync(file.fileno())\n        self._index", "        self._index"),
        ("if record.key not in self._index}", "}"),
    ),
    *_of(
        "modeling_lira/agents/text.py",
        "agents/test_text.py",
        ("text = text.replace(token, \" \".join(token))", "pass"),
        ("return text.translate(_BRACKETS)", "return text"),
        ("return first[:MAX_CANDIDATE_CHARACTERS].rstrip()", "return first.rstrip()"),
    ),
    *_of(
        "modeling_lira/agents/resumable.py",
        "agents/test_resumable.py",
        ("semantic=semantic, emotional=emotional, pragmatic=pragmatic", "semantic=semantic, emotional=pragmatic, pragmatic=emotional"),
    ),
    # ------------------------------------------------------------------ the generator
    *_of(
        "dataset_builder/generator/relevance.py",
        "test_relevance.py",
        ("EXACT, PARTIAL)\n", "EXACT, SUBSTITUTE)\n"),
        ("_NEEDED = (\"brand\", *_LIMITS)", "_NEEDED = (*_LIMITS,)"),
        ("[:COMPLEMENTS]", "[:COMPLEMENTS + 1]"),
        ("if name not in others]", "if name]"),
        ("return bool(values) and wish[1] not in values", "return wish[1] not in values"),
        ("wish == FOR_CHILDREN or wish[1] in CHILD_VALUES", "wish[1] in CHILD_VALUES"),
    ),
    *_of(
        "dataset_builder/generator/negatives.py",
        "test_relevance.py",
        ("of_type.get(name, 0) >= OF_A_TYPE", "False"),
        ("np.argsort(-scores[rows], kind=\"stable\")", "np.argsort(scores[rows], kind=\"stable\")"),
        ("rows[rows < len(self._types)]", "rows"),
    ),
    *_of(
        "dataset_builder/name_values.py",
        "test_name_values.py",
        ("last - first > stop - start", "False"),
        (' if dropped.isdisjoint({(group, value), (group, "")})', ""),
        (" - self._inherent[name]", ""),
        ("group in EXCLUSIVE_GROUPS and ", ""),
        ("and values.keys().isdisjoint(CHILD_VALUES)", "and True"),
    ),
    *_of(
        "dataset_builder/generator/wording.py",
        "test_relevance.py",
        ("(\"gender\", \"men\"): (\"unisex\",)", "(\"gender\", \"men\"): ()"),
        ("*_ACCEPTED.get(attribute, ()), *ranges)", "*ranges)"),
    ),
    *_of(
        "dataset_builder/generator/splits.py",
        "test_splits.py",
        ("return frozenset(min(block", "return frozenset(max(block", "which type of a block is held out is arbitrary: a hash decides either way"),
        ("stable_hash(seed, \"split\", product.id)", "stable_hash(\"split\", product.id)"),
        ("stable_hash(seed, \"unseen\", name)", "stable_hash(\"unseen\", name)"),
        ("< _UNSEEN_VALIDATION", ">= _UNSEEN_VALIDATION"),
        ("for title in (product.title, product.title_en)", "for title in (product.title,)"),
        ("< _TRAIN + _VALIDATION", "< _VALIDATION"),
    ),
    *_of(
        "dataset_builder/generator/misspelling.py",
        "test_queries.py test_noise.py",
        ("        after + char,\n", "        char + after,\n"),
        ("for char in unicodedata.normalize(\"NFD\", word)", "for char in word"),
        (" not in (_NUKTA, _VIRAMA)", " not in (_NUKTA,)"),
        ("rf\"(?<!\\w){re.escape(full)}(?!\\w)\"", "re.escape(full)"),
    ),
    *_of(
        "dataset_builder/scripts.py",
        "test_queries.py",
        ("replace(\"đ\", \"d\")", "replace(\"đ\", \"đ\")"),
    ),
    *_of(
        "dataset_builder/generator/queries.py",
        "test_queries.py",
        ("if texts & keys:\n", "if False:\n"),
        ("unseen_type=draft.type in unseen", "unseen_type=False"),
        ("f\"{seed}:{language}:{release.name}:{split}\"", "f\"{language}:{release.name}:{split}\""),
        ("(*constraints, *wishes)) if len(text.split()) <= _MAX_WORDS else None", "(*constraints, *wishes))"),
        ("usual_type=0.0)", "usual_type=1.0)"),
    ),
    *_of(
        "dataset_builder/generator/rows.py",
        "test_ranking_rows.py",
        ("random.Random(f\"{data.seed}:{query.id}:ranking\")", "random.Random(f\"{query.id}:ranking\")"),
        ("0.6 + 0.3 * matched", "0.6 - 0.3 * matched"),
        ("return 0.35", "return 0.25"),
    ),
    *_of(
        "dataset_builder/ranking.py",
        "test_ranking.py",
        ("if document not in grades:", "if True:"),
    ),
    *_of(
        "dataset_builder/noise.py",
        "test_noise.py",
        ("random.Random(f\"{seed}:{kind}:{row}\")", "random.Random(f\"{kind}:{row}\")"),
        ("if noise.random.random() < level else text", "if noise.random.random() > level else text"),
        ("if other != row and", "if"),
        ("max(1, round(self.level * len(words)))", "round(self.level * len(words))"),
        (" not in dropped)", " in dropped)"),
        (".casefold() not in _SENSES, ", ".casefold() in _SENSES, "),
    ),
    *_of(
        "modeling_lira/evaluation/bm25.py",
        "test_report.py",
        ("saturation * (1 - length_norm + length_norm * sizes", "saturation * (1 - length_norm + 0 * length_norm * sizes"),
    ),
    *_of(
        "dataset_builder/card_yaml.py",
        "test_card.py test_corpus.py",
        ("f\"{config}/{stem_of(folder, config, split)}-*\"", "f\"{config}/*\""),
        ("(languages if language == ALL else (language,))", "languages"),
        ("for code in languages if split in owners[code]],", "for code in languages[:1]],"),
        ("if rows < limit", "if rows <= limit", ),
    ),
    # ------------------------------------------------------------------ logs
    *_of(
        "dataset_builder/logs/clicks.py",
        "test_log_relevance.py",
        ("return self.carts + 2 * self.purchases", "return 2 * self.carts + self.purchases"),
        ("(conversions > 0) & (conversion_rate >= rates[1])", "(conversions > 0)"),
        ("(pairs.weighted_clicks(chances) >= 2)", "(pairs.weighted_clicks(chances) >= 1)"),
        ("1 / chances[self._events.position]", "chances[self._events.position]"),
        ("np.maximum.reduce([seen, self.clicks,", "np.maximum.reduce([seen,"),
        ("np.minimum.accumulate(", "np.asarray("),
        (" & (click_rate >= rates[0])", ""),
        ("clicks + unknown[pair] * count / impressions[pair]", "clicks"),
        ("prior, POSITION_PRIOR)", "prior, 0)"),
    ),
    *_of(
        "dataset_builder/logs/cleaning.py",
        "test_log_cleaning.py",
        ("_TAG.sub(\" \", html.unescape(", "_TAG.sub(\" \", str("),
        (", _repaired(text))))", ", text)))"),
        ("unicodedata.normalize(\"NFC\", text).translate", "unicodedata.normalize(\"NFD\", text).translate"),
        ("char in _JOINERS or ", ""),
    ),
    *_of(
        "dataset_builder/logs/personal_data.py",
        "test_personal_data.py",
        ("if sum(doubled) % 10 == 0", "if True"),
        (" % 2 else digit for", " % 2 == 0 else digit for"),
        ("range(9, 16)", "range(10, 16)"),
        ("_digits(word) >= 10", "_digits(word) >= 5"),
        ("re.compile(r\"\\d{6}\")", "re.compile(r\"\\d{5}\")"),
    ),
    *_of(
        "dataset_builder/logs/corpus.py",
        "test_log_corpus.py",
        ("(-query.rows, query.number)", "(query.rows, query.number)"),
        ("(\"head\", \"mid\", \"tail\")[min(3 * before // total, 2)]", "(\"tail\", \"mid\", \"head\")[min(3 * before // total, 2)]"),
    ),
    *_of(
        "dataset_builder/logs/negatives.py",
        "test_log_corpus.py test_log_truth.py",
        ("~pairs.touched[rows] & ", ""),
        (" & (seen >= self.least)", ""),
        ("words.isdisjoint(", "(lambda _: True)("),
        ("-seen[well_seen]", "seen[well_seen]"),
    ),
    *_of(
        "dataset_builder/judged.py",
        "test_log_corpus.py test_cldr_corpus.py",
        ("stable_hash(seed, \"query-split\", language, key)", "stable_hash(\"query-split\", language, key)"),
        ("list(query.hard_negatives) if split == \"train\" else []", "list(query.hard_negatives)"),
    ),
    # ------------------------------------------------------------------ files and the Hub
    *_of(
        "modeling_lira/files/hub_client.py",
        "hub/test_models.py",
        ("if name not in files and any(fnmatch(name, pattern) for pattern in STALE)", "if False"),
        ("return float(asked) if asked.isdecimal() else 2.0 ** (attempt - 1)", "return 2.0 ** (attempt - 1)"),
        ("unsure = not repeatable and not isinstance(failure, HfHubHTTPError)", "unsure = False"),
    ),
    *_of(
        "modeling_lira/records/publishing.py",
        "test_model_card.py hub/test_models.py",
        ("key=lambda item: item[0] == CARD", "key=lambda item: item[0] != CARD"),
    ),
    *_of(
        "dataset_builder/staging.py",
        "test_build.py test_corpus.py test_dataset_commands.py",
        ("if kept.get(\"settings\") == settings else []", "if kept else []"),
    ),
]  # fmt: skip


# ------------------------------------------------------------------ trying them


@dataclass(frozen=True)
class Attempt:
    """What became of a mutation: whether a test failed, after how many seconds of processor."""

    mutation: Mutation
    noticed: bool
    seconds: float


def copy_of_the_repository() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="mutations-"))
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def attempt(mutation: Mutation, folder: Path) -> Attempt:
    """Run the tests of one mutation in the copy, and take the mutation back."""
    original = (folder / mutation.file).read_bytes()
    start = _seconds()
    try:
        mutation.apply(folder)
        code = _tests(mutation.tests.split(), folder)
    finally:
        (folder / mutation.file).write_bytes(original)
    if code not in (0, 1, 2, -9):
        raise RuntimeError(
            f"{mutation.file}: {mutation.new!r} stops pytest with exit code {code}: see {folder / 'log'}"
        )
    return Attempt(mutation, code != 0, _seconds() - start)


@functools.cache
def check_unchanged(tests: str, folder: Path) -> None:
    """Raise `RuntimeError` where the tests fail without any mutation."""
    if _tests(tests.split(), folder):
        log = (folder / "log").read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"{tests} fail as it is:\n{log[-2000:]}")


def _seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _tests(arguments: Sequence[str], folder: Path) -> int:
    child = os.fork()
    if not child:
        _child(arguments, folder)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(child, 9)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _child(arguments: Sequence[str], folder: Path) -> None:
    try:
        os.chdir(folder)
        log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.path[:0] = [str(folder), str(folder / "tests")]
        os.environ["PYTHONPATH"] = str(folder)
        import pytest

        code = int(
            pytest.main(["-x", "-q", "--assert=plain", "-p", "no:cacheprovider", "--rootdir", str(folder), *arguments])
        )
        sys.stdout.flush()
    except BaseException:
        code = 99
    os._exit(code)


def _load_libraries(folder: Path) -> None:
    """Import once what takes seconds: everything but this repository that a run of some tests imports."""
    sys.dont_write_bytecode = True
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONDONTWRITEBYTECODE": "1"}
    names = folder / "modules"
    child = os.fork()
    if not child:
        sys.path[:0] = [str(folder), str(folder / "tests")]
        for name in ("conftest", "test_training", "test_search", "test_corpus", "test_report", "hub.server"):
            importlib.import_module(name)
        names.write_text("\n".join(sys.modules))
        os._exit(0)
    os.waitpid(child, 0)
    ours = {path.stem for path in folder.rglob("*.py")} | {"modeling_lira", "dataset_builder", "eval", "hub", "tests"}
    for name in names.read_text().splitlines():
        if name.partition(".")[0] not in ours:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    sys.modules["torch"].set_num_threads(1)


def table(attempts: Sequence[Attempt]) -> str:
    """Return tried and noticed by file, and every mutation that no test noticed."""
    files = dict.fromkeys(one.mutation.file for one in attempts)
    lines = [f"{'file':48}{'tried':>7}{'noticed':>9}{'equivalent':>12}"]
    rows = [(file, [one for one in attempts if one.mutation.file == file]) for file in files]
    for file, several in [*rows, ("all", list(attempts))]:
        equivalent = sum(bool(one.mutation.equivalent) for one in several)
        lines.append(f"{file:48}{len(several):7}{sum(one.noticed for one in several):9}{equivalent:12}")
    for one in attempts:
        if not one.noticed:
            why = f"equivalent: {one.mutation.equivalent}" if one.mutation.equivalent else "NOT NOTICED"
            lines.append(f"{one.mutation.file}: {one.mutation.old!r} -> {one.mutation.new!r}\n    {why}")
    return "\n".join(lines)


def main(given: Sequence[str] | None = None) -> int:
    """Try the mutations and print the table; the exit code says whether at least 95 % were noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], help="a part of the file's path; may be given again")
    parser.add_argument("--first", type=int, default=0, help="leave out so many")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args(given)
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
    chosen = [one for one in MUTATIONS if not arguments.only or any(part in one.file for part in arguments.only)]
    chosen = chosen[arguments.first :]
    if arguments.list:
        logger.info("\n".join(f"{one.file}: {one.old!r} -> {one.new!r}" for one in chosen))
        return 0
    folder = copy_of_the_repository()
    _load_libraries(folder)
    attempts = []
    try:
        for mutation in chosen:
            check_unchanged(mutation.tests, folder)
            attempts.append(attempt(mutation, folder))
            one = attempts[-1]
            logger.info(
                "%s %5.1f s  %s: %r",
                "noticed " if one.noticed else "SURVIVED",
                one.seconds,
                mutation.file,
                mutation.new,
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    logger.info(table(attempts))
    real = [one for one in attempts if not one.mutation.equivalent]
    return int(sum(one.noticed for one in real) < 0.95 * len(real))


if __name__ == "__main__":
    sys.exit(main())
