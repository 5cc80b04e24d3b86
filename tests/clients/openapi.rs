//! The whole API as `docs/openapi.yaml` describes it, tried by schemathesis with what is described and what is not.

use std::process::Command;
use support::{Server, api::MASTER, repository};

#[test]
fn whatever_is_sent_is_answered_as_it_is_described() {
    let server = Server::with_api()
        .env("STREAM_JWT_SECRET", "the secret of the backend that signs stream tokens")
        .env("STREAM_PUBLISH_KEY", "the-publishers-key")
        .env("GITHUB_WEBHOOK_SECRET", "It's a secret")
        .env("ROOM_RATE", "0")
        .env("ROOMS_PER_ADDRESS", "0")
        .env("ROOM_CHANGE_RATE", "0")
        .env("PUBLISH_RATE", "0")
        .start();
    let mut python = Command::new(repository().join("tests/clients/.venv/bin/python"));
    python.arg(repository().join("tests/clients/openapi_check.py"));
    python.arg(repository().join("docs/openapi.yaml").canonicalize().expect("the description is there"));
    python.arg(format!("http://{}", server.address)).arg(MASTER).arg(server.setup().path(""));
    let output = python.output().expect("python can be started: scripts/test installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
