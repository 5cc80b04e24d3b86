//! Who talks to the server: programs that others have written, the page in a browser, `talk`.

mod client_js;
mod integration;
mod logins;
mod openapi;
mod others;
mod page;
mod talk;
mod talk_commands;
mod talk_terminal;
mod walkthroughs;
mod webhooks;
