"""The numbers of each fold as a run of an MLflow server, whose address is MLFLOW_TRACKING_URI; no client is needed."""

import os
import time

from kit.errors import NETWORK, KitError
from kit.plugin import TrackerSpec, hookimpl


@hookimpl
def kit_trackers():
    """Add `mlflow`: kit train COMPETITION --set trackers=mlflow."""
    return [TrackerSpec("mlflow", open=Mlflow, check=check)]


def check():
    """Raise if no server is named, or it does not answer: before a run is made."""
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        raise KitError("the tracker mlflow needs a server: set MLFLOW_TRACKING_URI to its address")
    try:
        post("experiments/search", {"max_results": 1})
    except OSError as error:
        raise KitError(f"no MLflow at {os.environ['MLFLOW_TRACKING_URI']} ({error}): start it", NETWORK) from None


def post(path, document):
    """Send a document, return the answer."""
    import json
    from urllib.request import Request, urlopen

    address = f"{os.environ['MLFLOW_TRACKING_URI'].rstrip('/')}/api/2.0/mlflow/{path}"
    request = Request(address, json.dumps(document).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=10) as answer:
        return json.loads(answer.read() or b"{}")


class Mlflow:
    """One fold. A server that falls silent is told of once, and training goes on."""

    def __init__(self, run, fold):
        self.silent = False
        facts = {"run_name": f"{run.name} fold {fold}", "start_time": int(1000 * time.time())}
        made = self.send("runs/create", experiment_id="0", **facts)
        self.run = made.get("run", {}).get("info", {}).get("run_id")

    def send(self, path, **document):
        """Send a document unless the server has fallen silent."""
        try:
            return {} if self.silent else post(path, document)
        except OSError as error:
            from kit.plugin.commands import Console

            self.silent = True
            Console().warn(f"MLflow does not answer ({error}): this fold is not tracked any further")
            return {}

    def log(self, step, values):
        """Receive one row of history.csv."""
        finite = {key: float(value) for key, value in values.items() if abs(value) < float("inf")}
        moment = {"timestamp": int(1000 * time.time()), "step": step}
        rows = [{"key": key, "value": value, **moment} for key, value in finite.items()]
        self.send("runs/log-batch", run_id=self.run, metrics=rows)

    def close(self):
        """End the fold."""
        self.send("runs/update", run_id=self.run, status="FINISHED", end_time=int(1000 * time.time()))
