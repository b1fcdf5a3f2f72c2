"""A Hub over real HTTP: what huggingface_hub, transformers and datasets need to push and pull.

    with Hub() as hub:
        plan = hub.inject(refused(500), "PUT", "/lfs/", times=2)
        subprocess.run(command, env={**os.environ, **hub.environment(WRITER, cache)})
        assert plan.hits == 2

Clients read HF_ENDPOINT and HF_HUB_DISABLE_XET when they are imported: they run in processes of their own.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import SHUT_RDWR
from threading import RLock, Thread
from types import TracebackType
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from hub.faults import Fault, Faults, Plan
from hub.repos import File, Refused, Repo, Store, Tree

WRITER, READER = "hf_mayWrite", "hf_mayRead"
TOKENS = {WRITER: "write", READER: "read"}
USER = "me"
LARGE = 10 * 2**20
ALWAYS_LARGE = (".safetensors", ".parquet", ".bin", ".arrow", ".pt")
_BODY = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}


@dataclass(frozen=True)
class Request:
    """What a client sent; `path` is still percent-encoded, `base` is the server's own address."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Message
    body: bytes
    base: str

    def json(self) -> dict:
        """Return the body as an object."""
        return json.loads(self.body or b"{}")

    @property
    def role(self) -> str:
        """What the token may do: "write", "read", or nothing without a token."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in TOKENS:
            raise Refused(401, "", "Invalid credentials in Authorization header")
        return TOKENS.get(token, "")


@dataclass(frozen=True)
class Answer:
    """What goes back."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """One line of the server's log."""

    method: str
    path: str
    status: int


Endpoint = Callable[["Hub", Request, dict[str, str]], Answer]


@dataclass(frozen=True)
class Route:
    """Requests of some methods and paths, and who answers them."""

    methods: tuple[str, ...]
    pattern: re.Pattern[str]
    endpoint: Endpoint
    write: bool


ROUTES: list[Route] = []
_REPO = r"/api/(?P<kind>models|datasets|spaces)/(?P<name>[^/]+/[^/]+)"
_FILES = r"/(?:(?P<kind>datasets|spaces)/)?(?P<name>[^/]+/[^/]+?)"


def route(methods: str, pattern: str, write: bool = False) -> Callable[[Endpoint], Endpoint]:
    """Register an endpoint; `write` asks for a token that may write."""

    def register(endpoint: Endpoint) -> Endpoint:
        ROUTES.append(Route(tuple(methods.split()), re.compile(pattern), endpoint, write))
        return endpoint

    return register


class Hub:
    """A server on a free port of this machine, from `with` to its end; `seen` is its log, `store` what it holds."""

    def __init__(self) -> None:
        self.store = Store()
        self.faults = Faults()
        self.seen: list[Seen] = []
        self.lock = RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> "Hub":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def endpoint(self) -> str:
        """The server's address, for HF_ENDPOINT."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def environment(self, token: str, home: Path) -> dict[str, str]:
        """Return the environment of a client that knows this Hub and no other, with a cache of its own."""
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_TOKEN": token,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def inject(self, fault: Fault, method: str, path: str, times: int = 1) -> Plan:
        """Let the next requests of a method whose path a pattern is found in go wrong."""
        return self.faults.add(Plan(fault, method, path, times))

    def files(self, kind: str, name: str, revision: str = "main") -> dict[str, bytes]:
        """Return what a repository holds."""
        tree = self.store.repo(kind, name).at(revision).tree
        return {path: self.store.blobs[file.sha256] for path, file in tree.items()}

    def answer(self, request: Request) -> Answer:
        """Find the endpoint of a request and check the right to use it."""
        for known in ROUTES:
            match = known.pattern.fullmatch(request.path)
            if match and request.method in known.methods:
                names = {key: unquote(value) for key, value in match.groupdict().items() if value is not None}
                return self._permitted(known, request, names)
        return refusal(Refused(404, "", f"no route for {request.method} {request.path}"))

    def _permitted(self, known: Route, request: Request, names: dict[str, str]) -> Answer:
        names.setdefault("kind", "models")
        try:
            role = request.role
            repo = self.store.repos.get((names["kind"], names.get("name", "")))
            if not role and (known.write or (repo is not None and repo.private)):
                raise Refused(401, "", "Invalid username or password.")
            if known.write and role != "write":
                raise Refused(403, "", "Forbidden: you must use a write token to upload to a repository.")
            with self.lock:
                return known.endpoint(self, request, names)
        except Refused as reason:
            return refusal(reason)

    def _repo(self, names: Mapping[str, str]) -> Repo:
        return self.store.repo(names["kind"], names["name"])


def refusal(reason: Refused) -> Answer:
    """Return an error as the Hub words it."""
    headers = {"X-Error-Code": reason.code, "X-Error-Message": reason.message}
    return as_json({"error": reason.message}, reason.status, {key: value for key, value in headers.items() if value})


def as_json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return a value as JSON."""
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})


class _Handler(BaseHTTPRequestHandler):
    """Reads requests, writes answers, and lets go wrong what is planned to."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        """Say nothing: `Hub.seen` is the log."""

    def _handle(self) -> None:
        request = self._read()
        fault = self.hub.faults.for_request(request.method, request.path) or Fault()
        if fault.flipped and request.method in ("PUT", "POST"):
            request = replace(request, body=_flipped(request.body))
        if fault.status:
            headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            answer = Answer(fault.status, b"planned", headers)
        else:
            answer = self.hub.answer(request) if not fault.lost or fault.done else Answer(0)
        self.hub.seen.append(Seen(request.method, request.path, 0 if fault.lost else answer.status))
        if fault.lost:
            self._hang_up()
        else:
            self._write(answer, fault)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _handle

    def _read(self) -> Request:
        address = urlsplit(self.path)
        return Request(
            method=self.command,
            path=address.path,
            query=parse_qs(address.query, keep_blank_values=True),
            headers=self.headers,
            body=self._body(),
            base=f"http://{self.headers['Host']}",
        )

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _write(self, answer: Answer, fault: Fault) -> None:
        body = _flipped(answer.body) if fault.flipped and self.command == "GET" else answer.body
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: fault.cut])
        if fault.cut is not None:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(SHUT_RDWR)


def _flipped(body: bytes) -> bytes:
    return body[:-1] + bytes([body[-1] ^ 1]) if body else body


# Account and repositories


@route("GET", "/api/whoami-v2")
def whoami(hub: Hub, request: Request, names: dict[str, str]) -> Answer:
    """Say whose token it is."""
    if not request.role:
        raise Refused(401, "", "Invalid username or password.")
    token = {"type": "access_token", "accessToken": {"displayName": "test", "role": request.role}}
    return as_json({"type": "user", "id": "1", "name": USER, "fullname": USER, "orgs": [], "auth": token})


@route("POST", "/api/validate-yaml")
def validate_yaml(hub: Hub, request: Request, names: dict[str, str]) -> Answer:
    """Accept a card whose metadata the Hub would accept."""
    card = request.json()
    from hub.card_rules import (
        faults,
    )  # imports huggingface_hub, which reads the endpoint once: a server starts before that

    errors = [{"message": fault} for fault in faults(card["content"], card["repoType"])]
    return as_json({"errors": errors, "warnings": []}, 400 if errors else 200)


@route("POST", "/api/repos/create", write=True)
def create(hub: Hub, request: Request, names: dict[str, str]) -> Answer:
    """Make a repository."""
    wanted = request.json()
    kind, name = f"{wanted.get('type') or 'model'}s", f"{wanted.get('organization') or USER}/{wanted['name']}"
    url = f"{request.base}/{'' if kind == 'models' else f'{kind}/'}{name}"
    if (kind, name) in hub.store.repos:
        return as_json({"error": "You already created this repo", "url": url}, 409)
    hub.store.create(kind, name, bool(wanted.get("private")) or wanted.get("visibility") == "private")
    return as_json({"url": url, "name": name, "id": name})


@route("DELETE", "/api/repos/delete", write=True)
def delete(hub: Hub, request: Request, names: dict[str, str]) -> Answer:
    """Remove a repository."""
    wanted = request.json()
    kind, name = f"{wanted.get('type') or 'model'}s", f"{wanted.get('organization') or USER}/{wanted['name']}"
    hub.store.repo(kind, name)
    del hub.store.repos[kind, name]
    return as_json({})


@route("POST DELETE", rf"{_REPO}/branch/(?P<branch>[^/]+)", write=True)
def branch(hub: Hub, request: Request, names: dict[str, str]) -> Answer:
    """Make or remove a branch."""
    repo = hub._repo(names)
    if request.method == "DELETE":
        repo.branches.pop(names["branch"], None)
    elif names["branch"] in repo.branches:
        raise Refused(409, "RefExists", "Reference already exists")
    else:
        repo.branches[names["branch"]] = repo.at(request.json().get("startingPoint", "main")).oid
    return as_json({})


@route("POST DELETE", rf"{_REPO}/tag/(?P<revision>[^/]+)", write=True)
def tag(hub: Hub, request: Request, names: dict[str, str]) -> Answer:
    """Tag a revision, or remove a tag."""
    repo = hub._repo(names)
    if request.method == "DELETE":
        repo.tags.pop(names["revision"], None)
    elif request.json()["tag"] in repo.tags:
        raise Refused(409, "RefExists", "Reference already exists")
    else:
        repo.tags[request.json()["tag"]] = repo.at(names["revision"]).oid
    return as_json({})


# Uploads: which files are large, the large ones, then the commit that names them all


@route("POST", rf"{_REPO}/preupload/(?P<revision>[^/]+)", write=True)
def preupload(hub: Hub, request: Request, names: dict[str, str]) -> Answer:
    """Say of each file whether it is large."""
    tip = hub._repo(names).at(names["revision"])
    files = []
    for wanted in request.json()["files"]:
        large = wanted["size"] >= LARGE or wanted["path"].endswith(ALWAYS_LARGE)
        known = tip.tree.get(wanted["path"])
        files.append(
            {
                "path": wanted["path"],
                "uploadMode": "lfs" if large else "regular",
                "shouldIgnore": False,
                "oid": known.etag if known else None,
            }
        )
    return as_json({"files": files, "commitOid": tip.oid})


@route("POST", rf"{_FILES}\.git/info/lfs/objects/batch", write=True)
def large_files(hub: Hub, request: Request, names: dict[str, str]) -> Answer:
    """Say where to upload the large files that the Hub does not have."""
    hub._repo(names)
    objects = []
    for wanted in request.json()["objects"]:
        entry = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] not in hub.store.blobs:
            entry["actions"] = {"upload": {"href": f"{request.base}/lfs/{wanted['oid']}", "header": {}}}
        objects.append(entry)
    return as_json({"transfer": "basic", "objects": objects})


@route("PUT", "/lfs/(?P<oid>[0-9a-f]{64})")
def upload(hub: Hub, request: Request, names: dict[str, str]) -> Answer:
    """Take a large file, if it is the one announced; its address is the permission, as with a signed one."""
    if hashlib.sha256(request.body).hexdigest() != names["oid"]:
        raise Refused(400, "BadOid", "the SHA-256 of what arrived is not the announced one")
    hub.store.blobs[names["oid"]] = request.body
    return Answer(headers={"ETag": f'"{names["oid"]}"'})


@route("POST", rf"{_REPO}/commit/(?P<revision>[^/]+)", write=True)
def commit(hub: Hub, request: Request, names: dict[str, str]) -> Answer:
    """Put a commit on a branch, or on that of a new pull request: all of its changes or none."""
    repo = hub._repo(names)
    tip, title, branch = repo.at(names["revision"]), "commit", names["revision"]
    if request.query.get("create_pr") == ["1"]:
        number = 1 + sum(name.startswith("refs/pr/") for name in repo.branches)
        branch = f"refs/pr/{number}"
        repo.branches[branch] = tip.oid
    tree = dict(tip.tree)
    for line in request.body.splitlines():
        entry = json.loads(line)
        if entry["key"] == "header":
            title = entry["value"]["summary"]
            parent = entry["value"].get("parentCommit")
            if parent and not tip.oid.startswith(parent):
                raise Refused(412, "Precondition", "A commit has happened since. Please refresh and try again.")
        else:
            _change(hub.store, tree, entry["key"], entry["value"])
    made = repo.commit(title, tree, branch if branch in repo.branches else "main")
    prefix = "" if repo.kind == "models" else f"{repo.kind}/"
    url = f"{request.base}/{prefix}{repo.name}/commit/{made.oid}"
    answer = {"success": True, "commitOid": made.oid, "commitUrl": url, "hookOutput": ""}
    if branch.startswith("refs/pr/"):
        number_of = branch.rpartition("/")[2]
        answer["pullRequestUrl"] = f"{request.base}/{prefix}{repo.name}/discussions/{number_of}"
    return as_json(answer)


def _change(store: Store, tree: Tree, key: str, value: Mapping[str, str]) -> None:
    """Apply one line of a commit."""
    path = value["path"]
    if key == "file":
        tree[path] = store.small_file(base64.b64decode(value["content"]))
    elif key == "lfsFile":
        tree[path] = store.large_file(value["oid"])
    elif key == "deletedFile":
        if tree.pop(path, None) is None:
            raise Refused(404, "EntryNotFound", f"{path} does not exist")
    elif key == "deletedFolder":
        for name in [name for name in tree if name.startswith(f"{path.rstrip('/')}/")]:
            del tree[name]
    else:
        raise Refused(400, "", f"unknown change {key}")


# Reading


@route("GET HEAD", _REPO)
@route("GET HEAD", rf"{_REPO}/revision/(?P<revision>[^/]+)")
def info(hub: Hub, request: Request, names: dict[str, str]) -> Answer:
    """Describe a repository at a revision."""
    repo = hub._repo(names)
    tip = repo.at(names.get("revision", "main"))
    return as_json(
        {
            "_id": "1",
            "id": repo.name,
            "modelId": repo.name,
            "sha": tip.oid,
            "private": repo.private,
            "gated": False,
            "disabled": False,
            "lastModified": tip.date,
            "createdAt": tip.date,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "cardData": _card_data(hub.store.blobs[tip.tree["README.md"].sha256]) if "README.md" in tip.tree else None,
            "siblings": [{"rfilename": path} for path in sorted(tip.tree)],
        }
    )


def _card_data(readme: bytes) -> object:
    """Return the YAML head of a card."""
    match = re.match(rb"---\n(.*?)\n---\n", readme, re.DOTALL)
    return yaml.safe_load(match[1]) if match else None


@route("GET", rf"{_REPO}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.*))?")
def tree(hub: Hub, request: Request, names: dict[str, str]) -> Answer:
    """List a folder, with all below it if asked for."""
    files = hub._repo(names).at(names["revision"]).tree
    folder = names.get("folder", "").strip("/")
    prefix = f"{folder}/" if folder else ""
    inside = {path: file for path, file in files.items() if path.startswith(prefix)}
    if folder and not inside:
        raise Refused(404, "EntryNotFound", f"{folder} does not exist on {names['revision']}")
    if request.query.get("recursive", ["false"])[0].casefold() not in ("true", "1"):
        deep = {path for path in inside if "/" in path.removeprefix(prefix)}
        folders = {prefix + path.removeprefix(prefix).split("/")[0] for path in deep}
        inside = {path: file for path, file in inside.items() if path not in deep}
    else:
        folders = {str(above) for path in inside for above in Path(path).parents} - {".", *Path(prefix).parts}
    return as_json([*map(_folder_entry, sorted(folders)), *(_entry(path, inside[path]) for path in sorted(inside))])


@route("POST", rf"{_REPO}/paths-info/(?P<revision>[^/]+)")
def paths_info(hub: Hub, request: Request, names: dict[str, str]) -> Answer:
    """Describe the files and folders of some paths; what does not exist is left out."""
    files = hub._repo(names).at(names["revision"]).tree
    sent_as_form = not request.body.lstrip().startswith(b"{")
    wanted: Iterable[str] = parse_qs(request.body.decode())["paths"] if sent_as_form else request.json()["paths"]
    entries = []
    for path in (path.strip("/") for path in wanted):
        if path in files:
            entries.append(_entry(path, files[path]))
        elif any(name.startswith(f"{path}/") for name in files):
            entries.append(_folder_entry(path))
    return as_json(entries)


def _entry(path: str, file: File) -> dict[str, object]:
    entry: dict[str, object] = {"type": "file", "oid": file.git_oid, "size": file.size, "path": path}
    return {**entry, "lfs": {"oid": file.sha256, "size": file.size, "pointerSize": 134}} if file.large else entry


def _folder_entry(path: str) -> dict[str, object]:
    return {"type": "directory", "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0, "path": path}


@route("GET", rf"{_REPO}/refs")
def refs(hub: Hub, request: Request, names: dict[str, str]) -> Answer:
    """List branches and tags."""
    repo = hub._repo(names)

    def listed(where: str, targets: Mapping[str, str]) -> list[dict[str, str]]:
        return [{"name": name, "ref": f"refs/{where}/{name}", "targetCommit": oid} for name, oid in targets.items()]

    return as_json({"branches": listed("heads", repo.branches), "tags": listed("tags", repo.tags), "converts": []})


@route("GET", rf"{_REPO}/commits/(?P<revision>[^/]+)")
def commits(hub: Hub, request: Request, names: dict[str, str]) -> Answer:
    """List the history, newest first."""
    repo = hub._repo(names)
    oid: str | None = repo.at(names["revision"]).oid
    history = []
    while oid is not None:
        made = repo.commits[oid]
        history.append({"id": oid, "title": made.title, "message": "", "date": made.date, "authors": [{"user": USER}]})
        oid = made.parent
    return as_json(history)


@route("GET HEAD", rf"{_FILES}/(?:resolve|raw)/(?P<revision>[^/]+)/(?P<path>.+)")
def resolve(hub: Hub, request: Request, names: dict[str, str]) -> Answer:
    """Return a file, or a part of it."""
    tip = hub._repo(names).at(names["revision"])
    if names["path"] not in tip.tree:
        raise Refused(404, "EntryNotFound", "Entry not found")
    file = tip.tree[names["path"]]
    headers = {**_BODY, "X-Repo-Commit": tip.oid, "ETag": f'"{file.etag}"'}
    if file.large:
        headers |= {"X-Linked-Etag": f'"{file.etag}"', "X-Linked-Size": str(file.size)}
    return _part(hub.store.blobs[file.sha256], request.headers.get("Range", ""), headers)


def _part(data: bytes, wanted: str, headers: Mapping[str, str]) -> Answer:
    """Return the bytes that a Range header asks for: `bytes=2-5`, `bytes=2-`, `bytes=-3`."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
    if match is None or not data:
        return Answer(200, data, headers)
    first, last = match.groups()
    start = int(first) if first else max(0, len(data) - int(last))
    stop = min(len(data), int(last) + 1) if first and last else len(data)
    if start >= len(data):
        raise Refused(416, "", "Range not satisfiable")
    return Answer(206, data[start:stop], {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"})
