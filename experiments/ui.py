"""MLflow's pages over the store: starts its server on PORT and prints where each study's charts are."""

import os
import socket
import subprocess
import sys

from cnnlab.paths import root
from cnnlab.tracking.store import link, studies, tracking_uri


def main() -> int:
    """Serve until interrupted; the exit code."""
    said, uri = os.environ.get("PORT", "5000"), tracking_uri()
    if not (said.isdecimal() and 0 < int(said) < 2**16):
        print(f"PORT={said}: choose a whole number from 1 to {2**16 - 1}", file=sys.stderr)
        return 1
    port = int(said)
    known = studies()
    if not known:
        print("there are no runs yet: `make sweep` or `make train` makes some", file=sys.stderr)
        return 1
    for study in known:
        print(f"{study.name:<20} {link(study, port)}")
    if uri.startswith("http"):
        return 0
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            print(f"PORT={port} is in use: choose another, as in `make ui PORT={port + 1}`", file=sys.stderr)
            return 1
    print("serving (10 seconds to start, Ctrl-C to stop)", flush=True)
    server = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--workers", "1"]
    places = ["--artifacts-destination", str(root() / "mlartifacts"), "--port", str(port)]
    try:
        return subprocess.run(
            [*server, *places], env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        ).returncode
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(str(error))
