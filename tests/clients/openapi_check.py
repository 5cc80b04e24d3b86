"""Tries the server by its own description with schemathesis: whatever is sent, no status that is not described, and no failure
of the server.

usage: openapi_check.py DESCRIPTION URL KEY FOLDER
"""

import json
import pathlib
import subprocess
import sys

import yaml

description, url, key, folder = sys.argv[1:]

# What any request may be answered, as `info.description` says. Everything else has to stand with the request: `default`
# would hide it.
ANYWHERE = ["405", "408", "413", "417", "431", "505"]

document = yaml.safe_load(pathlib.Path(description).read_text())
# Served at ADMIN_LISTEN alone; api_description.rs looks at it.
del document["paths"]["/metrics"]
for path in document["paths"].values():
    for operation in path.values():
        if isinstance(operation, dict) and "responses" in operation:
            # Operations share them.
            responses = dict(operation["responses"])
            default = responses.pop("default")
            operation["responses"] = {**{status: default for status in ANYWHERE}, **responses}
schema = pathlib.Path(folder) / "openapi.json"
schema.write_text(json.dumps(document))

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "ignored_auth",
]
command = [
    pathlib.Path(sys.executable).parent / "schemathesis",
    "run",
    schema,
    "--url",
    url,
    "--header",
    f"Authorization: Bearer {key}",
    "--checks",
    ",".join(CHECKS),
    "--phases",
    "examples,coverage,fuzzing",
    "--max-examples",
    "10",
    "--continue-on-failure",
    "--generation-deterministic",
    "--request-timeout",
    "60",
    "--warnings",
    "off",
    "--no-color",
]
sys.exit(subprocess.run(command, cwd=folder, check=False).returncode)
