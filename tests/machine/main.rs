//! What surrounds the server on a machine: command line, settings, documents, packages, units, proxies.

mod api_description;
mod backup;
mod check;
mod cli;
mod container;
mod deployment;
mod docs_page;
mod documents;
mod durability;
mod erasure;
mod erasure_terminal;
mod keys;
mod keys_command;
mod keys_script;
mod layers;
mod protocol_document;
mod proxies;
mod release;
mod rolling;
mod security_document;
mod settings_file;
mod shell;
mod systemd;
mod tutorial;
