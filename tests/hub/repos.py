"""Repositories as a Hub keeps them: commits of whole trees, branches, tags, and the bytes of files."""

import hashlib
import json
import time
from dataclasses import dataclass, field


class Refused(Exception):
    """A request that the Hub declines: status, the Hub's error code and message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True)
class File:
    """A file of a tree; a large one is kept outside git, which has a pointer to it."""

    sha256: str
    size: int
    large: bool
    git_oid: str

    @property
    def etag(self) -> str:
        """What a client caches it by."""
        return self.sha256 if self.large else self.git_oid


Tree = dict[str, File]


@dataclass(frozen=True)
class Commit:
    """A whole tree with its history."""

    oid: str
    parent: str | None
    title: str
    date: str
    tree: Tree


@dataclass
class Repo:
    """One model or dataset repository."""

    kind: str
    name: str
    private: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, title: str, tree: Tree, branch: str = "main") -> Commit:
        """Put a new commit on a branch."""
        parent = self.branches.get(branch)
        seed = json.dumps([self.kind, self.name, parent, title, {path: file.etag for path, file in tree.items()}])
        oid = hashlib.sha1(f"{seed}{len(self.commits)}".encode()).hexdigest()
        date = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        self.commits[oid] = Commit(oid, parent, title, date, tree)
        self.branches[branch] = oid
        return self.commits[oid]

    def at(self, revision: str) -> Commit:
        """Return the commit of a branch, a tag, a commit id or the beginning of one."""
        name = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        oid = self.branches.get(name) or self.tags.get(name)
        if oid is None and len(name) >= 7:
            oid = next((known for known in self.commits if known.startswith(name)), None)
        if oid is None:
            raise Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return self.commits[oid]


@dataclass
class Store:
    """All repositories, and the bytes of their files by SHA-256; in memory."""

    repos: dict[tuple[str, str], Repo] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def create(self, kind: str, name: str, private: bool) -> Repo:
        """Make a repository with an empty first commit."""
        repo = self.repos[kind, name] = Repo(kind, name, private)
        repo.commit("initial commit", {})
        return repo

    def repo(self, kind: str, name: str) -> Repo:
        """Return a repository that exists."""
        if (kind, name) not in self.repos:
            raise Refused(404, "RepoNotFound", "Repository not found")
        return self.repos[kind, name]

    def small_file(self, data: bytes) -> File:
        """Keep the content of a file that is part of its commit."""
        return self._file(data, large=False, in_git=data)

    def large_file(self, sha256: str) -> File:
        """Return the file of an uploaded content."""
        if sha256 not in self.blobs:
            raise Refused(400, "LfsMissing", f"LFS pointer to missing object {sha256}")
        data = self.blobs[sha256]
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(data)}\n"
        return self._file(data, large=True, in_git=pointer.encode())

    def _file(self, data: bytes, large: bool, in_git: bytes) -> File:
        digest = hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        git_oid = hashlib.sha1(b"blob %d\0" % len(in_git) + in_git).hexdigest()
        return File(digest, len(data), large, git_oid)
