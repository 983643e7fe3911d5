"""`cnnlab ui`: MLflow's pages over the store, and where each study's charts are."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence

from cnnlab.commands import counting, parser
from cnnlab.orphans import reaper
from cnnlab.paths import root


def main(words: Sequence[str]) -> None:
    """Serve until interrupted; the server and its workers end with this process, however that ends."""
    parse = parser("ui")
    parse.add_argument("--port", type=counting, default=5000, help="default %(default)s")
    parse.add_argument("--host", default="127.0.0.1", help="whom to serve: %(default)s, this machine alone (default)")
    said = parse.parse_args(words)
    port = said.port
    if port >= 2**16:
        parse.error(f"argument --port: choose a whole number from 1 to {2**16 - 1}")
    from cnnlab.tracking.access import tracking_uri
    from cnnlab.tracking.store import link, studies

    uri, known = tracking_uri(), studies()
    if not known:
        raise ValueError("there are no runs yet: `make sweep` or `make train` makes some")
    for study in known:
        print(f"{study.name:<20} {link(study, port)}")
    if uri.startswith("http"):
        return
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise ValueError(f"port {port} is in use: choose another, as in `make ui PORT={port + 1}`")
    print("serving (10 seconds to start, Ctrl-C to stop)", flush=True)
    server = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    places = ["--artifacts-destination", str(root() / "mlartifacts"), "--host", said.host]
    places += ["--port", str(port)]
    settings = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_BACKEND_STORE_URI": uri,
    }  # it can hold a password
    try:
        with reaper("ui"):
            done = subprocess.run([*server, *places], env=os.environ | settings)
    except KeyboardInterrupt:
        return
    sys.exit(done.returncode)
