"""Tracking: the only place that knows MLflow. A store keeps studies, a study keeps runs."""

import os

# Set before mlflow is first imported: no telemetry, no chatter (errors are raised, and ours to report), and
# a server that does not answer is given up after seconds rather than minutes.
for name, value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
}.items():
    os.environ.setdefault(name, value)
