"""A local stand-in of W&B's server: what `wandb-core` asks of WANDB_BASE_URL, answered from memory.

    with StandIn() as server:
        os.environ |= server.environment()
        ...
        server.runs["my-run"].history

GraphQL (POST /graphql), the stream of history, summary and exit code (POST .../file_stream), and
uploads of files and artefacts (PUT /storage/...). Everything that arrives is kept: `runs` by id,
`artifacts` by id, and `requests` in order. `fault` makes answers fail.
"""

import gzip
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import unquote

from .wandb_artifacts import ENTITY, Artifacts

KEY = "0123456789abcdef0123456789abcdef01234567"
HISTORY, EVENTS, OUTPUT = "wandb-history.jsonl", "wandb-events.jsonl", "output.log"
SUMMARY = "wandb-summary.json"


class Request(NamedTuple):
    """`operation`: of GraphQL its name, else "file_stream" or "upload"."""

    method: str
    path: str
    operation: str


@dataclass
class Run:
    """What the server holds of a run."""

    id: str
    project: str
    config: dict = field(default_factory=dict)
    summary: dict = field(default_factory=dict)
    group: str | None = None
    job_type: str | None = None
    display_name: str | None = None
    tags: list[str] = field(default_factory=list)
    lines: dict[str, list[str]] = field(default_factory=dict)  # of the streamed files
    files: dict[str, bytes] = field(default_factory=dict)
    exit_codes: list[int] = field(default_factory=list)
    overwritten: list[tuple[str, int]] = field(default_factory=list)  # (file, line): changed later

    @property
    def history(self) -> list[dict]:
        """The rows without W&B's own keys (`_step`, `_runtime`, ...)."""
        return [
            {key: value for key, value in json.loads(line).items() if not key.startswith("_")}
            for line in self.lines.get(HISTORY, [])
        ]

    @property
    def steps(self) -> list[int]:
        """W&B's own step of each row of the history."""
        return [json.loads(line)["_step"] for line in self.lines.get(HISTORY, [])]


@dataclass
class Fault:
    """What becomes of a request: a status, no answer at all, or an answer after some seconds."""

    status: int = 0
    hang_up: bool = False
    seconds: float = 0.0


class StandIn(Artifacts):
    """The server, in a thread of this process; a context manager."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        super().__init__()
        self.requests: list[Request] = []
        self.fault: Callable[[Request], Fault | None] = lambda request: None
        self.unknown: list[str] = []  # operations that have no answer here
        self.changed = threading.Condition(threading.RLock())
        self._uploads: dict[str, Callable[[bytes], None]] = {}
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.daemon = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def environment(self) -> dict[str, str]:
        """For a process that is to talk to this server."""
        here = {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY, "WANDB_MODE": "online"}
        return here | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}

    def __enter__(self) -> "StandIn":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def operations(self, *leave_out: str) -> list[str]:
        return [each.operation for each in self.requests if each.operation not in leave_out]

    def hold(self, operation: str, event: Any = None) -> Any:
        """Requests of this operation get no answer before the event, which it returns, is set."""
        event, before = event or threading.Event(), self.fault

        def fault(request: Request) -> Fault | None:
            if request.operation == operation:
                event.wait()
            return before(request)

        self.fault = fault
        return event

    def wait(self, condition: Callable[[], Any], seconds: float = 60.0) -> Any:
        """Until `condition()`, looked at after each request, is true."""
        with self.changed:
            self.changed.wait_for(condition, seconds)
            found = condition()
        assert found, f"waited for {seconds:g} s; requests: {self.operations()[-20:]}"
        return found

    # What is asked. Names of operations are those of wandb-core's queries.

    def graphql(self, operation: str, variables: dict) -> dict:
        answer = getattr(self, f"_{_snake(operation)}", None)
        if answer is None:
            self.unknown.append(operation)
            raise LookupError(operation)
        return answer(**variables)

    def _viewer(self) -> dict:
        teams = {"edges": []}
        viewer = {"id": "viewer", "entity": ENTITY, "username": ENTITY, "email": "", "flags": "{}"}
        return {"viewer": viewer | {"teams": teams, "admin": False}}

    def _server_features_query(self) -> dict:
        return {"serverInfo": {"features": []}}

    def _server_info(self) -> dict:
        version = {"max_cli_version": "99.0.0"}
        return {"serverInfo": {"cliVersionInfo": version, "latestLocalVersionInfo": None}}

    def _run_stopped_status(self, **_: Any) -> dict:
        return {"project": {"run": {"stopped": False}}}

    def _run_resume_status(self, project: str, name: str, entity: str | None = None) -> dict:
        run = self.runs.get(name)
        lines = {} if run is None else run.lines
        bucket = run and {
            "id": run.id,
            "name": run.id,
            "summaryMetrics": json.dumps(run.summary),
            "displayName": run.display_name,
            "logLineCount": len(lines.get(OUTPUT, [])),
            "historyLineCount": len(lines.get(HISTORY, [])),
            "eventsLineCount": len(lines.get(EVENTS, [])),
            "historyTail": json.dumps(lines.get(HISTORY, [])[-1:]),
            "eventsTail": json.dumps(lines.get(EVENTS, [])[-1:]),
            "config": json.dumps(run.config),
            "tags": run.tags,
            "notes": None,
            "wandbConfig": json.dumps({"t": run.config.get("_wandb", {}).get("value", {})}),
        }
        owner = {"id": ENTITY, "name": ENTITY}
        return {"model": {"id": project, "name": project, "entity": owner, "bucket": bucket}}

    def _upsert_bucket(self, **given: Any) -> dict:
        name = given.get("name") or given["id"]
        inserted = name not in self.runs
        run = self.runs.setdefault(name, Run(name, given.get("project") or "uncategorized"))
        for key, attribute in (
            ("groupName", "group"), ("jobType", "job_type"), ("displayName", "display_name"),
            ("tags", "tags"),
        ):  # fmt: skip
            if given.get(key) is not None:
                setattr(run, attribute, given[key])
        for key, kept in (("config", run.config), ("summaryMetrics", run.summary)):
            kept.update(json.loads(given.get(key) or "{}"))
        project = {"id": run.project, "name": run.project, "entity": {"id": "1", "name": ENTITY}}
        bucket = {
            "id": run.id, "name": run.id, "displayName": run.display_name, "description": None,
            "config": json.dumps(run.config), "sweepName": None, "project": project,
            "historyLineCount": len(run.lines.get(HISTORY, [])),
        }  # fmt: skip
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}

    def stream(self, run: Run, message: dict) -> dict:
        """Lines at an offset each: what is there is replaced."""
        for name, part in message.get("files", {}).items():
            if name == SUMMARY:
                run.summary = json.loads(part["content"][-1])
                continue
            lines = run.lines.setdefault(name, [])
            assert part["offset"] <= len(lines), f"{name}: lines are missing before {part}"
            for number, line in enumerate(part["content"], part["offset"]):
                if number < len(lines) and lines[number] != line:
                    run.overwritten.append((name, number))
                lines[number : number + 1] = [line]
        if message.get("complete"):
            run.exit_codes.append(message["exitcode"])
        return {"stopped": False}

    def _create_run_files(self, entity: str, project: str, run: str, files: list[str]) -> dict:
        held = self.runs[run].files
        urls = [
            {
                "name": name,
                "uploadUrl": self._upload(lambda data, name=name: held.update({name: data})),
            }
            for name in files
        ]
        return {"createRunFiles": {"runID": run, "uploadHeaders": [], "files": urls}}

    def _mark_run_files_uploaded(self, **_: Any) -> dict:
        return {"markRunFilesUploaded": {"success": True}}

    def _organization_core_weave_organization_id(self, **_: Any) -> dict:
        return {"entity": None}

    def _upload(self, take: Callable[[bytes], None]) -> str:
        path = f"/storage/{next(self._numbers)}"
        self._uploads[path] = take
        return f"{self.url}{path}"

    def put(self, path: str, data: bytes) -> None:
        self._uploads[path](data)


def _snake(name: str) -> str:
    """RunResumeStatus -> run_resume_status"""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).replace("XXHash", "xxhash_").lower().strip("_")


def _operation(query: str) -> str:
    found = re.match(r"\s*(?:query|mutation)\s+(\w+)", query)
    return found[1] if found else query.split("(")[0].strip()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """wandb-core resets its connections when it ends."""


def _handler(stand_in: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None: ...

        def do_GET(self) -> None:
            self._handle(b"", "get", lambda: {})

        def do_POST(self) -> None:
            body = self._body()
            if self.path == "/graphql":
                asked = json.loads(body)
                name = asked.get("operationName") or _operation(asked["query"])
                variables = asked.get("variables") or {}
                self._handle(body, name, lambda: {"data": stand_in.graphql(name, variables)})
            elif self.path.endswith("/file_stream"):
                run = stand_in.runs.get(unquote(self.path.split("/")[-2]))
                message = json.loads(body)
                self._handle(body, "file_stream", lambda: stand_in.stream(run, message))
            else:
                self._handle(body, "post", lambda: {})

        def do_PUT(self) -> None:
            body = self._body()
            self._handle(body, "upload", lambda: stand_in.put(self.path, body) or {})

        def _body(self) -> bytes:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

        def _handle(self, body: bytes, operation: str, answer: Callable[[], dict]) -> None:
            request = Request(self.command, self.path, operation)
            fault = stand_in.fault(request)
            if fault and fault.seconds:
                time.sleep(fault.seconds)
            with stand_in.changed:
                stand_in.requests.append(request)
                try:
                    status, content = 200, {} if fault and fault.status else answer()
                except (LookupError, AssertionError, TypeError, AttributeError) as error:
                    status, content = 400, {"errors": [{"message": repr(error)}]}
                    stand_in.unknown.append(f"{operation}: {error!r}")
                stand_in.changed.notify_all()
            if fault and fault.hang_up:
                self.close_connection = True
                return
            data = json.dumps(content).encode()
            self.send_response(fault.status if fault and fault.status else status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler
