"""The MLflow side of tracking: the database, and the runs of a pipeline in it.

This is the only module that speaks to MLflow, which it imports late: it takes seconds and
is optional. Anything here may raise; salt/tracking.py turns that into a warning.
"""

import fcntl
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from salt import provenance
from salt.errors import MissingPackageError

EXPERIMENT = "salt"
STATE_FOLDER = ".salt"  # under the project's root, ignored by git
LOCK_PATIENCE = 60.0  # seconds; creating the database takes about five on a quiet machine
PARAMS_PER_BATCH = 100  # MLflow's limit
ENVIRONMENT_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",  # seconds; MLflow's 120 would stall training
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}


class Measurement(NamedTuple):
    """One value of a metric; `step` is its epoch, None for a final value."""

    name: str
    value: float
    at: int  # milliseconds since 1970
    step: int | None


@dataclass(frozen=True)
class Ledger:
    """The two open runs a stage writes to: its pipeline's (parent) and its own (child)."""

    client: Any  # mlflow.MlflowClient
    parent: str
    child: str
    prefix: str  # of this stage's final metrics on the parent

    def log(self, measurements: list[Measurement]) -> None:
        """Write measurements to the child, final ones to the parent as well."""
        from mlflow.entities import Metric

        own = [Metric(m.name, m.value, m.at, m.step or 0) for m in measurements]
        final = [
            Metric(f"{self.prefix}/{m.name}", m.value, m.at, 0)
            for m in measurements
            if m.step is None
        ]
        for run_id, metrics in ((self.child, own), (self.parent, final)):
            if metrics:
                self.client.log_batch(run_id, metrics=metrics)

    def attach(self, path: Path, folder: str | None) -> None:
        """Copy a file, or a folder's files, into the child's artifacts."""
        log = self.client.log_artifacts if path.is_dir() else self.client.log_artifact
        log(self.child, str(path), folder)

    def close(self, status: str, error: str) -> None:
        """End both runs; a later stage of the pipeline reopens the parent."""
        if error:
            self.client.set_tag(self.child, "salt.error", error[:5000])
        self.client.set_terminated(self.child, status)
        self.client.set_terminated(self.parent, status)


def open_ledger(
    root: Path,
    pipeline: provenance.Process | None,
    stage: str,
    params: Mapping[str, Any],
    fold: int | None,
) -> Ledger:
    """Open this stage's run under its pipeline's, creating, finding or continuing either.

    Args:
        root: the project's root, where the default database is.
        pipeline: the `dvc` process that runs the pipeline, None if there is none.

    Raises:
        Exception: whatever MLflow, its store or the file system raise.
    """
    with _locked(root / STATE_FOLDER / "tracking.lock"):
        client, experiment = _connect(root)
        runs = _Runs(client, experiment, str(root))
        name = stage if fold is None else f"{stage}@{fold}"
        settings = _digest({key: params[key] for key in params if key != "runtime"})
        interrupted = runs.end_orphans(name, settings)
        parent = runs.parent(pipeline, params)
        if interrupted is None:
            child = runs.create(
                name, params, {"salt.stage": name, "salt.settings": settings}, parent
            )
        else:
            child = runs.resume(interrupted, parent)
    return Ledger(client, parent, child, stage if fold is None else f"{stage}/{fold}")


def flatten(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested sections as one level of dotted keys: `{"a": {"b": 1}}` is `{"a.b": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{inner}": item for inner, item in flatten(value).items()}
        else:
            flat[key] = value
    return flat


@dataclass(frozen=True)
class _Runs:
    """The runs of one experiment that were started from one project root."""

    client: Any
    experiment: str
    root: str

    def parent(self, pipeline: provenance.Process | None, params: Mapping[str, Any]) -> str:
        """Return the pipeline's run: the one its earlier stages opened, or a new one.

        Stages started by hand have no pipeline; those of one commit share a parent.
        """
        experiment = os.environ.get("DVC_EXP_NAME")
        session = _digest([self.root, str(pipeline or provenance.commit()), experiment])
        for run in self._search(f"tags.`salt.session` = '{session}'"):
            self.client.update_run(run.info.run_id, status="RUNNING")
            return str(run.info.run_id)
        name = experiment or f"repro {provenance.commit()[:7]}".strip()
        tags = {"salt.session": session, "salt.process": str(pipeline or "")}
        return self.create(name, params, tags)

    def create(
        self,
        name: str,
        params: Mapping[str, Any],
        tags: dict[str, str],
        parent: str | None = None,
    ) -> str:
        """Create a run with its parameters and where it came from; return its id."""
        from mlflow.entities import Param

        code = provenance.code()
        common = {"salt.root": self.root, "mlflow.source.git.commit": code["git.commit"]}
        run = self.client.create_run(
            self.experiment,
            run_name=name,
            tags=common | code | provenance.hardware() | tags | _belonging(parent),
        )
        flat = [Param(key, str(value)) for key, value in flatten(params).items()]
        for start in range(0, len(flat), PARAMS_PER_BATCH):
            self.client.log_batch(run.info.run_id, params=flat[start : start + PARAMS_PER_BATCH])
        return str(run.info.run_id)

    def resume(self, run: Any, parent: str) -> str:
        """Continue a killed stage's run under the pipeline run that repeats the stage."""
        resumed = int(run.data.tags.get("salt.resumed", 0)) + 1
        for key, value in (_belonging(parent) | {"salt.resumed": str(resumed)}).items():
            self.client.set_tag(run.info.run_id, key, value)
        return str(run.info.run_id)

    def end_orphans(self, name: str, settings: str) -> Any | None:
        """Mark open runs whose process is gone as killed, except the one to be continued.

        Returns:
            The interrupted run of the same stage, fold and settings, if there is one.
        """
        interrupted = None
        for run in self._search("attributes.status = 'RUNNING'"):
            tags = run.data.tags
            if tags.get("salt.root") != self.root or not provenance.is_gone(tags["salt.process"]):
                continue
            same = (tags.get("salt.stage"), tags.get("salt.settings")) == (name, settings)
            if same and interrupted is None:
                interrupted = run
            else:
                self.client.set_terminated(run.info.run_id, "KILLED")
        return interrupted

    def _search(self, condition: str) -> list[Any]:
        return list(self.client.search_runs([self.experiment], filter_string=condition))


def _belonging(parent: str | None) -> dict[str, str]:
    """Return the tags that put a run of this process below its parent."""
    if parent is None:
        return {}
    return {"mlflow.parentRunId": parent, "salt.process": str(provenance.own_process() or "")}


def _connect(root: Path) -> tuple[Any, str]:
    """Return an MLflow client and the id of the experiment, created at first use.

    Raises:
        MissingPackageError: mlflow is not installed.
    """
    for variable, value in ENVIRONMENT_DEFAULTS.items():
        os.environ.setdefault(variable, value)
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        raise MissingPackageError(
            f"mlflow cannot be imported: {error}. `pip install mlflow` to track runs"
        ) from error
    for logger in ("mlflow", "alembic"):  # they announce every migration at first use
        logging.getLogger(logger).setLevel(logging.ERROR)
    server = os.environ.get("MLFLOW_TRACKING_URI")
    client = MlflowClient(server or f"sqlite:///{root / STATE_FOLDER / 'mlflow.db'}")
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return client, str(experiment.experiment_id)
    artifacts = None if server else (root / STATE_FOLDER / "mlruns").as_uri()
    return client, str(client.create_experiment(name, artifact_location=artifacts))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a file lock: two first uses at once would corrupt a new database.

    Raises:
        TimeoutError: another process holds it for longer than `LOCK_PATIENCE`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + LOCK_PATIENCE
    with path.open("w") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{path} is held by another process") from None
                time.sleep(0.1)
        yield


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
