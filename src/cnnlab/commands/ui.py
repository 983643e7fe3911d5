"""`cnnlab ui`: MLflow's pages over the store, and where each study's charts are."""

from collections.abc import Sequence

from cnnlab.commands import parser
from cnnlab.commands.serving import placed, refuse_taken, serve
from cnnlab.paths import root, typed


def main(words: Sequence[str]) -> None:
    """Serve until interrupted."""
    said = placed(parser("ui"), words)
    from cnnlab.tracking.access import tracking_uri
    from cnnlab.tracking.store import link, studies

    uri, known = tracking_uri(), studies()
    if not known:
        raise ValueError(f"there are no runs yet: {typed('sweep', 'cnnlab sweep')} makes some")
    for study in known:
        print(f"{study.name:<20} {link(study, said.port)}")
    if uri.startswith("http"):
        return
    refuse_taken("ui", said.host, said.port)
    print("serving (10 seconds to start, Ctrl-C to stop)", flush=True)
    quiet = ["--uvicorn-opts", "--no-access-log"]  # a line for each request would push the addresses off the screen
    serve("ui", said, root() / "mlartifacts", quiet, {"MLFLOW_BACKEND_STORE_URI": uri})  # it can hold a password
